"""Look at an Arrow IPC stream's frames before anything reads it: no compression, no more than a schema and one batch.

A compressed batch of some KiB could unpack to gigabytes, and pyarrow has no bound for that. The header that says so is
a flatbuffer, of which a few fields are read here (format/Message.fbs of Apache Arrow; flatbuffers' internals document).
"""

from __future__ import annotations

import struct
from typing import Final

_CONTINUATION: Final = 0xFFFFFFFF
_SCHEMA: Final = 1  # union MessageHeader
_RECORD_BATCH: Final = 3
_HEADER_TYPE: Final = 1  # field numbers of table Message
_HEADER: Final = 2
_BODY_LENGTH: Final = 3
_COMPRESSION: Final = 3  # of table RecordBatch
_PREFIX: Final = struct.Struct("<II")


class BadFraming(Exception):
    """Not a stream of a schema and one uncompressed record batch; `str()` says what it is instead."""


def check_framing(stream: bytes) -> None:
    """Raises BadFraming."""
    try:
        kinds = list(_messages(stream))
    except (struct.error, IndexError) as error:
        raise BadFraming("the stream is cut short or damaged") from error
    if kinds != [_SCHEMA, _RECORD_BATCH]:
        raise BadFraming(f"expected a schema and one record batch, got messages of kind {kinds[:4]}")


def _messages(stream: bytes) -> list[int]:
    kinds: list[int] = []
    at = 0
    while at + _PREFIX.size <= len(stream) and len(kinds) <= 2:
        marker, length = _PREFIX.unpack_from(stream, at)
        if marker != _CONTINUATION:
            raise BadFraming("expected the stream format of Arrow since 0.15")
        at += _PREFIX.size
        if length == 0:  # the end of the stream
            if at != len(stream):
                raise BadFraming("bytes follow the end of the stream")
            return kinds
        metadata = stream[at : at + length]
        root = _unsigned(metadata, 0)
        kind = metadata[position] if (position := _field(metadata, root, _HEADER_TYPE)) else 0
        kinds.append(kind)
        if kind == _RECORD_BATCH and (position := _field(metadata, root, _HEADER)):
            header = position + _unsigned(metadata, position)
            if _field(metadata, header, _COMPRESSION):
                raise BadFraming("compressed batches are not taken")
        body = _field(metadata, root, _BODY_LENGTH)
        size = struct.unpack_from("<q", metadata, body)[0] if body else 0
        if size < 0 or at + length + size > len(stream):
            raise BadFraming("a message says that it is longer than the stream")
        at += length + size
    if at != len(stream):
        raise BadFraming("expected a schema and one record batch, and nothing behind")
    return kinds


def _field(buffer: bytes, table: int, number: int) -> int:
    """The place of a table's field, 0 when it is not set: a vtable stands before the table."""
    vtable = table - struct.unpack_from("<i", buffer, table)[0]
    if vtable < 0:
        raise BadFraming("the header is damaged")
    size = struct.unpack_from("<H", buffer, vtable)[0]
    entry = 4 + 2 * number
    if entry + 2 > size:
        return 0
    offset: int = struct.unpack_from("<H", buffer, vtable + entry)[0]
    return table + offset if offset else 0


def _unsigned(buffer: bytes, at: int) -> int:
    found: int = struct.unpack_from("<I", buffer, at)[0]
    return found
