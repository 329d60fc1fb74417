"""One value's type and bytes -> the node it decodes as, and the further reads that pointers inside it need.

A composite is copied as one block; what hangs on pointers (text, items, pointees, values in interfaces) becomes further
blocks whose address and length stand in the record already. Called by `plan`; Go interfaces are in `plan_interfaces`.
Depth counts the pointers, slices and interfaces followed; strings and []byte are leaves and cost none, and a slice of
leaves may stand at the last level.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from agents.absence import Absent, Reason
from agents.binaries import model as binary
from agents.binaries.model import ResolvedProbe, TypeId
from agents.compiler import layout, plan_interfaces, plan_maps
from agents.compiler.bind import type_of
from agents.compiler.extent import Drops, Extent, extent, is_byte, is_char, shown_items
from agents.compiler.layout import Guards, Node, NumberKind, Status
from agents.compiler.plan_headers import canonical
from agents.compiler.reads import (
    Address,
    AtLoaded,
    AtRegister,
    AtStatic,
    Copy,
    CopyCounted,
    CopyText,
    ItemThere,
    StatusOk,
    Steps,
    TagIn,
)
from agents.compiler.space import Block, Segment, Space
from language.model import LimitSpec

BULK_ITEM: Final = (
    512  # bytes: items of a slice larger than this are copied one by one, and only the part that is shown
)
WORD: Final = 8


@dataclass(frozen=True)
class Where:
    """Where a value stands in the tree: what was followed to get there, and what is known to hold."""

    path: tuple[str, ...]  # field names from the captured value on
    depth: int  # how many more pointers may be followed
    held: frozenset[int]  # status bytes that an ancestor's guards have checked
    steps: Steps
    boxes: int = 0  # interfaces it is the value of
    window: int | None = None

    def within(self, name: str) -> Where:
        return replace(self, path=(*self.path, name) if name else self.path, window=None)

    def holding(self, guards: Guards) -> Where:
        return replace(self, held=self.held | set(guards), steps=self.steps.under(*map(StatusOk, guards)), window=None)

    def deeper(self) -> Where:
        return replace(self, depth=self.depth - 1, window=None)


@dataclass
class ValuePlanner:
    """Plans the values of one program. `space` grows as it goes."""

    resolved: ResolvedProbe
    limits: LimitSpec
    drops: Drops
    space: Space
    beyond: int = 0  # bytes of a text past its limit
    _arrays: dict[TypeId, binary.Array] = field(default_factory=dict)

    def type(self, type_id: TypeId) -> binary.Type:
        return self._arrays.get(type_id) or type_of(self.resolved.types, type_id)

    # --- memory -------------------------------------------------------------------------------------------------

    def memory(self, type_id: TypeId, address: Address, where: Where, nil: Status | None = Status.NIL) -> Node:
        """A value in the target's memory: copied but for what is dropped, then read as its type says."""
        held = self.type(type_id)
        if self.drops.cover(where.path, held):
            return layout.Missing(Reason.DROPPED)
        block = copied(self.space, where.steps, address, self.extent(type_id, where), nil)
        return self.node(type_id, block, 0, where)

    def extent(self, type_id: TypeId, where: Where) -> Extent:
        if array := self._arrays.get(type_id):
            item = extent(self.resolved.types, array.element, self.drops, self.limits, where.path)
            held = self.type(array.element)
            size, shown = held.size, shown_items(held, array.count, self.limits)
            if not item.dropped:
                return Extent(((0, shown * size),) if shown * size else (), ())
            spread = [(i * size, item) for i in range(shown)]
            return Extent(
                tuple((low + at, high + at) for at, each in spread for low, high in each.wanted),
                tuple((low + at, high + at) for at, each in spread for low, high in each.dropped),
            )
        return extent(self.resolved.types, type_id, self.drops, self.limits, where.path)

    # --- values -------------------------------------------------------------------------------------------------

    def node(self, type_id: TypeId, block: Block, at: int, where: Where) -> Node:
        """The value of this type whose bytes begin at `at` of the block."""
        held = self.type(type_id)
        if self.drops.cover(where.path, held):
            return layout.Missing(Reason.DROPPED)
        match held:
            case binary.Struct():
                return self._struct(held, block, at, where)
            case binary.Array():
                return self._array(held, block, at, where)
            case binary.VariantPart():
                return self._variants(held, block, at, where)
            case binary.Opaque(why=why):
                return layout.Missing(Reason.UNSUPPORTED_TYPE, why)
            case binary.Optional():
                return self._optional(held, block, at, where)
        found = block.find(at, held.size)
        if isinstance(found, Absent):
            return layout.Missing(found.reason, found.detail)
        offset, all_guards = found
        guards = tuple(guard for guard in all_guards if guard not in where.held)
        inner = where.holding(all_guards)
        match held:
            case binary.String(header=header):
                offset, more = canonical(self.space, inner.steps, header, offset)
                return self._text(
                    offset, replace(inner.holding(more), window=where.window), (*guards, *more), text=True
                )
            case binary.Slice(header=header):
                offset, more = canonical(self.space, inner.steps, header, offset)
                return self._slice(held, offset, replace(inner.holding(more), window=where.window), (*guards, *more))
            case binary.Pointer():
                return self._pointer(held, offset, replace(inner, window=where.window), guards)
            case binary.Interface():
                return plan_interfaces.node(self, held, offset, inner, guards)
            case binary.Map():
                return plan_maps.node(self, held, offset, inner, guards)
            case _:
                return scalar(held, offset, guards)

    def _struct(self, held: binary.Struct, block: Block, at: int, where: Where) -> Node:
        if held.incomplete:
            return layout.Missing(Reason.UNSUPPORTED_TYPE, f"{held.name} is only declared in this binary")
        shared = tuple(guard for guard in block.guards_of_all() if guard not in where.held)
        inner = where.holding(block.guards_of_all()) if shared else where
        if held.name == "time.Time" and {member.name for member in held.members} >= {"wall", "ext"}:
            moment = block.find(at, 2 * WORD)
            if not isinstance(moment, Absent):
                rest = tuple(guard for guard in moment[1] if guard not in inner.held)
                return layout.Moment(moment[0], (*shared, *rest))
        fields: list[tuple[str, Node]] = []
        for member in held.members:
            if member.name == "_":
                continue
            node = self._member(member, block, at, inner.within(member.name))
            if not member.name and isinstance(node, layout.Fields) and not node.guards:
                fields.extend(node.fields)  # C's anonymous members: their fields are the struct's own
            else:
                fields.append((member.name, node))
        return layout.Fields(tuple(fields), shared)

    def _member(self, member: binary.Member, block: Block, at: int, where: Where) -> Node:
        if member.bit_offset is None or member.bit_size is None:
            return self.node(member.type, block, at + member.offset, where)
        held = self.type(member.type)
        if self.drops.cover(where.path, held):
            return layout.Missing(Reason.DROPPED)
        return bit_field(held, block, at, (member.bit_offset, member.bit_size), where.held)

    def _array(self, held: binary.Array, block: Block, at: int, where: Where) -> Node:
        element = self.type(held.element)
        count = held.count if where.window is None else min(held.count, where.window)
        shown = shown_items(element, count, self.limits)
        if is_byte(element) or is_char(element):
            found = block.find(at, shown) if shown else (0, ())
            if isinstance(found, Absent):
                return layout.Missing(found.reason, found.detail)
            guards = tuple(guard for guard in found[1] if guard not in where.held)
            return layout.FixedBytes(found[0], shown, count, is_char(element), guards)
        shared = tuple(guard for guard in block.guards_of_all() if guard not in where.held)
        inner = where.holding(block.guards_of_all()) if shared else where
        items = tuple(
            self.node(held.element, block, at + index * element.size, inner.within("")) for index in range(shown)
        )
        return layout.Items(items, None, count, None, shared, _stride(element, items))

    def _variants(self, held: binary.VariantPart, block: Block, at: int, where: Where) -> Node:
        tag = block.find(at + held.tag_offset, held.tag_size) if held.tag_size else (0, ())
        if isinstance(tag, Absent):
            return layout.Missing(tag.reason, tag.detail)
        shared = tuple(guard for guard in (*block.guards_of_all(), *tag[1]) if guard not in where.held)
        inner = where.holding((*block.guards_of_all(), *tag[1]))
        named = tuple(each for variant in held.variants for each in variant.discriminants)
        cases = []
        for variant in held.variants:
            steps = inner.steps
            if held.tag_size:
                ranges = variant.discriminants or named
                outside = not variant.discriminants
                steps = steps.under(TagIn(tag[0], held.tag_size, held.tag_signed, ranges, outside))
            node = self.node(variant.type, block, at, replace(inner, steps=steps))
            cases.append(layout.VariantCase(variant.name, variant.discriminants, node))
        guards = tuple(dict.fromkeys(shared))
        return layout.Variants(tag[0], held.tag_size, held.tag_signed, tuple(cases), guards)

    def _optional(self, held: binary.Optional, block: Block, at: int, where: Where) -> Node:
        """Alive or not as its flag says; null when not."""
        flag = block.find(at + held.flag, 1)
        if isinstance(flag, Absent):
            return layout.Missing(flag.reason, flag.detail)
        guards = tuple(guard for guard in flag[1] if guard not in where.held)
        inner = where.holding(flag[1])
        alive = replace(inner, steps=inner.steps.under(TagIn(flag[0], 1, signed=False, ranges=((1, 255),))))
        return layout.Pointee(flag[0], self.node(held.type, block, at + held.value, alive), guards, size=1)

    # --- what hangs on a pointer --------------------------------------------------------------------------------

    def _text(self, offset: int, where: Where, guards: Guards, *, text: bool) -> Node:
        """A string or []byte whose pointer stands at `offset` and its length after it."""
        capacity = _least(self.limits.max_string, where.window) + self.beyond
        data, status = self.space.take(capacity), self.space.status()
        where.steps.add(CopyCounted(AtLoaded(offset), offset + WORD, 1, capacity, data, status))
        return layout.Counted(data, capacity, offset + WORD, text, where.window, (*guards, status), self.beyond)

    def _slice(self, held: binary.Slice, offset: int, where: Where, guards: Guards) -> Node:
        element = self.type(held.element)
        if is_byte(element):
            return self._text(offset, where, guards, text=False)
        if where.depth <= 0 and not self._is_flat(held.element):
            return layout.Missing(Reason.DEPTH, guards=guards)
        shown = _least(self.limits.max_items, where.window)
        inner = where.deeper()
        length = offset + WORD
        item = self.extent(held.element, inner)
        items: list[Node] = []
        if not item.dropped and element.size <= BULK_ITEM:
            data, status = self.space.take(shown * element.size), self.space.status()
            inner.steps.add(CopyCounted(AtLoaded(offset), length, element.size, shown, data, status))
            guards = (*guards, status)
            inner = inner.holding((status,))
            for index in range(shown):
                inner = replace(inner, steps=inner.steps.under(ItemThere(length, index)))
                there = Block((Segment(0, element.size, data + index * element.size),))
                items.append(self.node(held.element, there, 0, inner))
        else:
            for index in range(shown):
                inner = replace(inner, steps=inner.steps.under(ItemThere(length, index)))
                items.append(self.memory(held.element, AtLoaded(offset, index * element.size), inner))
        return layout.Items(tuple(items), length, 0, where.window, guards, _stride(element, tuple(items)))

    def _is_flat(self, type_id: TypeId) -> bool:
        """Whether nothing hangs on the value but text: then it may stand in a slice at the last level."""
        match self.type(type_id):
            case binary.Pointer() | binary.Interface() | binary.Map() | binary.VariantPart() | binary.Optional():
                return False
            case binary.Slice(element=element):
                return is_byte(self.type(element))
            case binary.Struct(members=members):
                return all(self._is_flat(member.type) for member in members)
            case binary.Array(element=element):
                return self._is_flat(element)
            case _:
                return True

    def _pointer(self, held: binary.Pointer, offset: int, where: Where, guards: Guards) -> Node:
        target = None if held.target is None else self.type(held.target)
        if held.target is None or target is None or (isinstance(target, binary.Opaque) and not target.size):
            return layout.Pointee(offset, layout.Number(offset, WORD, NumberKind.UNSIGNED), guards)
        if is_char(target):
            return layout.Pointee(offset, self._terminated(offset, where), guards)
        if isinstance(target, binary.Struct) and target.incomplete:
            missing = layout.Missing(Reason.UNSUPPORTED_TYPE, f"{target.name} is only declared in this binary")
            return layout.Pointee(offset, missing, guards)
        if where.depth <= 0:
            return layout.Pointee(offset, layout.Missing(Reason.DEPTH), guards)
        type_id = held.target if where.window is None else self._array_of(held.target, where.window)
        return layout.Pointee(offset, self.memory(type_id, AtLoaded(offset), where.deeper()), guards)

    def _terminated(self, offset: int, where: Where) -> Node:
        capacity = _least(self.limits.max_string, where.window) + self.beyond
        data, length, status = self.space.take(capacity + 2), self.space.take(WORD), self.space.status()
        where.steps.add(CopyText(AtLoaded(offset), capacity, data, length, status))
        return layout.Terminated(data, capacity, length, where.window, (status,), self.beyond)

    def _array_of(self, element: TypeId, count: int) -> TypeId:
        """The first `count` items behind a C pointer, as an array type of our own."""
        held = self.type(element)
        key = TypeId(-(1 << 61) - len(self._arrays))
        self._arrays[key] = binary.Array(f"{held.name}[{count}]", count * held.size, element, count)
        return key


def scalar(held: binary.Type, offset: int, guards: Guards) -> Node:
    match held:
        case binary.Integer(size=size, signed=signed, character=character):
            kind = NumberKind.SIGNED if signed else NumberKind.UNSIGNED
            if character and size == 4 and not signed:
                kind = NumberKind.SCALAR_VALUE
            return layout.Number(offset, size, kind, guards)
        case binary.Boolean(size=size):
            return layout.Number(offset, size, NumberKind.BOOLEAN, guards)
        case binary.Float(name=name, size=size):
            if size not in {4, 8}:
                return layout.Missing(Reason.UNSUPPORTED_TYPE, f"{name} has {size} bytes: only 4 and 8 are read")
            return layout.Number(offset, size, NumberKind.FLOAT, guards)
        case binary.Enumeration(size=size, signed=signed, members=members):
            return layout.Enumerated(offset, size, signed, members, guards)
        case _:
            raise AssertionError(f"{held.name} is no scalar")


def bit_field(held: binary.Type, block: Block, at: int, bits: tuple[int, int], checked: frozenset[int]) -> Node:
    """`bits`: from the start of the struct at `at`, how many."""
    low, high = bits[0] // 8, (bits[0] + bits[1] + 7) // 8
    found = block.find(at + low, high - low)
    if isinstance(found, Absent):
        return layout.Missing(found.reason, found.detail)
    if high - low > WORD:
        return layout.Missing(Reason.UNSUPPORTED_TYPE, "a bit-field that reaches over nine bytes")
    signed = isinstance(held, binary.Integer | binary.Enumeration) and held.signed
    guards = tuple(guard for guard in found[1] if guard not in checked)
    return layout.BitField(found[0], high - low, bits[0] % 8, bits[1], signed, guards)


def copied(space: Space, steps: Steps, address: Address, ranges: Extent, nil: Status | None) -> Block:
    """Copy these ranges of the target's memory, one call each."""
    segments = [Segment(low, high, 0, (), Absent(Reason.DROPPED)) for low, high in ranges.dropped]
    for low, high in ranges.wanted:
        offset, status = space.take(high - low), space.status()
        steps.add(Copy(further(address, low), high - low, offset, status, nil))
        segments.append(Segment(low, high, offset, (status,)))
    return Block(tuple(sorted(segments, key=lambda segment: segment.low)))


def further(address: Address, offset: int) -> Address:
    match address:
        case AtRegister(register, displacement):
            return AtRegister(register, displacement + offset)
        case AtStatic(static):
            return AtStatic(static + offset)
        case AtLoaded(loaded, displacement):
            return AtLoaded(loaded, displacement + offset)


def _least(limit: int, window: int | None) -> int:
    return limit if window is None else min(limit, window)


def _stride(element: binary.Type, items: tuple[Node, ...]) -> int | None:
    """The distance of plain numbers, which decode as one matrix."""
    plain = all(isinstance(item, layout.Number) and not item.guards and item.size <= WORD for item in items)
    regular = plain and items and isinstance(element, binary.Integer | binary.Boolean | binary.Float)
    return element.size if regular else None
