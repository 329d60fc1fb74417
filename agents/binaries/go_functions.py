"""A Go function's arguments, results and sites: DWARF's locations checked against the calling convention.

In comes a ProbedFunction, out comes what the compiler needs. Three facts shape it (seen with Go 1.21 to 1.27):

- An argument's location list holds registers at the function's first instruction. Pieces of a struct follow each other
  without the struct's padding, so they are matched with its register-sized leaves, not with their summed sizes.
- A blank parameter, a generic function's `.dict`, and every argument of a build without optimisation are said to live in
  their spill slot all the time. At entry the slot holds nothing yet: the calling convention tells the register.
- Results have an empty location, or a local one, unless they are returned on the stack.

The convention is computed from the parameters that DWARF lists. Where a located one contradicts it, a parameter is not
listed, and nothing is taken from the computation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agents.absence import Absent, Reason
from agents.binaries import dwarf_constants as dw
from agents.binaries.code_sites import return_sites
from agents.binaries.dwarf_entries import Entry
from agents.binaries.dwarf_expressions import PieceList
from agents.binaries.elf_image import go_buildinfo
from agents.binaries.function_entries import attribute, full_name, type_of
from agents.binaries.function_entry import entry_sites
from agents.binaries.go_abi import Assigned, assign
from agents.binaries.go_interfaces import GoInterfaces
from agents.binaries.go_types import GoTypes, Shape
from agents.binaries.machine import GO_ARGUMENTS, Machine
from agents.binaries.model import (
    GoRuntime,
    InMemory,
    InRegister,
    Location,
    Piece,
    ReturnMethod,
    Site,
    TrapClass,
    TypeId,
    Unresolved,
    UnresolvedReason,
    Variable,
)
from agents.binaries.probed_function import Described, ProbedFunction
from agents.binaries.type_closure import close

MAX_PARAMETERS: Final = 256  # arguments and results of one function
DICTIONARY: Final = ".dict"  # the first argument of a generic shape function, after the receiver

_NOT_AT_ENTRY: Final = Absent(
    Reason.NO_LOCATION, "the debug information does not say where it is when the function starts"
)


@dataclass(frozen=True)
class Parameter:
    entry: Entry
    name: str  # as DWARF has it
    type: TypeId
    shape: Shape


def describe(function: ProbedFunction, *, returns: bool) -> Described:
    """Everything that holds at the entry and at each RET. `returns`: a function whose RETs cannot be found is refused."""
    if function.name.endswith(".abi0") or (function.file or "").endswith(".s"):
        raise Unresolved(
            UnresolvedReason.UNSUPPORTED_LANGUAGE,
            f"{function.name} is written in assembly: it does not keep the goroutine in a register; probe its caller",
        )
    interfaces = GoInterfaces(function.image, function.debug, package_of(function.name))
    types = GoTypes(function.debug, interfaces.implementations)
    given, taken = parameters(function, types)
    registers = _passes_in_registers(function)
    assignment = assign(
        [p.shape for p in given], [p.shape for p in taken], registers=registers, machine=function.machine
    )
    evidence = [_evidence(function, p, a) for p, a in zip(given, assignment.arguments, strict=True)]
    consistent = all(e.agrees is not False for e in evidence)
    notes = [] if consistent else ["the parameters in the debug information do not add up to the calling convention"]
    arguments = tuple(
        Variable(_shown(p.name), p.type, _at_entry(index, given, assignment.arguments, evidence))
        for index, p in enumerate(given)
        if p.name != DICTIONARY
    )
    results = tuple(
        Variable(_shown(p.name), p.type, _at_return(function, p, a))
        for p, a in zip(taken, assignment.results, strict=True)
    )
    exits: tuple[Site, ...] = ()
    if returns or function.body.complete:
        exits = return_sites(function.body, lambda address, trap, text: _exit_site(function, address, trap, text))
    if tails := function.body.tail_calls():
        notes.append(
            f"{tails} tail call{'s' * (tails > 1)} leave without a return of their own: those calls have no return event"
        )
    if returns and not exits:
        raise Unresolved(
            UnresolvedReason.NO_SITE,
            f"{function.name} has no RET: it never returns, or leaves by a tail call; probe its entry only",
        )
    table = close([v.type for v in (*arguments, *results)], types.read)
    entry, entries = entry_sites(function, arguments, frozenset({function.machine.goroutine}))
    go = runtime(function, interfaces)
    return Described(arguments, results, entry, exits, ReturnMethod.RET_SITES, table, tuple(notes), go, entries)


def parameters(function: ProbedFunction, types: GoTypes) -> tuple[list[Parameter], list[Parameter]]:
    """Arguments (receiver first, blank ones and the dictionary included) and results."""
    given: list[Parameter] = []
    taken: list[Parameter] = []
    seen: set[str] = set()
    for child in function.debug.children(function.entry):
        name = full_name(function.debug, child)
        if (
            child.tag != dw.TAG_FORMAL_PARAMETER or name in seen
        ):  # Go before 1.25 lists a result twice that lives in the frame
            continue
        seen |= {name} - {"_", ""}
        stated = attribute(function.debug, child, dw.AT_VARIABLE_PARAMETER)
        type_id = type_of(function.debug, child)
        if type_id is None or len(given) + len(taken) >= MAX_PARAMETERS:
            raise Unresolved(
                UnresolvedReason.DAMAGED, f"{function.name}: a parameter without a type, or more than {MAX_PARAMETERS}"
            )
        parameter = Parameter(child, name, TypeId(type_id), types.shape(type_id))
        (taken if stated is not None and stated.flag(dw.AT_VARIABLE_PARAMETER) else given).append(parameter)
    return given, taken


def runtime(function: ProbedFunction, interfaces: GoInterfaces) -> GoRuntime | None:
    """Where this build keeps a goroutine's id and the top of its stack in runtime.g; None: it cannot be told apart."""
    version = go_buildinfo(function.image)
    goid = interfaces.member_offset("runtime.g", "goid")
    stack_hi = interfaces.member_offset("runtime.g", "stack", "hi")
    if goid is None or stack_hi is None:
        return None
    return GoRuntime(version or "go", goid, stack_hi, function.machine.goroutine)


@dataclass(frozen=True)
class _Evidence:
    """What DWARF says of an argument at the function's first instruction.

    `agrees` True: it is where the convention puts it, or spills it; False: it is not; None: nothing is said.
    """

    location: Location | None
    agrees: bool | None


def _evidence(function: ProbedFunction, parameter: Parameter, assigned: Assigned) -> _Evidence:
    pieces = function.stated(parameter.entry, function.low)
    if not pieces or parameter.shape.size == 0:
        return _Evidence(None, None)
    constant = isinstance(parameter.entry.attributes.get(dw.AT_LOCATION), bytes)
    first = pieces[0][1]
    if (
        len(pieces) == 1
        and isinstance(first, InMemory)
        and first.register is function.machine.stack
        and (constant or assigned.pieces is None)
    ):
        offset = first.displacement - GO_ARGUMENTS
        if assigned.pieces is None:
            agrees = offset == assigned.stack
            return _Evidence((Piece(0, parameter.shape.size, first),) if agrees else None, agrees)
        return _Evidence(None, None if offset < 0 else offset == assigned.spill)
    matched = matched_with_leaves(pieces, parameter.shape)
    if matched is None:
        return _Evidence(None, None)
    return _Evidence(matched, _agrees(matched, assigned, function.machine))


def matched_with_leaves(pieces: PieceList, shape: Shape) -> Location | None:
    """Offsets for Go's pieces, which leave padding out; None when they are not the leaves of the type."""
    leaves = shape.leaves or ()
    sizes = [size for size, _ in pieces]
    if sizes == [None] and len(leaves) == 1:
        return (Piece(leaves[0].offset, leaves[0].size, pieces[0][1]),)
    if sizes == [leaf.size for leaf in leaves]:
        return tuple(Piece(leaf.offset, leaf.size, place) for leaf, (_, place) in zip(leaves, pieces, strict=True))
    if sizes == [None] and isinstance(pieces[0][1], InMemory):
        return (Piece(0, shape.size, pieces[0][1]),)
    return None


def _agrees(matched: Location, assigned: Assigned, machine: Machine) -> bool | None:
    if assigned.pieces is None:
        base = GO_ARGUMENTS + (assigned.stack or 0)
        expected = {p.offset: InMemory(machine.stack, base + p.offset) for p in matched}
        said = [p.place == expected[p.offset] for p in matched if not isinstance(p.place, Absent)]
    else:
        computed = {p.offset: p.place for p in assigned.pieces}
        said = [p.place == computed.get(p.offset) for p in matched if isinstance(p.place, InRegister | InMemory)]
    return all(said) if said else None


def _at_entry(
    index: int, given: Sequence[Parameter], assigned: Sequence[Assigned], evidence: Sequence[_Evidence]
) -> Location | Absent:
    shape, place, said = given[index].shape, assigned[index], evidence[index]
    if shape.size == 0:
        return ()
    trusted = all(e.agrees is not False for e in evidence) and _confirmed(index, assigned, evidence)
    computed = {p.offset: p for p in place.pieces or ()} if trusted else {}
    if said.location is not None:
        filled = (computed.get(p.offset, p) if isinstance(p.place, Absent) else p for p in said.location)
        return _one_reason(tuple(filled))
    if computed:
        return _one_reason(tuple(computed.values()))
    return _NOT_AT_ENTRY


def _confirmed(index: int, assigned: Sequence[Assigned], evidence: Sequence[_Evidence]) -> bool:
    """A parameter that DWARF leaves out would shift the ones behind it: one that is where it should be proves all before it."""
    return any(e.agrees and _takes_integers(a) for e, a in zip(evidence[index:], assigned[index:], strict=True))


def _takes_integers(assigned: Assigned) -> bool:
    return any(isinstance(piece.place, InRegister) for piece in assigned.pieces or ())


def _one_reason(location: Location) -> Location | Absent:
    absent = [piece.place for piece in location if isinstance(piece.place, Absent)]
    return absent[0] if absent and len(absent) == len(location) else location


def _at_return(function: ProbedFunction, parameter: Parameter, assigned: Assigned) -> Location | Absent:
    """At a RET the stack pointer is at the return address, just below the CFA."""
    if parameter.shape.size == 0:
        return ()
    if assigned.pieces is not None:
        return _one_reason(assigned.pieces)
    stated = function.stated(parameter.entry, function.low)
    expected = InMemory(function.machine.stack, GO_ARGUMENTS + (assigned.stack or 0))
    if stated is None or len(stated) != 1 or stated[0][1] != expected:
        return Absent(
            Reason.NO_LOCATION, "it is returned on the stack, and the debug information does not confirm where"
        )
    return (Piece(0, parameter.shape.size, expected),)


def _exit_site(function: ProbedFunction, address: int, trap: TrapClass, text: str) -> Site:
    offset = function.image.offset_of(address)
    if offset is None:
        raise Unresolved(UnresolvedReason.DAMAGED, f"{function.name}: {address:#x} is in no segment of the file")
    return Site(
        address, offset, trap, text, function.machine.stack, function.machine.pushed, line=function.line_of(address)
    )


def _passes_in_registers(function: ProbedFunction) -> bool:
    """Since Go 1.17 on amd64; the compiler says so in each unit's producer."""
    producer = function.debug.top(function.unit).text(dw.AT_PRODUCER) or ""
    return "regabi" in producer


def _shown(name: str) -> str:
    """~r0 and ~p1 are names that the compiler gives to what has none."""
    return "" if name.startswith("~") or name == "_" else name


def package_of(name: str) -> str:
    """example.com/shop/money.(*T).Sum -> example.com/shop/money"""
    slash = name.rfind("/") + 1
    return name[: name.index(".", slash)] if "." in name[slash:] else name
