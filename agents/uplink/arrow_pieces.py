"""Masked columns -> Arrow IPC streams that fit into a message; for batches and for a reviewer's few rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pyarrow as pa

MAX_ARROW: Final = 1 << 20  # bytes of one batch; gRPC's own bound for a message is 4 MiB


def pieces(columns: pa.RecordBatch) -> Iterator[tuple[bytes, int]]:
    """Arrow IPC streams of one record batch each, none much bigger than MAX_ARROW. At least one, even without rows."""
    encoded = _ipc(columns)
    if len(encoded) <= MAX_ARROW or columns.num_rows <= 1:
        yield encoded, columns.num_rows
        return
    half = columns.num_rows // 2
    yield from pieces(columns.slice(0, half))
    yield from pieces(columns.slice(half))


def _ipc(columns: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, columns.schema) as writer:
        writer.write_batch(columns)
    encoded: bytes = sink.getvalue().to_pybytes()
    return encoded
