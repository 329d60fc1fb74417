"""One event -> the bytes that are hashed and kept: canonical JSON (RFC 8785) without floats.

Only text, booleans, null, integers below 2^53, lists and objects stand in it, so that every reader in every language
sees the same value; other numbers become text. Size is bounded here: what a hostile caller put into an event is cut,
with its true length beside it, and never makes the entry itself fail.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import Final

from control_plane.foundation.audit_trail import AuditEvent
from control_plane.foundation.identifiers import TenantId

MAX_ENTRY: Final = 64 * 1024  # bytes; an export line stays small, and a log of millions of entries readable
MAX_TEXT: Final = 4096  # characters of one text in a detail: more belongs where the digest of it can point to
MAX_DEPTH: Final = 16  # of nested details
_MAX_SAFE: Final = 1 << 53  # RFC 8785, 3.2.2.3: integers from here on are not the same in every reader
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL's text has no NUL, UTF-8 no lone surrogate


def entry_bytes(tenant: TenantId, index: int, time: datetime, event: AuditEvent, request_id: str) -> bytes:
    """Raises TypeError when the detail holds something that is not data."""
    members: dict[str, object] = {
        "v": 1,
        "tenant": tenant,
        "index": index,
        "time": stamp(time),
        "action": event.action.value,
        "outcome": event.outcome.value,
        "actor": text(event.actor),
        "resource": text(event.resource),
        "request_id": text(request_id),
        "detail": event.detail,
    }
    encoded = _encode(members)
    if len(encoded) > MAX_ENTRY:
        whole = _encode(event.detail)
        members["detail"] = {"cut": True, "bytes": len(whole), "sha256": hashlib.sha256(whole).hexdigest()}
        encoded = _encode(members)
    return encoded


def text(value: str) -> str:
    """A text as the log holds it: storable everywhere, at most MAX_TEXT characters."""
    clean = _UNSTORABLE.sub("�", value[: MAX_TEXT + 1])
    return clean if len(value) <= MAX_TEXT else f"{clean[:MAX_TEXT]}… (cut, {len(value)} characters)"


def stamp(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _encode(value: object) -> bytes:
    return json.dumps(_canonical(value, 0), separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _canonical(value: object, depth: int) -> object:
    if depth > MAX_DEPTH:
        raise TypeError(f"the detail of an audit entry is nested deeper than {MAX_DEPTH}")
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < _MAX_SAFE else str(value)
    if isinstance(value, str):
        return text(value)
    if isinstance(value, float | timedelta):
        return str(value)
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        # RFC 8785, 3.2.3: members in the order of their names' UTF-16 code units.
        named = {text(str(name)): member for name, member in value.items()}
        order = sorted(named, key=lambda name: name.encode("utf-16-be"))
        return {name: _canonical(named[name], depth + 1) for name in order}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [_canonical(member, depth + 1) for member in value]
    if isinstance(value, frozenset | set):
        return sorted(str(_canonical(member, depth + 1)) for member in value)
    raise TypeError(f"the detail of an audit entry holds data only, not {type(value).__name__}")
