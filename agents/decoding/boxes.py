"""Go interfaces and Rust variants: values whose type differs from row to row. JSON text, made row by row.

An interface is a struct of `type` and `value`; null when it is nil. These are rare shapes: their price is per value.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from agents.absence import Reason
from agents.compiler import layout
from agents.compiler.layout import Node
from agents.decoding import fields, rows
from agents.decoding.records import Frame, Mask

if TYPE_CHECKING:
    from agents.decoding.values import Decoder


def interface(decoder: Decoder, node: layout.Boxed, frame: Frame, alive: Mask, path: str) -> pa.Array:
    alive &= frame.column(node.word_offset, "<u8") != 0
    alive = frame.checked(node.type_guards, alive, path)
    words = frame.column(node.type_offset, "<u8")
    known = dict(node.names)
    present = np.unique(words[alive]).tolist()
    types = [known.get(word) if there else None for word, there in zip(words.tolist(), alive.tolist(), strict=True)]
    texts: npt.NDArray[np.object_] = np.full(frame.count, None, dtype=object)
    cases = dict(node.cases)
    for word in present:
        mine = alive & (words == word)
        if word not in known:
            frame.note_absent(f"{path}.type", mine, Reason.NO_SYMBOL)
            frame.note_absent(f"{path}.value", mine, Reason.NO_SYMBOL)
        elif word not in cases:
            frame.note_absent(f"{path}.value", mine, node.otherwise)
        else:
            texts[mine] = json_texts(decoder, cases[word], frame.subset(mine), f"{path}.value")
    parts = [pa.field("type", pa.string()), pa.field("value", pa.string(), metadata=fields.JSON_ENCODING)]
    columns = [pa.array(types, pa.string()), pa.array(texts.tolist(), pa.string())]
    return pa.StructArray.from_arrays(columns, fields=parts, mask=pa.array(~alive))


def variants(decoder: Decoder, node: layout.Variants, frame: Frame, alive: Mask, path: str) -> pa.Array:
    texts: npt.NDArray[np.object_] = np.full(frame.count, None, dtype=object)
    left = alive.copy()
    for case in sorted(node.cases, key=lambda each: not each.discriminants):  # the default takes what is left
        mine = left & _chosen(node, case, frame)
        left &= ~mine
        if mine.any():
            held = plain_values(decoder, case.node, frame.subset(mine), path)
            texts[mine] = [rows.dumps(_variant(case.name, value)) for value in held]
    frame.note_absent(path, left, Reason.NO_SYMBOL)
    return pa.array(texts.tolist(), pa.string())


def _chosen(node: layout.Variants, case: layout.VariantCase, frame: Frame) -> Mask:
    everywhere = np.ones(frame.count, dtype=np.bool_)
    if not node.tag_size or not case.discriminants:
        return everywhere
    tag = frame.column(node.tag_offset, f"<{'i' if node.tag_signed else 'u'}{node.tag_size}")
    found = ~everywhere
    for low, high in case.discriminants:
        found |= (tag >= low) & (tag <= high)
    return found


def _variant(name: str, value: object) -> dict[str, object]:
    if isinstance(value, dict):
        return {"variant": name, **value}
    return {"variant": name} if value is None else {"variant": name, "value": value}


def json_texts(decoder: Decoder, node: Node, frame: Frame, path: str) -> list[str | None]:
    """Null stays null only where the value is absent: a nil pointer in an interface is the JSON null."""
    held = plain_values(decoder, node, frame, path)
    return [json.dumps(None) if value is None else rows.dumps(value) for value in held]


def plain_values(decoder: Decoder, node: Node, frame: Frame, path: str) -> list[object]:
    alive = np.ones(frame.count, dtype=np.bool_)
    column = replace(decoder, beyond=False).column(
        node, frame, alive, path
    )  # in JSON no text could be told from another
    field = fields.field_of("value", node, column.type)
    return [rows.plain(value, field) for value in column.to_pylist()]
