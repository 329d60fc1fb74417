"""Slices and arrays -> Arrow lists. Plain numbers as one matrix, everything else item by item over all rows at once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from agents.compiler import layout
from agents.decoding import fields
from agents.decoding.records import Frame, Mask, Numbers, offsets_of, validity

if TYPE_CHECKING:
    from agents.decoding.values import Decoder


def column(decoder: Decoder, node: layout.Items, frame: Frame, alive: Mask, path: str) -> pa.Array:
    if node.length_offset is None:
        true = np.full(frame.count, node.count, dtype=np.uint64)
    else:
        true = frame.column(node.length_offset, "<u8").astype(np.uint64)
        if node.window is not None:
            true = np.minimum(true, np.uint64(node.window))
    shown = np.minimum(true, np.uint64(len(node.items))).astype(np.int64)
    frame.note_cut(path, alive & (true > shown.astype(np.uint64)), true)
    lengths = np.where(alive, shown, 0)
    if not node.items:
        items, item = pa.nulls(0, pa.null()), pa.field("item", pa.null())
    else:
        if len({fields.texts_beyond(each) for each in node.items}) > 1:
            decoder = replace(decoder, beyond=False)
        items = _items(decoder, node, frame, lengths, path)
        item = fields.field_of("item", node.items[0], items.type, beyond=decoder.beyond)
    buffers = [validity(alive), pa.py_buffer(offsets_of(lengths))]
    return pa.ListArray.from_buffers(pa.list_(item), frame.count, buffers, children=[items])


def _items(decoder: Decoder, node: layout.Items, frame: Frame, lengths: Numbers, path: str) -> pa.Array:
    """The items of all rows, row after row."""
    widest = int(lengths.max(initial=0))
    there = np.arange(widest) < lengths[:, None]
    first = node.items[0]
    if (
        node.stride is not None
        and isinstance(first, layout.Number)
        and first.kind is not layout.NumberKind.SCALAR_VALUE
    ):
        flat = frame.matrix(first.offset, fields.dtype_of(first), widest, node.stride)[there]
        return fields.numbers(first, flat, np.ones(len(flat), dtype=np.bool_))
    columns = [
        decoder.column(item, frame, index < lengths, f"{path}[{index}]")
        for index, item in enumerate(node.items[: max(widest, 1)])
    ]
    order = (np.arange(widest) * frame.count + np.arange(frame.count)[:, None])[there]
    return pa.concat_arrays(columns).take(pa.array(order, pa.int64()))
