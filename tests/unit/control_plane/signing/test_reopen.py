from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from control_plane.foundation.errors import Conflict
from control_plane.signing.service import Signer
from tests.builders.plans import masked_plan, seal_context

KEY = Ed25519PrivateKey.generate()
SEALED = Signer(KEY).seal(masked_plan(), seal_context("spiffe://probegate/agent/ag_1", version=3))


def test_a_kept_envelope_is_the_proof_it_was() -> None:
    assert Signer(KEY).reopen(SEALED.envelope) == SEALED


def test_an_envelope_of_an_earlier_key_is_still_ours() -> None:
    assert Signer(Ed25519PrivateKey.generate(), (KEY.public_key(),)).reopen(SEALED.envelope) == SEALED


@pytest.mark.parametrize(
    "envelope",
    [b"", b"{}", SEALED.envelope.replace(b'"sig":"', b'"sig":"A')],
    ids=["empty", "no envelope", "another signature"],  # the same in every worker: the key is made anew in each
)
def test_what_was_changed_is_not_ours(envelope: bytes) -> None:
    with pytest.raises(Conflict):
        Signer(KEY).reopen(envelope)


def test_another_servers_envelope_is_not_ours() -> None:
    with pytest.raises(Conflict):
        Signer(Ed25519PrivateKey.generate()).reopen(SEALED.envelope)
