"""Go maps -> JSON text, row by row: an object when the keys are texts, all different and there, else a list of pairs.

A map is a rare shape and its rows differ in length and order: its price is per entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from agents.compiler import layout
from agents.decoding import boxes, rows
from agents.decoding.records import Frame, Mask

if TYPE_CHECKING:
    from agents.decoding.values import Decoder


def column(decoder: Decoder, node: layout.Pairs, frame: Frame, alive: Mask, path: str) -> pa.Array:
    found: list[list[tuple[object, object]]] = [[] for _ in range(frame.count)]
    groups = frame.column(node.groups_offset, "<u8")
    shown = np.zeros(frame.count, dtype=np.int64)
    low, high = node.full
    for entry in node.entries:
        control = frame.column(entry.control, "u1")
        mine = alive & (groups > entry.group) & (control >= low) & (control <= high) & (shown < node.limit)
        if not mine.any():
            continue
        shown += mine
        part = frame.subset(mine)
        keys = boxes.plain_values(decoder, entry.key, part, f"{path}[]")
        values = boxes.plain_values(decoder, entry.value, part, f"{path}[]")
        for row, key, value in zip(mine.nonzero()[0].tolist(), keys, values, strict=True):
            found[row].append((key, value))
    length = frame.column(node.length_offset, "<u8").astype(np.uint64)
    frame.note_cut(path, alive & (length > shown.astype(np.uint64)), length)
    texts = [
        rows.dumps(_shown(pairs, node.text_keys)) if there else None
        for pairs, there in zip(found, alive.tolist(), strict=True)
    ]
    return pa.array(texts, pa.string())


def _shown(pairs: list[tuple[object, object]], text_keys: bool) -> object:
    keys = [key for key, _ in pairs if isinstance(key, str)]
    if text_keys and len(set(keys)) == len(pairs):
        return dict(pairs)
    return [list(pair) for pair in pairs]
