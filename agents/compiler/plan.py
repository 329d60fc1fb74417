"""Bound captures -> what each program copies where, and the layout of the record that comes of it.

Enters: values from `bind`, a test from `predicate`. Leaves: a Plan for `emit` (reads, sides, offsets) and the
RecordLayout for `agents.decoding`. A record is: header; what the entry captures; what the return captures. A probe that
needs both keeps the first two parts in STASH, byte for byte as the record will have them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from agents.absence import Absent, Reason
from agents.binaries import model as binary
from agents.binaries.model import Register, ResolvedProbe
from agents.compiler import layout, predicate, predicate_split
from agents.compiler.access import Access, Fixed, Known, LengthOf, Value
from agents.compiler.bind import type_name, type_of
from agents.compiler.extent import Drops
from agents.compiler.layout import Column, Node, NumberKind, RecordLayout, Status
from agents.compiler.model import CannotCompile, CaptureRequest, CompileRequest, Refusal, Role
from agents.compiler.plan_places import InMemory, InVariable, Places, whole_word
from agents.compiler.plan_values import WORD, ValuePlanner, Where, bit_field, further
from agents.compiler.reads import (
    AtLoaded,
    AtRegister,
    Body,
    Copy,
    StatusOk,
    Steps,
    StoreComm,
    StoreConstant,
    StoreLatency,
    StoreRegister,
    WalkStack,
    Zero,
)
from agents.compiler.space import MAX_RECORD, RecordTooLarge, Space
from language import expressions
from language.model import At

TIME: Final = 0
THREAD: Final = 8
GOID: Final = 16
GOID_STATUS: Final = 24
HEADER: Final = 16
GO_HEADER: Final = 32
MAX_FRAMES: Final = 64  # of a stack: deep enough for a request's path, an eighth of the smallest useful record
COMM_SIZE: Final = 16  # TASK_COMM_LEN


@dataclass(frozen=True)
class Part:
    """The reads of one column ("" for what belongs to none)."""

    column: str
    body: Body


@dataclass(frozen=True)
class Plan:
    """`paired`: an entry program fills the stash, a return program makes the record of it."""

    role: Role  # of the only program when not paired
    paired: bool
    entry: tuple[Part, ...]
    returned: tuple[Part, ...]
    test: predicate_split.Split
    kept_offset: int  # 16 bytes for each of `test.kept`: 8 bytes 1 when it could be read, 8 bytes value
    layout: RecordLayout


def plan(resolved: ResolvedProbe, request: CompileRequest, values: Sequence[Value], test: predicate.Test) -> Plan:
    """`values` belong to `request.captures` one by one. Raises CannotCompile."""
    return _Planner(resolved, request, values, test).plan()


class _Planner:
    def __init__(
        self, resolved: ResolvedProbe, request: CompileRequest, values: Sequence[Value], test: predicate.Test
    ) -> None:
        self._resolved = resolved
        self._request = request
        self._captures = tuple(zip(request.captures, values, strict=True))
        self._test = test
        self._has_return = request.at in {At.RETURN, At.ENTRY_AND_RETURN}
        self._paired = self._has_return and (
            request.at is At.ENTRY_AND_RETURN
            or predicate_split.needs_entry(test)
            or any(_needs_entry(value) for _, value in self._captures)
        )
        self._nodes: dict[str, Node] = {}

    def plan(self) -> Plan:
        is_go = self._resolved.go is not None
        entry_space = Space(GO_HEADER if is_go else HEADER)
        test = predicate_split.split(self._test) if self._paired else self._alone()
        kept_offset = entry_space.take(2 * WORD * len(test.kept))
        at_entry = [each for each in self._captures if self._side(each[1]) is Role.ENTRY]
        entry = self._parts(entry_space, at_entry)
        stash_size = -(-entry_space.end // WORD) * WORD
        return_space = Space(stash_size)
        returned = self._parts(return_space, [each for each in self._captures if each not in at_entry])
        record = RecordLayout(
            record_size=max(-(-return_space.end // WORD) * WORD, HEADER),
            function=self._resolved.function,
            columns=tuple(self._column(capture, value) for capture, value in self._captures),
            time_offset=TIME,
            thread_offset=THREAD,
            goid_offset=GOID if is_go else None,
            goid_status=GOID_STATUS if is_go else 0,
            stash_size=stash_size if self._paired else 0,
        )
        role = Role.RETURN if self._has_return else Role.ENTRY
        return Plan(role, self._paired, entry, returned, test, kept_offset, record)

    def _alone(self) -> predicate_split.Split:
        nothing = predicate.Always(value=True)
        if self._has_return:
            return predicate_split.Split(nothing, self._test)
        return predicate_split.Split(self._test, nothing)

    def _side(self, value: Value) -> Role:
        """Which program captures it. What both could know belongs to the entry: the state before the call."""
        if not self._has_return:
            return Role.ENTRY
        if not self._paired or _needs_return(value):
            return Role.RETURN
        return Role.ENTRY

    def _parts(self, space: Space, captures: Sequence[tuple[CaptureRequest, Value]]) -> tuple[Part, ...]:
        parts: list[Part] = []
        places = Places(space, Steps())
        for capture, value in captures:
            steps = places.steps = Steps()
            try:
                self._nodes[capture.column] = self._value(capture, value, space, places)
            except RecordTooLarge:
                raise CannotCompile(Refusal.TOO_LARGE, _too_large(capture), capture.column) from None
            parts.append(Part(capture.column, steps.freeze()))
        return (Part("", tuple(Zero(chunk) for chunk in space.chunks)), *parts)

    def _column(self, capture: CaptureRequest, value: Value) -> Column:
        text = expressions.render(capture.expression)
        return Column(capture.column, text, type_name(value), self._nodes[capture.column])

    # --- values -------------------------------------------------------------------------------------------------

    def _value(self, capture: CaptureRequest, value: Value, space: Space, places: Places) -> Node:
        match value:
            case Fixed(constant):
                return layout.Literal(constant)
            case Known(name):
                return self._known(name, space, places.steps)
            case LengthOf(access):
                drops = Drops(capture.dropped_paths, capture.dropped_types)
                if any(drops.cover_name(name) for name in access.type_names):
                    return layout.Missing(Reason.DROPPED)
                return self._length(access, places)
            case Access():
                return self._access(capture, value, space, places)

    def _access(self, capture: CaptureRequest, access: Access, space: Space, places: Places) -> Node:
        drops = Drops(capture.dropped_paths, capture.dropped_types)
        if any(drops.cover_name(name) for name in access.type_names):
            return layout.Missing(Reason.DROPPED)
        place = places.place(access)
        if isinstance(place, Absent):
            return layout.Missing(place.reason, place.detail)
        planner = ValuePlanner(self._resolved, self._request.limits, drops, space, self._request.beyond)
        hops = place.guards if isinstance(place, InMemory) else ()
        where = Where((), self._request.limits.max_depth, frozenset(), places.steps, window=access.window)
        where = replace(where.holding(hops), window=access.window)
        if access.bits is not None:
            low, high = access.bits[0] // 8, (access.bits[0] + access.bits[1] + 7) // 8
            ranges = planner.extent(access.type, where)
            block = places.block(place, replace(ranges, wanted=((low, high),) if ranges.wanted else ()))
            node = bit_field(planner.type(access.type), block, 0, access.bits, frozenset(hops))
        elif isinstance(place, InMemory):
            node = planner.memory(access.type, place.address, where, place.nil)
        else:
            node = self._in_variable(planner, access, place, places, where)
        return replace(node, guards=(*hops, *node.guards))

    def _in_variable(
        self, planner: ValuePlanner, access: Access, place: InVariable, places: Places, where: Where
    ) -> Node:
        held = planner.type(access.type)
        if isinstance(held, binary.Opaque):
            return layout.Missing(Reason.UNSUPPORTED_TYPE, held.why)
        block = places.block(place, planner.extent(access.type, where))
        return planner.node(access.type, block, 0, where)

    def _length(self, access: Access, places: Places) -> Node:
        place = places.place(access)
        if isinstance(place, Absent):
            return layout.Missing(place.reason, place.detail)
        if isinstance(type_of(self._resolved.types, access.type), binary.Map):
            return self._map_length(place, places)
        held = type_of(self._resolved.types, access.type)
        header = held.header if isinstance(held, binary.String | binary.Slice) else binary.PLAIN
        if header.unit:
            found = places.header(place, header)
            found = found if isinstance(found, Absent) else (found[0] + WORD, found[1])
        else:
            found = places.words(_further(place, header.length), WORD)
        if isinstance(found, Absent):
            return layout.Missing(found.reason, found.detail)
        return layout.Number(found[0], WORD, NumberKind.SIGNED, found[1])

    def _map_length(self, place: InMemory | InVariable, places: Places) -> Node:
        """A map is a pointer to its header, whose first word counts its keys (internal/runtime/maps.Map.used)."""
        register = whole_word(place) if isinstance(place, InVariable) else None
        guards: layout.Guards = ()
        if register is not None:
            address: AtRegister | AtLoaded = AtRegister(register)
        else:
            found = places.words(place, WORD)
            if isinstance(found, Absent):
                return layout.Missing(found.reason, found.detail)
            address, guards = AtLoaded(found[0]), found[1]
        offset, status = places.space.take(WORD), places.space.status()
        steps = places.steps.under(*map(StatusOk, guards))
        steps.add(StoreConstant(0, WORD, offset))
        steps.add(Copy(address, WORD, offset, status, Status.OK))
        return layout.Number(offset, WORD, NumberKind.SIGNED, (*guards, status))

    def _known(self, name: str, space: Space, steps: Steps) -> Node:
        match name:
            case "latency":
                offset = space.take(WORD)
                steps.add(StoreLatency(offset))
                return layout.Number(offset, WORD, NumberKind.SIGNED)
            case "goid":
                return layout.Number(GOID, WORD, NumberKind.UNSIGNED, (GOID_STATUS,))
            case "tid":
                return layout.Number(THREAD, 4, NumberKind.UNSIGNED)
            case "pid":
                return layout.Number(THREAD + 4, 4, NumberKind.UNSIGNED)
            case "comm":
                offset = space.take(COMM_SIZE)
                steps.add(StoreComm(offset))
                return layout.FixedBytes(offset, COMM_SIZE, COMM_SIZE, text=True)
            case _:
                return self._stack(space, steps)

    def _stack(self, space: Space, steps: Steps) -> Node:
        """The frame-pointer chain, and apart from it the return address of this very call (just below the CFA).

        Only Go keeps frame pointers everywhere. Elsewhere rbp may hold anything, and a chain from there would be made of
        chance words: what is certain is this function and its caller.
        """
        site = self._resolved.entry
        by_uretprobe = False
        if self._has_return and not self._paired:
            by_uretprobe = not self._resolved.returns
            site = site if by_uretprobe else self._resolved.returns[0]
        caller, caller_status = space.take(WORD), space.status()
        if not by_uretprobe:  # which has replaced the return address, and stands in the caller already
            if site.cfa_register is Register.SP:  # arm64: in the link register
                steps.add(StoreRegister(Register.X30, 0, WORD, caller))
                steps.add(StoreConstant(Status.OK, 1, caller_status))
            else:
                address = AtRegister(site.cfa_register, site.cfa_displacement - WORD)
                steps.add(Copy(address, WORD, caller, caller_status, None))
        capacity = 1 if self._resolved.go is None else MAX_FRAMES
        length, status = space.take(WORD), space.status()
        frames = space.take(capacity * WORD)
        steps.add(WalkStack(frames, capacity, length, status))
        # From 6.11 on the kernel puts the caller in itself at these instructions (is_uprobe_at_func_entry).
        missed = not site.instruction.startswith(("push rbp", "endbr64"))
        return layout.Stack(frames, length, capacity, caller, (caller_status,), THREAD + 4, missed, (status,))


def _further(place: InMemory | InVariable, offset: int) -> InMemory | InVariable:
    if isinstance(place, InVariable):
        return replace(place, offset=place.offset + offset)
    return replace(place, address=further(place.address, offset))


def _needs_entry(value: Value) -> bool:
    match value:
        case Access(is_result=is_result):
            return not is_result
        case LengthOf(access):
            return not access.is_result
        case Known(name):
            return name == "latency"
        case Fixed():
            return False


def _needs_return(value: Value) -> bool:
    match value:
        case Access(is_result=is_result):
            return is_result
        case LengthOf(access):
            return access.is_result
        case Known(name):
            return name == "latency"
        case Fixed():
            return False


def _too_large(capture: CaptureRequest) -> str:
    return (
        f"{expressions.render(capture.expression)} needs more than the {MAX_RECORD} bytes that a record may have: "
        f"capture a field of it, fewer items (x[:n]), or lower limits.maxDepth, maxItems or maxString"
    )
