"""One node of the layout -> one Arrow column of all rows. Where a value is not there the column is null.

`alive` says which rows reach the node; what a dead row's bytes hold is never looked at. Composites that Arrow types
cannot say (Go interfaces, Rust variants, 128-bit integers) become JSON text, marked as such: see `fields.encoding`.
Lists are in `lists`, maps in `maps`, interfaces and variants in `boxes`, stacks in `stacks`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from agents.absence import Reason
from agents.compiler import layout
from agents.compiler.layout import Node, NumberKind
from agents.decoding import boxes, lists, maps, stacks
from agents.decoding.fields import dtype_of, field_of, numbers
from agents.decoding.records import Frame, Mask
from agents.decoding.texts import hex_column, text_column

Symbolise = Callable[[int, int], str | None]  # (pid, address) -> "function+offset", None when it is not known
_INTERNAL_TO_UNIX: Final = 62_135_596_800  # seconds from year 1 to 1970: time.unixToInternal
_WALL_TO_INTERNAL: Final = (1884 * 365 + 1884 // 4 - 1884 // 100 + 1884 // 400) * 86_400  # time.wallToInternal


@dataclass(frozen=True)
class Decoder:
    """`beyond`: texts come with what was captured past their limit, and their fields say so. Masking takes it away."""

    symbolise: Symbolise | None
    beyond: bool = False

    def column(self, node: Node, frame: Frame, alive: Mask, path: str) -> pa.Array:
        """`alive` is left as it is."""
        alive = frame.checked(node.guards, alive.copy(), path)
        match node:
            case layout.Number():
                return _number(node, frame, alive)
            case layout.BitField():
                return _bit_field(node, frame, alive)
            case layout.Enumerated():
                return _enumerated(node, frame, alive)
            case layout.Counted() | layout.Terminated():
                return _counted(node, frame, alive, path, beyond=self.beyond)
            case layout.FixedBytes():
                return _fixed(node, frame, alive, path)
            case layout.Fields():
                return self._fields(node, frame, alive, path)
            case layout.Moment():
                return _moment(node, frame, alive)
            case layout.Pointee():
                alive &= frame.column(node.pointer_offset, f"<u{node.size}") != 0
                return self.column(node.target, frame, alive, path)
            case layout.Items():
                return lists.column(self, node, frame, alive, path)
            case layout.Boxed():
                return boxes.interface(self, node, frame, alive, path)
            case layout.Pairs():
                return maps.column(self, node, frame, alive, path)
            case layout.Variants():
                return boxes.variants(self, node, frame, alive, path)
            case layout.Stack():
                return stacks.column(node, frame, alive, self.symbolise)
            case layout.Literal(value):
                kind = {bool: pa.bool_(), int: pa.int64(), str: pa.string()}.get(type(value), pa.string())
                if isinstance(value, int) and not isinstance(value, bool) and value >= 1 << 63:
                    kind = pa.uint64()
                return pa.array([value] * frame.count, kind)
            case layout.Missing(reason):
                frame.note_absent(path, alive, reason)
                return pa.nulls(frame.count, pa.string())

    def _fields(self, node: layout.Fields, frame: Frame, alive: Mask, path: str) -> pa.Array:
        if not node.fields:
            return pa.array([{} if there else None for there in alive.tolist()], pa.struct([]))
        columns = [self.column(each, frame, alive, f"{path}.{name}" if name else path) for name, each in node.fields]
        fields = [
            field_of(name, each, column.type, beyond=self.beyond)
            for (name, each), column in zip(node.fields, columns, strict=True)
        ]
        return pa.StructArray.from_arrays(columns, fields=fields, mask=pa.array(~alive))


# --- numbers -----------------------------------------------------------------------------------------------------


def _number(node: layout.Number, frame: Frame, alive: Mask) -> pa.Array:
    if node.size == 16:
        return _wide(node, frame, alive)
    raw = frame.column(node.offset, dtype_of(node))
    if node.kind is NumberKind.SCALAR_VALUE:
        values = zip(raw.tolist(), alive.tolist(), strict=True)
        return pa.array([_character(value) if there else None for value, there in values], pa.string())
    return numbers(node, raw, alive)


def _character(value: int) -> str:
    """Rust's char is never a surrogate; anything else is no character."""
    return chr(value) if value < 0xD800 or 0xE000 <= value <= 0x10FFFF else "\ufffd"


def _wide(node: layout.Number, frame: Frame, alive: Mask) -> pa.Array:
    """128-bit integers, which Arrow has no type for: their digits, which are JSON."""
    signed = node.kind is NumberKind.SIGNED
    raw = frame.records[:, node.offset : node.offset + 16]
    digits = [
        str(int.from_bytes(row.tobytes(), "little", signed=signed)) if there else None
        for row, there in zip(raw, alive.tolist(), strict=True)
    ]
    return pa.array(digits, pa.string())


def _bit_field(node: layout.BitField, frame: Frame, alive: Mask) -> pa.Array:
    value = np.zeros(frame.count, dtype=np.uint64)
    for index in range(node.size):
        value |= frame.column(node.offset + index, "u1").astype(np.uint64) << np.uint64(8 * index)
    up = np.uint64(64 - node.bits)
    value = (value >> np.uint64(node.shift)) << up
    narrowed = value.view(np.int64) >> np.int64(64 - node.bits) if node.signed else value >> up
    return pa.array(narrowed, mask=~alive)


def _enumerated(node: layout.Enumerated, frame: Frame, alive: Mask) -> pa.Array:
    """By name; a number that has none as its digits."""
    raw = frame.column(node.offset, f"<{'i' if node.signed else 'u'}{node.size}")
    values, indices = np.unique(raw, return_inverse=True)
    names = {value: name for name, value in reversed(node.members)}
    words = pa.array([names.get(value, str(value)) for value in values.tolist()], pa.string())
    return words.take(pa.array(indices, mask=~alive))


def _moment(node: layout.Moment, frame: Frame, alive: Mask) -> pa.Array:
    """time.Time: with the top bit of `wall` set it holds seconds since 1885 and nanoseconds, else `ext` the seconds."""
    wall = frame.column(node.offset, "<u8").astype(np.uint64)
    ext = frame.column(node.offset + 8, "<i8").astype(np.int64)
    short = ((wall << np.uint64(1)) >> np.uint64(31)).astype(np.int64) + _WALL_TO_INTERNAL
    seconds = np.where(wall >> np.uint64(63) != 0, short, ext) - _INTERNAL_TO_UNIX
    nanoseconds = (wall & np.uint64((1 << 30) - 1)).astype(np.int64)
    written = np.datetime_as_string(seconds.astype("datetime64[s]"))
    texts = [
        (text + (f".{ns:09d}".rstrip("0") if ns else "") + "Z") if there else None
        for text, ns, there in zip(written.tolist(), nanoseconds.tolist(), alive.tolist(), strict=True)
    ]
    return pa.array(texts, pa.string())


# --- text --------------------------------------------------------------------------------------------------------


def _counted(
    node: layout.Counted | layout.Terminated, frame: Frame, alive: Mask, path: str, *, beyond: bool
) -> pa.Array:
    real = true = frame.column(node.length_offset, "<u8").astype(np.uint64)
    if node.window is not None:
        true = np.minimum(true, np.uint64(node.window))
    shown = np.minimum(true, np.uint64(node.capacity - node.beyond))
    cut = alive & (true > shown)
    frame.note_cut(path, cut, true)
    data = frame.records[:, node.offset : node.offset + node.capacity]
    lengths = shown.astype(np.int64)
    taken = np.minimum(real, np.uint64(node.capacity)).astype(np.int64) if beyond and node.beyond else lengths
    if isinstance(node, layout.Counted) and not node.text:
        return hex_column(data, taken, alive)
    return text_column(data, taken, alive, cut, lengths)


def _fixed(node: layout.FixedBytes, frame: Frame, alive: Mask, path: str) -> pa.Array:
    data = frame.records[:, node.offset : node.offset + node.count]
    lengths = np.full(frame.count, node.count, dtype=np.int64)
    whole = np.full(frame.count, node.true_count, dtype=np.uint64)
    if not node.text:
        if node.true_count > node.count:
            frame.note_cut(path, alive, whole)
        return hex_column(data, lengths, alive)
    ends = data == 0
    ended = ends.any(axis=1) if node.count else np.zeros(frame.count, dtype=np.bool_)
    if node.count:
        lengths = np.where(ended, ends.argmax(axis=1), node.count)
    if node.true_count > node.count:  # its end is in the part that was not copied
        frame.note_absent(path, alive & ~ended, Reason.LENGTH_UNKNOWN)
        alive = alive & ended
    return text_column(data, lengths, alive, np.zeros(frame.count, dtype=np.bool_), lengths)
