"""Batches as an agent sends them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from wire.v1 import records_pb2


def ipc(batch: pa.RecordBatch, options: pa.ipc.IpcWriteOptions | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    found: bytes = sink.getvalue().to_pybytes()
    return found


def columns(values: pa.Array, name: str = "units", first: int = 0) -> pa.RecordBatch:
    """A batch with one captured column; `time_` counts from `first`."""
    count = len(values)
    arrays = [
        pa.array(range(first, first + count), pa.int64()),
        pa.array([42] * count, pa.uint32()),
        pa.array([43] * count, pa.uint32()),
        values,
    ]
    return pa.RecordBatch.from_arrays(arrays, ["time_", "pid", "tid", name])


def wire_batch(
    sequence: int,
    values: Sequence[Any] | pa.Array,
    *,
    tracepoint: str = "tp_1",
    table: str = "money_sum",
    version: int = 1,
    hits: int | None = None,
    **more: Any,
) -> records_pb2.Batch:
    """`hits` in all up to now; what was not delivered was filtered."""
    array = values if isinstance(values, pa.Array) else pa.array(values, pa.int64())
    total = len(array) if hits is None else hits
    return records_pb2.Batch(
        tracepoint_id=tracepoint,
        sequence=sequence,
        table=table,
        table_version=version,
        arrow=ipc(columns(array, first=sequence * 1000)),
        rows=len(array),
        accounting=records_pb2.Accounting(hits=total, delivered=len(array), filtered=total - len(array)),
        **more,
    )
