"""A tenant's own secret, planted in every shape and carrier that the platform's are planted in, comes out of none."""

import random

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.masking.model import FieldRule
from agents.masking.service import mask
from language.masking import Action
from language.masking_patterns import ValuePattern
from tests.builders.planted import Secret, column
from tests.unit.agents.masking.test_service import batch

OWN = FieldRule("c", Action.DETECT, "platform:r", patterns=(ValuePattern("tenant:contract", "KTR-[A-Z]{3}-[0-9]{8}"),))


def planted(seed: int) -> tuple[Secret, pa.Array]:
    chance = random.Random(seed)
    letters = "".join(chance.choice("ABCDEFGHJK") for _ in range(3))
    secret = Secret(f"KTR-{letters}-{chance.randrange(10**7, 10**8)}")
    return secret, column(chance, secret)[1]


@given(st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_no_needle_of_it_is_in_what_may_leave_the_host(seed):
    secret, array = planted(seed)
    columns = mask(batch(array), (OWN,)).columns
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, columns.schema) as stream:
        stream.write_batch(columns)
    sent = sink.getvalue().to_pybytes() + str(columns.to_pylist()).encode()
    assert not [needle for needle in secret.needles if needle in sent]
