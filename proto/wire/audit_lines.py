"""The lines of an exported audit log, written and read: a header, then one line an entry.

The header names the tenant, the first index, the peaks of the tree before it and the signed checkpoints since; an
entry's line is `{"leaf":"<hex>","entry":<the entry's exact bytes>}`, so that it is JSON for everybody and still holds
the bytes that were hashed. `control_plane.audit` writes them; `wire.audit_export` verifies what it reads here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from wire import dsse, merkle

FORMAT: Final = "probegate-audit-export/1"
MAX_LINE: Final = 1 << 20  # bytes; an entry has at most 64 KiB, a header with all its checkpoints less than this
MAX_CHECKPOINTS: Final = 1000  # in one header; the log leaves out intermediate ones when there are more
_LEAF_HEAD: Final = b'{"leaf":"'
_LEAF_END: Final = len(_LEAF_HEAD) + 2 * merkle.HASH_SIZE
_ENTRY_HEAD: Final = b'","entry":'


class Unreadable(ValueError):
    """A line that is not one of an export."""


@dataclass(frozen=True)
class Header:
    tenant: str
    first: int
    frontier: merkle.Frontier
    checkpoints: tuple[str, ...]


def header_line(tenant: str, frontier: merkle.Frontier, checkpoints: Sequence[str], key: Ed25519PublicKey) -> bytes:
    """The first line of an export that begins after `frontier`, with its newline."""
    header = {
        "format": FORMAT,
        "tenant": tenant,
        "first": frontier.size,
        "peaks": [peak.hex() for peak in frontier.peaks],
        "checkpoints": list(checkpoints),
        "key": key.public_bytes_raw().hex(),
        "key_id": dsse.key_id(key),
    }
    return json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def entry_line(leaf: bytes, entry: bytes) -> bytes:
    """One entry of an export, with its newline. `entry` is one JSON object without raw newlines."""
    return _LEAF_HEAD + leaf.hex().encode() + _ENTRY_HEAD + entry + b"}\n"


def claimed_key(header: bytes) -> Ed25519PublicKey:
    """The key that an export names itself: good for a first look, no proof of anything. Raises ValueError."""
    key = _json(header, "the header").get("key")
    if not isinstance(key, str):
        raise Unreadable("the first line of the export is not a header with a key")
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))


def read_header(line: bytes) -> Header:
    parsed = _json(line, "the header")
    if parsed.get("format") != FORMAT:
        raise Unreadable(f"the first line is not the header of an audit export: expected format {FORMAT!r}")
    tenant, first, peaks, points = (parsed.get(name) for name in ("tenant", "first", "peaks", "checkpoints"))
    if not isinstance(tenant, str) or isinstance(first, bool) or not isinstance(first, int):
        raise Unreadable("the header names no tenant or no first entry")
    if (
        not isinstance(points, list)
        or len(points) > MAX_CHECKPOINTS
        or not all(isinstance(each, str) for each in points)
    ):
        raise Unreadable(f"the header must list 1 to {MAX_CHECKPOINTS} checkpoints")
    if not isinstance(peaks, list) or not all(isinstance(each, str) for each in peaks):
        raise Unreadable("the header must list the peaks before its first entry")
    try:
        frontier = merkle.Frontier.from_bytes(first, _lower_hex("".join(peaks)))
    except ValueError as error:
        raise Unreadable(f"the header's peaks cannot be read: {error}") from error
    return Header(tenant, first, frontier, tuple(points))


def read_line(line: bytes) -> tuple[bytes, bytes]:
    """The kept leaf hash and the entry's exact bytes: cut out, not parsed and written again."""
    line = line.rstrip(b"\r\n")
    if len(line) > MAX_LINE:
        raise Unreadable(f"a line has at most {MAX_LINE} bytes")
    head = line[_LEAF_END : _LEAF_END + len(_ENTRY_HEAD)]
    if not line.startswith(_LEAF_HEAD) or head != _ENTRY_HEAD or not line.endswith(b"}"):
        raise Unreadable('expected {"leaf":"<64 hex digits>","entry":{…}}')
    try:
        kept = _lower_hex(line[len(_LEAF_HEAD) : _LEAF_END].decode())
    except ValueError as error:
        raise Unreadable("the leaf hash is not hexadecimal") from error
    if len(kept) != merkle.HASH_SIZE:
        raise Unreadable("the leaf hash has not 64 hex digits")
    return kept, line[_LEAF_END + len(_ENTRY_HEAD) : -1]


def _lower_hex(text: str) -> bytes:
    """One spelling for each value, so that no byte of an export can change unseen. Raises ValueError."""
    value = bytes.fromhex(text)
    if value.hex() != text:
        raise ValueError("hexadecimal is written in lower case, without spaces")
    return value


def read_entry(entry: bytes) -> tuple[int, datetime | None]:
    parsed = _json(entry, "the entry")
    index, moment = parsed.get("index"), parsed.get("time")
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < merkle.MAX_SIZE:
        raise Unreadable("the entry has no index")
    try:
        time = datetime.fromisoformat(moment) if isinstance(moment, str) else None
    except ValueError:
        time = None
    return index, time if time is not None and time.tzinfo is not None else None


def _json(text: bytes, what: str) -> dict[str, object]:
    if len(text) > MAX_LINE:
        raise Unreadable(f"{what} has more than {MAX_LINE} bytes")
    try:
        parsed = json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{what} is not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise Unreadable(f"{what} is not a JSON object")
    return parsed
