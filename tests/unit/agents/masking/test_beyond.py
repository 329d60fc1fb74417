"""What was captured past a limit lets an entity be seen whole, and is never shown itself."""

from __future__ import annotations

import pyarrow as pa
import pytest

from agents.decoding.fields import BEYOND_LIMIT
from agents.decoding.model import RecordBatch
from agents.masking.model import FieldRule
from agents.masking.service import mask
from language.masking import Action
from tests.unit.agents.masking.test_cuts import ENTITIES

LIMIT, CAPTURED = 32, 96
PAST = "ZQXJ"  # stands nowhere before the limit


def masked(texts, action=Action.DETECT, argument="", limit=LIMIT, captured=CAPTURED, unfit=()):
    """`texts` as the program had them; `unfit`: rows whose bytes are no UTF-8, of which decoding keeps the limit only."""
    lengths = [len(text.encode()) for text in texts]
    kept = [
        text.encode()[: limit if row in unfit else captured].decode("utf-8", "ignore") for row, text in enumerate(texts)
    ]
    cut = pa.array([[("c", n)] if n > limit else [] for n in lengths], pa.map_(pa.string(), pa.uint64()))
    part = pa.field("c", pa.string(), metadata={BEYOND_LIMIT: f"{limit} {captured}".encode(), b"type": b"string"})
    columns = pa.RecordBatch.from_arrays([pa.array(kept), cut], schema=pa.schema([part, pa.field("_cut", cut.type)]))
    batch = mask(RecordBatch(columns), [FieldRule("c", action, "r", argument=argument)])
    return batch.columns.column(0).to_pylist(), batch


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("order 12345 paid with 4111 1111 1111 1111 ok", "order 12345 paid with <CARD>"),
        ("a short note from 10.0.0.7 here", "a short note from <IPV4> here"),
        ("the last words of this text are longer", "the last words of this text are "),
        ("the very last word goes beyondThe end", "the very last word goes beyondTh"),
        ("this one is nobody's business aé☃é", "this one is nobody's business a"),
        ("see 12 things of 2345 and 6789 or", "see 12 things of 2345 and 6789 o"),
    ],
)
def test_a_text_is_judged_whole_and_shown_to_its_limit(text, shown):
    assert masked([text])[0] == [shown]


def test_what_is_found_only_past_the_limit_changes_nothing():
    values, batch = masked(["x" * LIMIT + " 4111 1111 1111 1111"])
    assert values == ["x" * LIMIT]
    assert sum(receipt.hidden for receipt in batch.receipts) == 0


def test_a_text_that_goes_on_past_what_was_captured_is_judged_by_its_tail():
    values, _ = masked(["a key " + "eyJhbGciOi" * 40])
    assert values == ["a key <CUT>"]


@pytest.mark.parametrize("action", [a for a in Action if a is not Action.TOKEN])
def test_no_action_tells_of_what_lies_past_the_limit(action):
    argument = {"partial": "2,4", "truncate": "40", "bucket": "10", "generalise": "year"}.get(action.value, "")
    for filler in ("a", "é", "1 "):
        text = (filler * LIMIT)[: LIMIT // 2] + " " * LIMIT
        short, _ = masked([text.encode()[:LIMIT].decode("utf-8", "ignore") + "     "], action, argument)
        values, batch = masked([text.encode()[:LIMIT].decode("utf-8", "ignore") + PAST * 9], action, argument)
        assert PAST[:1] not in str(values)
        assert len(str(values[0])) <= max(len(str(short[0])), LIMIT)
        assert PAST not in str(batch)


def test_bytes_that_are_no_text_are_judged_as_before():
    text = "mail \ufffd from bob.smith@exam"
    assert masked([text], unfit={0}) == masked([text], unfit={0})
    assert "bob" not in masked([text + "ple.com and more of it"], unfit={0})[0][0]


def test_the_mark_does_not_leave_the_host():
    _, batch = masked(["text"])
    assert BEYOND_LIMIT not in (batch.columns.schema.field("c").metadata or {})


@pytest.mark.parametrize(("kind", "before", "entity"), ENTITIES)
def test_an_entity_that_the_limit_cuts_anywhere_shows_none_of_it(kind, before, entity):
    after = "@db/x" if "://" in before else '"' if before.endswith('"') else " ok and more that follows it"
    text = before + entity + after
    whole = masked([text], limit=400, captured=464)[0][0]
    for at in range(len(before), len(text)):
        shown = masked([text], limit=at, captured=at + 64)[0][0]
        fragments = (entity[i : i + 5] for i in range(len(entity) - 4))
        leaked = [part for part in fragments if part in shown and part not in whole]
        assert not leaked, (kind, at, shown)
