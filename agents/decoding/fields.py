"""What Arrow is told of a node: the type of its numbers, and that a text is JSON. Used by `values`, `lists`, `boxes`."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from agents.compiler import layout
from agents.compiler.layout import Node, NumberKind
from agents.decoding.records import Mask

JSON_ENCODING: Final = {b"encoding": b"json"}  # metadata of a string field whose texts are JSON values


def field_of(name: str, node: Node, kind: pa.DataType) -> pa.Field:
    """An Arrow field for the node's column, marked when its texts are JSON."""
    return pa.field(name, kind, metadata=encoding(node))


def encoding(node: Node) -> dict[bytes, bytes] | None:
    match node:
        case layout.Variants() | layout.Pairs() | layout.Number(size=16):
            return JSON_ENCODING
        case layout.Pointee(target=target):
            return encoding(target)
        case _:
            return None


def dtype_of(node: layout.Number) -> str:
    letter = {NumberKind.SIGNED: "i", NumberKind.FLOAT: "f"}.get(node.kind, "u")
    return f"<{letter}{node.size}"


def numbers(node: layout.Number, raw: npt.NDArray[Any], alive: Mask) -> pa.Array:
    if node.kind is NumberKind.BOOLEAN:
        raw = raw != 0
    return pa.array(np.ascontiguousarray(raw), mask=None if alive.all() else ~alive)
