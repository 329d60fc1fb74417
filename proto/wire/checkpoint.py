"""A signed statement of what a log was at one moment: size, root and time in, one short text out, and back.

The form is C2SP's signed note around a tlog-checkpoint (c2sp.org/signed-note, c2sp.org/tlog-checkpoint), so that other
tools and witnesses read it: origin, size and root in base64 on a line each, the time as an extension line, an empty
line, then `— <origin> <base64 of 4 bytes of key hash and the Ed25519 signature>`. `control_plane.audit` signs;
whoever keeps a checkpoint outside the control plane can show later that the log was rewritten.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from wire import merkle

MAX_NOTE: Final = 4096  # bytes; a checkpoint has about 250, and a note's bound comes before it is parsed
MAX_SIGNATURES: Final = 16  # ours, and those of witnesses
_ED25519_NOTE: Final = b"\x01"  # signed-note: the type byte of Ed25519 keys
_TIME_LINE: Final = "time "


class BadCheckpoint(Exception):
    """A text that is no checkpoint, or one that the expected key did not sign."""


@dataclass(frozen=True)
class Checkpoint:
    """Of the log `origin`: its first `size` entries have this root, said at `time`."""

    origin: str
    size: int
    root: bytes
    time: datetime


def origin_of(tenant: str) -> str:
    return f"probegate/{tenant}"


def sign(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> str:
    body = (
        f"{checkpoint.origin}\n{checkpoint.size}\n{base64.b64encode(checkpoint.root).decode()}\n"
        f"{_TIME_LINE}{checkpoint.time.astimezone(UTC).isoformat(timespec='microseconds').replace('+00:00', 'Z')}\n"
    )
    signature = _key_hash(checkpoint.origin, key.public_key()) + key.sign(body.encode())
    return f"{body}\n— {checkpoint.origin} {base64.b64encode(signature).decode()}\n"


def open_checkpoint(note: str, key: Ed25519PublicKey) -> Checkpoint:
    """The checkpoint, when `key` signed it. Raises BadCheckpoint. Other signatures (of witnesses) are passed over."""
    if len(note.encode("utf-8", "surrogatepass")) > MAX_NOTE:
        raise BadCheckpoint(f"a checkpoint has at most {MAX_NOTE} bytes")
    body, separator, signatures = note.rpartition("\n\n")
    if not separator or not signatures.endswith("\n"):
        raise BadCheckpoint("a checkpoint is a text, an empty line and signature lines")
    body += "\n"
    checkpoint = _parse(body)
    lines = signatures.splitlines()
    if len(lines) > MAX_SIGNATURES:
        raise BadCheckpoint(f"a checkpoint has at most {MAX_SIGNATURES} signatures, this one has {len(lines)}")
    hint = _key_hash(checkpoint.origin, key)
    for line in lines:
        signature = _signature(line, checkpoint.origin, hint)
        if signature is not None and _verifies(key, signature, body.encode()):
            return checkpoint
    raise BadCheckpoint(f"the checkpoint of {checkpoint.origin} at {checkpoint.size} is not signed by the expected key")


def _parse(body: str) -> Checkpoint:
    lines = body.split("\n")[:-1]
    if len(lines) < 4 or not lines[0]:
        raise BadCheckpoint("a checkpoint has lines for origin, size, root and time")
    origin, size, root, *extensions = lines
    if not (size.isascii() and size.isdigit() and len(size) < 20) or str(int(size)) != size:
        raise BadCheckpoint(f"the size in a checkpoint is a plain number, not {size[:40]!r}")
    times = [line.removeprefix(_TIME_LINE) for line in extensions if line.startswith(_TIME_LINE)]
    try:
        decoded = base64.b64decode(root, validate=True)
        moments = [datetime.fromisoformat(text) for text in times]
    except (binascii.Error, ValueError) as error:
        raise BadCheckpoint(f"the root or the time in a checkpoint cannot be read: {error}") from error
    if len(decoded) != merkle.HASH_SIZE or len(moments) != 1 or moments[0].tzinfo is None:
        raise BadCheckpoint("a checkpoint has one root of 32 bytes and one time with a zone")
    return Checkpoint(origin, int(size), decoded, moments[0].astimezone(UTC))


def _signature(line: str, origin: str, hint: bytes) -> bytes | None:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    if dash != "—" or name != origin:
        return None
    try:
        decoded = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None
    return decoded[len(hint) :] if decoded.startswith(hint) else None


def _verifies(key: Ed25519PublicKey, signature: bytes, body: bytes) -> bool:
    try:
        key.verify(signature, body)
    except InvalidSignature:
        return False
    return True


def _key_hash(name: str, key: Ed25519PublicKey) -> bytes:
    """signed-note: SHA-256(name || LF || type || key), its first four bytes."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519_NOTE + key.public_bytes_raw()).digest()[:4]
