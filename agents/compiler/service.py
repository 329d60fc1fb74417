"""A ResolvedProbe and captures -> a BpfProgram, pass by pass. Mints BpfProgram; the only way into the compiler.

    1. bind        expressions  -> values             or CannotCompile(unknown_name, unknown_field, wrong_type ...)
    2. predicate   where        -> typed test
    3. plan        values       -> reads and layout   or CannotCompile(too_large)
    4. sites       reads        -> entry              (1 to 3 again where it moves)
    5. emit        reads        -> instructions       or CannotCompile(too_large)

The program goes to `agents.runtime.service.arm`, its layout to `agents.decoding.service.decode`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from agents.absence import Reason
from agents.binaries.model import Map, ResolvedProbe
from agents.compiler import bind, emit, explain, predicate, sites
from agents.compiler.access import Value
from agents.compiler.explain import Explanation
from agents.compiler.model import (
    CONTROL_SIZE,
    BpfProgram,
    CannotCompile,
    CompileRequest,
    Counter,
    MapKind,
    MapName,
    MapSpec,
    Program,
    Refusal,
)
from agents.compiler.plan import Plan, plan

MAX_COLUMNS: Final = 64  # of one probe: more is a dump, not a question
MAX_STRING: Final = 4000  # bytes: a C string is made resident page by page, two pages at most
MAX_ITEMS: Final = 256  # items of a list stand unrolled in program and layout
MAX_DEPTH: Final = 16
MAX_PROCESSES: Final = 1024  # in one program; agents.processes allows 64 to a target
STASH_KEY: Final = 24
# Calls that may be under way at once (goroutines blocked inside the function). More are counted as lost. Preallocated:
# the stash of a small probe takes 2 MiB, and MAX_STASH bounds a large one.
STASH_ENTRIES: Final = 16_384
MIN_STASH_ENTRIES: Final = 256
MAX_STASH: Final = 16 << 20
# Room for this many records between two looks of the agent, within bounds that a host does not notice.
RING_RECORDS: Final = 32_768
MIN_RING: Final = 256 << 10
MAX_RING: Final = 8 << 20
RING_HEADER: Final = 8
UNREAD: Final = (
    "with its entries this probe would be too large; capture the map by itself, or lower maxItems or maxString"
)

T = TypeVar("T")


def compile_probe(resolved: ResolvedProbe, request: CompileRequest, *, sleepable: bool = True) -> BpfProgram:
    """Raises CannotCompile."""
    return _as_much_as_fits(resolved, request, lambda probe, asked: _compiled(probe, asked, sleepable=sleepable))


def _compiled(resolved: ResolvedProbe, request: CompileRequest, *, sleepable: bool) -> BpfProgram:
    resolved, planned = plan_probe(resolved, request)
    emitted = emit.emit(resolved, request, planned, sleepable=sleepable)
    programs = tuple(
        Program(each.role, each.text.instructions, each.text.maps, each.sites, each.on_return) for each in emitted
    )
    fault = Reason.BAD_ADDRESS if sleepable else Reason.NOT_RESIDENT
    return BpfProgram(programs, _maps(planned), replace(planned.layout, fault=fault), sleepable)


def explain_captures(resolved: ResolvedProbe, request: CompileRequest) -> tuple[Explanation, ...]:
    """One for each capture, in order. What cannot be bound says why in `refused`; what fits together, what is absent.

    Raises CannotCompile for what concerns no single capture: the predicate, the limits, the size of all together.
    """
    bound = explain.refusals(resolved, request)
    good = tuple(c for c, said in zip(request.captures, bound, strict=True) if said.refused is None)
    _, planned = _as_much_as_fits(resolved, replace(request, captures=good), plan_probe)
    readable = {each.column: each for each in explain.explanations(planned)}
    return tuple(readable.get(each.column, each) for each in bound)


def dump(resolved: ResolvedProbe, request: CompileRequest, *, sleepable: bool = True) -> Iterator[str]:
    """The plan after each pass as lines of text. Raises CannotCompile."""

    def dumped(probe: ResolvedProbe, asked: CompileRequest) -> list[str]:
        there, planned = plan_probe(probe, asked)
        return list(explain.dump(there, asked, planned, sleepable=sleepable))

    yield from _as_much_as_fits(resolved, request, dumped)


Make = Callable[[ResolvedProbe, CompileRequest], T]


def _as_much_as_fits(resolved: ResolvedProbe, request: CompileRequest, make: Make[T]) -> T:
    """With what masking sees beyond the limit of strings when record and program have room for it: it is the first to go."""
    try:
        return make(resolved, request)
    except CannotCompile as refused:
        if refused.reason is not Refusal.TOO_LARGE or not request.beyond:
            raise
    return _maps_if_they_fit(resolved, lambda probe: make(probe, replace(request, beyond=0)))


def _maps_if_they_fit(resolved: ResolvedProbe, make: Callable[[ResolvedProbe], T]) -> T:
    """With the entries of maps when there is room for them, else without: they are the next to go."""
    try:
        return make(resolved)
    except CannotCompile as refused:
        maps = {key: held for key, held in resolved.types.items() if isinstance(held, Map) and held.groups is not None}
        if refused.reason is not Refusal.TOO_LARGE or not maps:
            raise
        unread = {key: replace(held, groups=None, unread=UNREAD) for key, held in maps.items()}
        try:
            return make(replace(resolved, types={**resolved.types, **unread}))
        except CannotCompile:
            raise refused from None


def plan_probe(resolved: ResolvedProbe, request: CompileRequest) -> tuple[ResolvedProbe, Plan]:
    """Passes 1 to 4: the plan, and the probe at the entry that it is for. Raises CannotCompile."""
    _check_limits(request)
    planned = _planned(resolved, request)
    there = sites.choose(resolved, planned)
    return (there, planned) if there is resolved else (there, _planned(there, request))


def _planned(resolved: ResolvedProbe, request: CompileRequest) -> Plan:
    try:
        values = bind_captures(resolved, request)
        try:
            test = predicate.read(request.where, resolved, request.at)
            return plan(resolved, request, values, test)
        except CannotCompile as refused:
            raise refused if refused.column else CannotCompile(refused.reason, f"where: {refused.detail}") from refused
    except RecursionError as error:  # a binary may claim anything: a struct that holds itself by value, for one
        raise CannotCompile(Refusal.UNSUPPORTED, "the types of this function contain themselves without end") from error


def bind_captures(resolved: ResolvedProbe, request: CompileRequest) -> Sequence[Value]:
    values = []
    for capture in request.captures:
        try:
            values.append(bind.bind(capture.expression, resolved, request.at))
        except CannotCompile as refused:
            raise CannotCompile(refused.reason, refused.detail, capture.column) from refused
    return values


def _check_limits(request: CompileRequest) -> None:
    limits = request.limits
    bounds = (
        ("the number of columns", len(request.captures), MAX_COLUMNS),
        ("limits.maxString", limits.max_string, MAX_STRING),
        ("limits.maxItems", limits.max_items, MAX_ITEMS),
        ("limits.maxDepth", limits.max_depth, MAX_DEPTH),
    )
    for what, value, most in bounds:
        if not 0 <= value <= most:
            raise CannotCompile(Refusal.TOO_LARGE, f"{what} is {value}, expected 0 to {most}")
    names = [capture.column for capture in request.captures]
    if len(set(names)) != len(names):
        raise CannotCompile(Refusal.UNSUPPORTED, f"two columns have one name: {', '.join(names)}")
    if not 0 < limits.sample <= 1:
        raise CannotCompile(
            Refusal.UNSUPPORTED, f"limits.sample is {limits.sample}, expected more than 0 and at most 1"
        )


def _maps(planned: Plan) -> tuple[MapSpec, ...]:
    record, stash = planned.layout.record_size, planned.layout.stash_size
    ring = min(max(_power_of_two(RING_RECORDS * (record + RING_HEADER)), MIN_RING), MAX_RING)
    maps = [
        MapSpec(MapName.RING, MapKind.RINGBUF, 0, 0, ring),
        MapSpec(MapName.CONTROL, MapKind.ARRAY, 4, CONTROL_SIZE, 1),
        MapSpec(MapName.COUNTERS, MapKind.PERCPU_ARRAY, 4, 8, len(Counter)),
        MapSpec(MapName.PROCESSES, MapKind.HASH, 4, 8, MAX_PROCESSES),
    ]
    if stash:
        entries = min(STASH_ENTRIES, max(MIN_STASH_ENTRIES, MAX_STASH // stash))
        maps += [
            MapSpec(MapName.STASH, MapKind.HASH, STASH_KEY, stash, entries),
            MapSpec(MapName.TEMPLATE, MapKind.ARRAY, 4, stash, 1),
        ]
    return tuple(maps)


def _power_of_two(size: int) -> int:
    return 1 << (size - 1).bit_length()
