"""Which bytes of a type are worth copying, and which must not be: ranges, before any place is known.

Policy's dropped parts are cut out here, so that no read covers them whatever surrounds them. Used by `plan_values`.
Paths are field names relative to the captured value; indices and pointers add none (`language.masking_names`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from agents.binaries import model as binary
from agents.binaries.model import TypeId, TypeTable
from agents.compiler.bind import type_of
from language.masking_names import KIND_PREFIX, path_matches, type_matches
from language.model import LimitSpec

MERGE_GAP: Final = 64  # bytes: copying a gap this small costs less than a second call of the kernel's copy routine

Range = tuple[int, int]  # [low, high)


@dataclass(frozen=True)
class Drops:
    """What policy says is never read, for one captured value."""

    paths: tuple[str, ...] = ()
    types: tuple[str, ...] = ()

    def cover(self, path: tuple[str, ...], held: binary.Type) -> bool:
        if path and any(path_matches(pattern, path) for pattern in self.paths):
            return True
        return any(_type_dropped(pattern, held) for pattern in self.types)

    def cover_name(self, type_name: str) -> bool:
        """Whether a type that an access only passes through is one that is never read."""
        return any(not p.startswith(KIND_PREFIX) and type_matches(p, type_name) for p in self.types)

    def __bool__(self) -> bool:
        return bool(self.paths or self.types)


@dataclass(frozen=True)
class Extent:
    """Bytes of one value: `wanted` and `dropped` never overlap; both are sorted."""

    wanted: tuple[Range, ...]
    dropped: tuple[Range, ...]


def extent(types: TypeTable, type_id: TypeId, drops: Drops, limits: LimitSpec, path: tuple[str, ...]) -> Extent:
    wanted: list[Range] = []
    dropped: list[Range] = []
    for low, high, is_dropped in _ranges(types, type_id, drops, limits, path, 0):
        if high > low:
            (dropped if is_dropped else wanted).append((low, high))
    dropped = _merged(dropped, gap=0, apart=[])
    cut = [piece for each in sorted(set(wanted)) for piece in _without(each, dropped)]
    return Extent(tuple(_merged(cut, gap=MERGE_GAP, apart=dropped)), tuple(dropped))


def is_byte(held: binary.Type) -> bool:
    """What []byte and [N]byte are made of."""
    return isinstance(held, binary.Integer) and held.size == 1 and not held.signed and not is_char(held)


def is_char(held: binary.Type) -> bool:
    """What C strings are made of: plain char. `unsigned char` is a byte, `signed char` a small number."""
    return isinstance(held, binary.Integer) and held.size == 1 and held.name.removeprefix("const ") == "char"


def shown_items(element: binary.Type, count: int, limits: LimitSpec, window: int | None = None) -> int:
    """How many items of an array are copied."""
    most = limits.max_string if is_byte(element) or is_char(element) else limits.max_items
    return min(count, most, count if window is None else window)


def _ranges(
    types: TypeTable, type_id: TypeId, drops: Drops, limits: LimitSpec, path: tuple[str, ...], at: int
) -> Iterator[tuple[int, int, bool]]:
    held = type_of(types, type_id)
    if drops.cover(path, held):
        yield at, at + held.size, True
        return
    match held:
        case binary.Struct(members=members):
            for member in members:
                inner = (*path, member.name) if member.name else path
                if member.bit_offset is not None and member.bit_size is not None:
                    last = member.bit_offset + member.bit_size + 7
                    covered = drops.cover(inner, type_of(types, member.type))
                    yield at + member.bit_offset // 8, at + last // 8, covered
                else:
                    yield from _ranges(types, member.type, drops, limits, inner, at + member.offset)
        case binary.Array(element=element, count=count):
            item = type_of(types, element)
            shown = shown_items(item, count, limits)
            if not drops:
                yield at, at + shown * item.size, False
                return
            for index in range(shown):
                yield from _ranges(types, element, drops, limits, path, at + index * item.size)
        case binary.VariantPart(tag_offset=tag, tag_size=size, variants=variants):
            yield at + tag, at + tag + size, False
            for variant in variants:
                yield from _ranges(types, variant.type, drops, limits, path, at)
        case binary.Optional(flag=flag, value=value, type=inner):
            yield at + flag, at + flag + 1, False
            yield from _ranges(types, inner, drops, limits, path, at + value)
        case binary.Opaque():
            return
        case _:
            yield at, at + held.size, False


def _type_dropped(pattern: str, held: binary.Type) -> bool:
    if pattern.startswith(KIND_PREFIX):
        return pattern.removeprefix(KIND_PREFIX) == _kind(held)
    return type_matches(pattern, held.name)


def _kind(held: binary.Type) -> str | None:
    """The words of language.masking_model.Kind for what one value is."""
    match held:
        case binary.String():
            return "string"
        case binary.Integer() | binary.Enumeration():
            return "integer"
        case binary.Float():
            return "float"
        case binary.Boolean():
            return "boolean"
        case _:
            return None


def _merged(ranges: list[Range], *, gap: int, apart: list[Range]) -> list[Range]:
    """Ranges joined over gaps of at most `gap` bytes, but never over a byte of `apart`."""
    joined: list[Range] = []
    for low, high in sorted(ranges):
        if joined:
            last_low, last_high = joined[-1]
            between = any(a < low and b > last_high for a, b in apart)
            if low <= last_high + gap and not between:
                joined[-1] = (last_low, max(last_high, high))
                continue
        joined.append((low, high))
    return joined


def _without(whole: Range, holes: list[Range]) -> Iterator[Range]:
    low, high = whole
    for hole_low, hole_high in holes:
        if hole_high <= low or hole_low >= high:
            continue
        if hole_low > low:
            yield low, hole_low
        low = max(low, hole_high)
    if low < high:
        yield low, high
