"""What Arrow is told of a node: the type of its numbers, and that a text is JSON. Used by `values`, `lists`, `boxes`."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from agents.compiler import layout
from agents.compiler.layout import Node, NumberKind
from agents.decoding.records import Mask

BEYOND_LIMIT: Final = b"beyond"  # metadata: bytes of a text that may be shown, and that there may be at most
JSON_ENCODING: Final = {b"encoding": b"json"}  # metadata of a string field whose texts are JSON values


def field_of(name: str, node: Node, kind: pa.DataType, *, beyond: bool = False) -> pa.Field:
    """An Arrow field for the node's column, marked when its texts are JSON; with `beyond` when they exceed their limit."""
    return pa.field(name, kind, metadata=marks(node, beyond=beyond) or None)


def marks(node: Node, *, beyond: bool) -> dict[bytes, bytes]:
    """What a field's metadata says of its texts."""
    return encoding(node) or (_limits(node) if beyond else None) or {}


def texts_beyond(node: Node) -> tuple[object, ...]:
    """How far each text in a value goes beyond its limit: only values that are alike in this can share a column."""
    match node:
        case layout.Counted() | layout.Terminated():
            return (node.capacity, node.beyond)
        case layout.Pointee(target=target):
            return texts_beyond(target)
        case layout.Fields(fields=fields):
            return tuple((name, texts_beyond(each)) for name, each in fields)
        case layout.Items(items=items):
            return tuple(texts_beyond(each) for each in items)
        case _:
            return ()


def _limits(node: Node) -> dict[bytes, bytes] | None:
    match node:
        case layout.Counted() | layout.Terminated() if node.beyond:
            in_hex = 2 if isinstance(node, layout.Counted) and not node.text else 1
            limit, captured = (in_hex * size for size in (node.capacity - node.beyond, node.capacity))
            return {BEYOND_LIMIT: f"{limit} {captured}".encode()}
        case layout.Pointee(target=target):
            return _limits(target)
        case _:
            return None


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
