"""Ring records of one probe -> a RecordBatch. Mints RecordBatch.

Everything is decoded column by column over all records at once. What could not be read or was cut is collected on the
way and becomes the last two columns. Next: `agents.masking`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from agents.compiler.layout import Column, RecordLayout, Status
from agents.decoding.fields import marks
from agents.decoding.model import RecordBatch
from agents.decoding.records import Findings, Frame, Numbers, offsets_of
from agents.decoding.values import Decoder, Symbolise

ABSENT_TYPE: Final = pa.map_(pa.string(), pa.string())
CUT_TYPE: Final = pa.map_(pa.string(), pa.uint64())


class LayoutMismatch(ValueError):
    """Records of another size than the layout describes: they are not from this program."""


def decode(
    layout: RecordLayout,
    records: npt.NDArray[np.uint8],
    clock_offset_ns: int,
    symbolise: Symbolise | None = None,
    *,
    beyond: bool = False,
) -> RecordBatch:
    """`records`: (n, layout.record_size). `clock_offset_ns`: CLOCK_REALTIME - CLOCK_BOOTTIME. Raises LayoutMismatch.

    `beyond`: with the bytes of texts past their limit, marked: for `agents.masking`, which takes them away again.
    """
    if records.ndim != 2 or records.shape[1] != layout.record_size:
        raise LayoutMismatch(f"records of shape {records.shape} came, (n, {layout.record_size}) was expected")
    findings = Findings()
    count = records.shape[0]
    frame = Frame(np.ascontiguousarray(records), np.arange(count, dtype=np.int64), layout.fault, findings)
    names, arrays = _header(layout, frame, clock_offset_ns)
    fields = [pa.field(name, array.type) for name, array in zip(names, arrays, strict=True)]
    decoder = Decoder(symbolise, beyond)
    for column in layout.columns:
        array = decoder.column(column.node, frame, np.ones(count, dtype=np.bool_), column.name)
        fields.append(pa.field(column.name, array.type, metadata=_metadata(layout, column, beyond=beyond)))
        arrays.append(array)
    fields += [pa.field("_absent", ABSENT_TYPE), pa.field("_cut", CUT_TYPE)]
    absent = [(path, rows, np.full(len(rows), reason.value, dtype=object)) for path, rows, reason in findings.absent]
    arrays += [_by_row(count, absent, ABSENT_TYPE), _by_row(count, findings.cut, CUT_TYPE)]
    return RecordBatch(pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields)))


def made_up(empty: RecordBatch, texts: Mapping[str, str], time_ns: int) -> RecordBatch:
    """One row that no program made, with these texts in string columns and nothing else: for the canary.

    `empty`: any batch of the probe. `time_ns`: unix time of the row.
    """
    schema = empty.columns.schema
    ours: dict[str, Any] = {"time_": time_ns, "pid": 0, "tid": 0, "goid": 0, "_absent": [], "_cut": []}
    arrays = [pa.array([{**ours, **texts}.get(part.name)], type=part.type) for part in schema]
    return RecordBatch(pa.RecordBatch.from_arrays(arrays, schema=schema))


def _header(layout: RecordLayout, frame: Frame, clock_offset_ns: int) -> tuple[list[str], list[pa.Array]]:
    names = ["time_", "pid", "tid"]
    time = frame.column(layout.time_offset, "<u8").astype(np.int64) + clock_offset_ns
    pid = frame.column(layout.thread_offset + 4, "<u4")
    tid = frame.column(layout.thread_offset, "<u4")
    arrays = [pa.array(time), pa.array(np.ascontiguousarray(pid)), pa.array(np.ascontiguousarray(tid))]
    if layout.goid_offset is not None:
        unread = frame.column(layout.goid_status, "u1") != Status.OK
        goid = np.ascontiguousarray(frame.column(layout.goid_offset, "<u8"))
        names.append("goid")
        arrays.append(pa.array(goid, mask=unread if unread.any() else None))
    return names, arrays


def _metadata(layout: RecordLayout, column: Column, *, beyond: bool) -> dict[bytes, bytes]:
    said = {b"type": column.type_name, b"expression": column.expression, b"function": layout.function}
    return {key: value.encode() for key, value in said.items()} | marks(column.node, beyond=beyond)


def _by_row(count: int, found: Sequence[tuple[str, Numbers, npt.NDArray[Any]]], kind: pa.MapType) -> pa.Array:
    """(path, rows, values) -> one map a row."""
    if not found:
        nothing = pa.array([], pa.string()), pa.array([], kind.item_type)
        return pa.MapArray.from_arrays(pa.array(np.zeros(count + 1, dtype=np.int32)), *nothing)
    rows = np.concatenate([each[1] for each in found])
    paths = np.repeat(np.arange(len(found)), [len(each[1]) for each in found])
    order = np.argsort(rows, kind="stable")
    keys = pa.array([each[0] for each in found], pa.string()).take(pa.array(paths[order]))
    items = pa.array(np.concatenate([each[2] for each in found])[order].tolist(), kind.item_type)
    offsets = offsets_of(np.bincount(rows, minlength=count).astype(np.int64))
    return pa.MapArray.from_arrays(pa.array(offsets), keys, items)
