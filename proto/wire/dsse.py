"""Seal bytes into a DSSE envelope and open one again: signed bytes in, exactly those bytes out.

The format is DSSE 1.0 (github.com/secure-systems-lab/dsse, protocol.md and envelope.md), as JSON:
{"payloadType": .., "payload": base64, "signatures": [{"keyid": .., "sig": base64}]}, signed with Ed25519 over
PAE = "DSSEv1" SP LEN(type) SP type SP LEN(payload) SP payload. The payload is never parsed and written again, so what
was signed is what is read. `control_plane.signing` seals, `agents.admission` opens and goes on with the bytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Final, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SPEC_PAYLOAD_TYPE: Final = "application/vnd.probegate.spec.v1+protobuf"
DRY_RUN_PAYLOAD_TYPE: Final = "application/vnd.probegate.dry-run.v1+protobuf"

MAX_ENVELOPE: Final = 1 << 20  # bytes; a spec is a few KiB, and nothing bigger is worth parsing before it is trusted
MAX_SIGNATURES: Final = 8  # a key rotation needs two; each one costs a verification
SIGNATURE_SIZE: Final = 64  # RFC 8032, 5.1.6

_ENVELOPE_MEMBERS: Final = {"payloadType", "payload", "signatures"}
_SIGNATURE_MEMBERS: Final = {"keyid", "sig"}


class BadEnvelope(Exception):
    """Bytes that are no envelope, or one that no known key signed. `malformed` is False only for the second."""

    def __init__(self, detail: str, *, malformed: bool = True) -> None:
        super().__init__(detail)
        self.detail = detail
        self.malformed = malformed


def seal(payload: bytes, payload_type: str, key: Ed25519PrivateKey) -> bytes:
    """The envelope of `payload`, signed by `key`. Raises ValueError when it would be bigger than any reader accepts."""
    envelope = json.dumps(
        {
            "payloadType": payload_type,
            "payload": base64.b64encode(payload).decode(),
            "signatures": [
                {
                    "keyid": key_id(key.public_key()),
                    "sig": base64.b64encode(key.sign(pre_authentication(payload_type, payload))).decode(),
                }
            ],
        },
        separators=(",", ":"),
    ).encode()
    if len(envelope) > MAX_ENVELOPE:
        raise ValueError(f"the envelope is {len(envelope)} bytes, at most {MAX_ENVELOPE} are accepted: seal less")
    return envelope


def open_envelope(envelope: bytes, payload_type: str, keys: Mapping[str, Ed25519PublicKey]) -> bytes:
    """The payload, when at least one of `keys` (by key id) signed it as `payload_type`. Raises BadEnvelope.

    Proves who signed these bytes and what they are meant to be. Does not prove that they parse, are fresh or are for
    the reader. No keys: nothing opens.
    """
    came_type, payload, signatures = _read(envelope)
    if came_type != payload_type:
        raise BadEnvelope(f"the envelope holds {came_type!r}, expected {payload_type!r}")
    signed = pre_authentication(payload_type, payload)
    for name, signature in signatures:
        key = keys.get(name)
        # The name is only a hint that the signer chose: what counts is that it is the key's own id.
        if key is not None and name == key_id(key) and _verifies(key, signature, signed):
            return payload
    named = ", ".join(name[:80] for name, _ in signatures) or "nobody"
    known = ", ".join(sorted(keys)) or "none"
    raise BadEnvelope(f"no trusted key signed this: signed by {named}; trusted keys: {known}", malformed=False)


def unsafe_payload(envelope: bytes) -> bytes | None:
    """What an envelope claims to hold, whoever signed it: only to name in a report what was refused. None: no envelope."""
    try:
        return _read(envelope)[1]
    except BadEnvelope:
        return None


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """The bytes that are signed (PAE): lengths make the concatenation unambiguous."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def key_id(key: Ed25519PublicKey) -> str:
    """`sha256:<64 hex>` of the 32 raw bytes of a public key."""
    return "sha256:" + hashlib.sha256(key.public_bytes_raw()).hexdigest()


def _read(envelope: bytes) -> tuple[str, bytes, tuple[tuple[str, bytes], ...]]:
    if len(envelope) > MAX_ENVELOPE:
        raise BadEnvelope(f"the envelope is {len(envelope)} bytes, at most {MAX_ENVELOPE} are read")
    try:
        parsed = json.loads(envelope.decode(), object_pairs_hook=_no_repeats, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise BadEnvelope(f"the envelope is not JSON: {error}") from error
    if not isinstance(parsed, dict) or set(parsed) != _ENVELOPE_MEMBERS:
        raise BadEnvelope(f"the envelope must be an object with exactly {', '.join(sorted(_ENVELOPE_MEMBERS))}")
    listed = parsed["signatures"]
    if not isinstance(listed, list) or not 0 < len(listed) <= MAX_SIGNATURES:
        raise BadEnvelope(f"`signatures` must be a list of 1 to {MAX_SIGNATURES} signatures")
    return (
        _text(parsed["payloadType"], "payloadType"),
        _base64(parsed["payload"], "payload"),
        tuple(_signature(item) for item in listed),
    )


def _signature(item: object) -> tuple[str, bytes]:
    if not isinstance(item, dict) or set(item) != _SIGNATURE_MEMBERS:
        raise BadEnvelope("a signature must be an object with exactly keyid, sig")
    signature = _base64(item["sig"], "sig")
    if len(signature) != SIGNATURE_SIZE:
        raise BadEnvelope(f"an Ed25519 signature has {SIGNATURE_SIZE} bytes, this one has {len(signature)}")
    return _text(item["keyid"], "keyid"), signature


def _verifies(key: Ed25519PublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True


def _text(value: object, member: str) -> str:
    if not isinstance(value, str):
        raise BadEnvelope(f"`{member}` must be a string")
    return value


def _base64(value: object, member: str) -> bytes:
    """Canonical standard base64 only, so that one payload has one spelling."""
    text = _text(value, member)
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadEnvelope(f"`{member}` is not base64: {error}") from error
    if base64.b64encode(decoded).decode() != text:
        raise BadEnvelope(f"`{member}` is not canonical base64")
    return decoded


def _no_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise BadEnvelope("the envelope names a member twice")
    return members


def _no_constant(name: str) -> NoReturn:
    raise BadEnvelope(f"{name} is not JSON")
