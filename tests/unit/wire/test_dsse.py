"""An envelope opens only for the very bytes, type and key that sealed it."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from wire.dsse import MAX_ENVELOPE, BadEnvelope, key_id, open_envelope, pre_authentication, seal

TYPE = "application/x-test"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEYS = {key_id(KEY.public_key()): KEY.public_key()}


def rewritten(**members: object) -> bytes:
    return json.dumps(json.loads(seal(b"payload", TYPE, KEY)) | members).encode()


@given(st.binary(max_size=200), st.text(max_size=40))
def test_what_was_sealed_comes_back_byte_for_byte(payload, kind):
    assert open_envelope(seal(payload, kind, KEY), kind, KEYS) == payload


def test_the_signed_bytes_are_those_of_the_dsse_document():
    assert (
        pre_authentication("http://example.com/HelloWorld", b"hello world")
        == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_length_of_the_type_is_counted_in_bytes():
    assert pre_authentication("é", b"") == b"DSSEv1 2 \xc3\xa9 0 "


def test_no_keys_open_nothing():
    with pytest.raises(BadEnvelope, match="trusted keys: none") as refused:
        open_envelope(seal(b"payload", TYPE, KEY), TYPE, {})
    assert not refused.value.malformed


def test_another_key_opens_nothing():
    other = Ed25519PrivateKey.generate().public_key()
    with pytest.raises(BadEnvelope, match="no trusted key"):
        open_envelope(seal(b"payload", TYPE, KEY), TYPE, {key_id(other): other})


def test_a_key_under_a_wrong_name_opens_nothing():
    other = Ed25519PrivateKey.generate()
    envelope = seal(b"payload", TYPE, other)
    with pytest.raises(BadEnvelope, match="no trusted key"):
        open_envelope(envelope, TYPE, {key_id(KEY.public_key()): other.public_key()})


def test_another_type_is_refused_though_the_signature_is_right():
    with pytest.raises(BadEnvelope, match="expected"):
        open_envelope(seal(b"payload", "application/other", KEY), TYPE, KEYS)


def test_a_changed_type_breaks_the_signature():
    with pytest.raises(BadEnvelope, match="no trusted key"):
        open_envelope(rewritten(payloadType="application/other"), "application/other", KEYS)


@given(st.integers(min_value=0, max_value=6), st.integers(min_value=1, max_value=255))
def test_any_changed_byte_of_the_payload_is_refused(index, flip):
    changed = bytearray(b"payload")
    changed[index] ^= flip
    with pytest.raises(BadEnvelope, match="no trusted key"):
        open_envelope(rewritten(payload=base64.b64encode(changed).decode()), TYPE, KEYS)


def test_one_known_signature_among_unknown_ones_is_enough():
    known = json.loads(seal(b"payload", TYPE, KEY))["signatures"]
    foreign = json.loads(seal(b"payload", TYPE, Ed25519PrivateKey.generate()))["signatures"]
    assert open_envelope(rewritten(signatures=foreign + known), TYPE, KEYS) == b"payload"


def test_a_big_envelope_is_refused_before_it_is_parsed():
    with pytest.raises(BadEnvelope, match="at most"):
        open_envelope(b"\xff" * (MAX_ENVELOPE + 1), TYPE, KEYS)


def test_nothing_is_sealed_that_no_reader_accepts():
    with pytest.raises(ValueError, match="seal less"):
        seal(b"x" * MAX_ENVELOPE, TYPE, KEY)


@pytest.mark.parametrize(
    "envelope",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"payloadType": NaN, "payload": "", "signatures": []}',
        b'{"payloadType": "a", "payloadType": "b", "payload": "", "signatures": []}',
        rewritten(more=1),
        rewritten(payloadType=1),
        rewritten(payload="%%%"),
        rewritten(payload="cGF5bG9hZB=="),  # other bits set in the last character: decodes to the same bytes
        rewritten(signatures=[]),
        rewritten(signatures=[1]),
        rewritten(signatures=[{"keyid": "a", "sig": "AA=="}]),
        rewritten(signatures=[{"keyid": "a", "sig": "AA=="}] * 100),
    ],
)
def test_what_is_no_envelope_is_refused_as_malformed(envelope):
    with pytest.raises(BadEnvelope) as refused:
        open_envelope(envelope, TYPE, KEYS)
    assert refused.value.malformed


@given(st.binary(max_size=300))
def test_no_bytes_do_anything_but_be_refused(noise):
    with pytest.raises(BadEnvelope):
        open_envelope(noise, TYPE, KEYS)
