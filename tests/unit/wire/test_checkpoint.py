"""A checkpoint is what was signed, byte for byte, or it is refused."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from wire.checkpoint import BadCheckpoint, Checkpoint, open_checkpoint, origin_of, sign

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
POINT = Checkpoint(origin_of("acme"), 42, bytes(range(32)), datetime(2026, 11, 24, 12, 0, 0, 5, tzinfo=UTC))
NOTE = sign(POINT, KEY)


def test_a_checkpoint_reads_as_a_signed_note() -> None:
    body, _, signature = NOTE.partition("\n\n")
    root = base64.b64encode(bytes(range(32))).decode()
    assert body == f"probegate/acme\n42\n{root}\ntime 2026-11-24T12:00:00.000005Z"
    assert signature.startswith("— probegate/acme ")
    assert len(base64.b64decode(signature.split()[2])) == 4 + 64


def test_what_was_signed_is_what_is_read() -> None:
    assert open_checkpoint(NOTE, KEY.public_key()) == POINT


def test_signatures_of_witnesses_are_passed_over() -> None:
    witness = "— witness.example " + base64.b64encode(bytes(68)).decode() + "\n"
    assert open_checkpoint(NOTE + witness, KEY.public_key()) == POINT
    assert open_checkpoint(NOTE.replace("\n\n", "\n\n" + witness), KEY.public_key()) == POINT


def test_another_key_does_not_open_it() -> None:
    with pytest.raises(BadCheckpoint, match="not signed by the expected key"):
        open_checkpoint(NOTE, Ed25519PrivateKey.generate().public_key())


@given(st.integers(0, len(NOTE.encode()) - 1), st.integers(1, 255))
def test_no_byte_can_be_changed(at: int, by: int) -> None:
    changed = bytearray(NOTE.encode())
    changed[at] ^= by
    with pytest.raises(BadCheckpoint):
        open_checkpoint(changed.decode("utf-8", "replace"), KEY.public_key())


@given(st.text(max_size=400))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(BadCheckpoint):
        open_checkpoint(text, KEY.public_key())


def test_a_text_without_end_is_refused_before_it_is_read() -> None:
    with pytest.raises(BadCheckpoint, match="at most"):
        open_checkpoint(NOTE + "x" * 5000, KEY.public_key())
