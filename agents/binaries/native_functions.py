"""A C, C++ or Rust function's arguments, results and sites.

In comes a ProbedFunction, out comes what the compiler needs. Where an argument is at the entry is told, in this order, by
its location list; by tracing what the prologue stores into its frame slot (a build without optimisation claims the slot
from the first instruction on); by the calling convention, for C and C++ functions whose signature the optimiser cannot
have changed. The convention also checks the first two: a contradiction makes the place unknown, never a guess.

How returns are seen is told by `native_returns`. Results are read at the return: by the psABI for C and C++; for Rust, whose convention is not specified, only what rustc
has always returned like a C scalar or a pair of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agents.absence import Absent, Reason
from agents.binaries import aapcs64, sysv_abi
from agents.binaries import dwarf_constants as dw
from agents.binaries.code_sites import entry_candidates
from agents.binaries.dwarf_entries import Entry
from agents.binaries.dwarf_expressions import OP_DEREF, PieceList, evaluate
from agents.binaries.function_entries import attribute, full_name, type_of
from agents.binaries.function_entry import entry_sites
from agents.binaries.machine import ARM64, STACK_POINTERS, Machine
from agents.binaries.model import (
    InMemory,
    InRegister,
    Language,
    Location,
    Piece,
    Pointer,
    Register,
    Slice,
    String,
    Struct,
    TypeId,
    Unresolved,
    UnresolvedReason,
    Variable,
    VariantPart,
)
from agents.binaries.native_returns import returns
from agents.binaries.native_types import STRUCTS, NativeTypes
from agents.binaries.probed_function import Described, ProbedFunction, located
from agents.binaries.spilled_arguments import Slots, at_entry, traced_slots
from agents.binaries.sysv_abi import Convention
from agents.binaries.type_closure import close

MAX_PARAMETERS: Final = 256
MAX_NEWTYPES: Final = 16  # structs of one field in each other
ARGUMENTS: Final = frozenset({*sysv_abi.INTEGER_ARGUMENTS, *aapcs64.INTEGER_ARGUMENTS})
DEREFERENCE: Final = bytes([OP_DEREF])
CLONES: Final = (".isra.", ".constprop.", ".part.", ".cold", ".lto_priv.")  # gcc's, with a signature of their own

_DISAGREE: Final = Absent(
    Reason.NO_LOCATION, "the debug information and the calling convention disagree about where it is"
)


@dataclass(frozen=True)
class Parameter:
    entry: Entry
    name: str
    type: TypeId
    size: int


def describe(function: ProbedFunction, language: Language) -> Described:
    types = NativeTypes(function.debug, rust=language is Language.RUST)
    given = parameters(function, types)
    result = type_of(function.debug, function.entry)
    convention = _convention(function, types, given, result, language)
    slots = _slots(function)
    arguments = tuple(
        Variable(p.name, p.type, _at_entry(function, p, convention.arguments[index], slots, language))
        for index, p in enumerate(given)
    )
    results = (
        ()
        if result is None
        else (Variable("", TypeId(result), _result(types, result, convention, language, function.machine)),)
    )
    if results and types.size(results[0].type) == 0 and language is Language.RUST:
        results = ()  # the unit type
    table = close([v.type for v in (*arguments, *results)], types.read)
    link = function.machine.link  # a uretprobe and stack() look for the return address there
    entry, entries = entry_sites(function, arguments, frozenset({link} if link is not None else ()))
    method, exits, notes = returns(function, language)
    return Described(arguments, results, entry, exits, method, table, (*_notes(function), *notes), entries=entries)


def parameters(function: ProbedFunction, types: NativeTypes) -> list[Parameter]:
    found: list[Parameter] = []
    for child in function.debug.children(function.entry):
        if child.tag != dw.TAG_FORMAL_PARAMETER:
            continue
        type_id = type_of(function.debug, child)
        if type_id is None or len(found) >= MAX_PARAMETERS:
            raise Unresolved(
                UnresolvedReason.DAMAGED, f"{function.name}: a parameter without a type, or more than {MAX_PARAMETERS}"
            )
        found.append(Parameter(child, full_name(function.debug, child), TypeId(type_id), types.size(type_id)))
    return found


def _convention(
    function: ProbedFunction, types: NativeTypes, given: Sequence[Parameter], result: int | None, language: Language
) -> Convention:
    symbol = function.symbols.get(function.low, function.name)
    unsure = Convention((None,) * len(given), None)
    if language is Language.RUST:
        return unsure
    try:
        assign = aapcs64.assign if function.machine is ARM64 else sysv_abi.assign
        computed = assign(types, [p.type for p in given], result)
    except ValueError:  # a type that contradicts itself only costs the check
        return unsure
    if any(clone in symbol for clone in CLONES):
        return Convention(unsure.arguments, computed.result)
    return computed


def _slots(function: ProbedFunction) -> Slots:
    return traced_slots(function.body.code, function.low, _prologue_end(function), function.machine)


def _prologue_end(function: ProbedFunction) -> int:
    """Where the line table says that the prologue is over; the address of its second line otherwise."""
    marked = [row.address for row in function.rows if row.prologue_end and row.address > function.low]
    later = [row.address for row in function.rows if row.address > function.low]
    return min(marked or later or [function.high])


def _at_entry(
    function: ProbedFunction, parameter: Parameter, computed: Location | Absent | None, slots: Slots, language: Language
) -> Location | Absent:
    if parameter.size == 0:
        return () if language is Language.RUST else Absent(Reason.UNSUPPORTED_TYPE, "its type has no known size")
    stated = _stated_at_entry(function, parameter, slots)
    if language is not Language.RUST and computed is not None:
        return _reconciled(stated, computed, external=_is_external(function))
    return stated


def _stated_at_entry(function: ProbedFunction, parameter: Parameter, slots: Slots) -> Location | Absent:
    """By a location list that covers the first instruction, or by the slot that the prologue fills."""
    location = parameter.entry.attributes.get(dw.AT_LOCATION)
    if not isinstance(location, bytes):
        stated = function.stated(parameter.entry, function.low)
        return located(stated if stated is not None else _soon_after(function, parameter), parameter.size)
    after = _prologue_end(function)
    if location.endswith(DEREFERENCE) and after < function.high:
        return _behind_slot(function, location.removesuffix(DEREFERENCE), after, parameter.size, slots)
    pieces = function.stated(parameter.entry, after) if after < function.high else None
    place = pieces[0][1] if pieces and len(pieces) == 1 else None
    cfa = function.cfa(after) if after < function.high else None
    if isinstance(place, InMemory) and cfa is not None and place.register is cfa.register:
        return at_entry(slots, place.displacement - cfa.displacement, parameter.size, function.machine)
    if isinstance(place, InRegister) and place.register in ARGUMENTS:
        return (Piece(0, parameter.size, place),)
    return (
        located(function.stated(parameter.entry, function.low), parameter.size) if pieces is None else _unknown(place)
    )


def _soon_after(function: ProbedFunction, parameter: Parameter) -> PieceList | None:
    """Where a list that begins within the prologue puts it, when all that this place depends on is as it was at the start."""
    for candidate in sorted(entry_candidates(function.body, function.symbols.get), key=lambda c: c.instruction.address):
        pieces = function.stated(parameter.entry, candidate.instruction.address)
        if pieces:
            places = [place for _, place in pieces]
            registers = {place.register for place in places if isinstance(place, InRegister | InMemory)}
            same = not registers & (candidate.written | STACK_POINTERS) and not candidate.memory_written
            return pieces if same else None
    return None


def _behind_slot(function: ProbedFunction, expression: bytes, after: int, size: int, slots: Slots) -> Location | Absent:
    """Passed by reference: the slot holds its address, and so does a register at the entry."""
    pieces, cfa = evaluate(expression, function.frame(after)), function.cfa(after)
    place = pieces[0][1] if len(pieces) == 1 else None
    if isinstance(place, InMemory) and cfa is not None and place.register is cfa.register:
        match at_entry(slots, place.displacement - cfa.displacement, sysv_abi.WORD, function.machine):
            case (Piece(place=InRegister(register)),):
                return (Piece(0, size, InMemory(register, 0)),)
    return Absent(Reason.UNSUPPORTED_LOCATION, "behind a pointer that is not in a register where the function starts")


def _unknown(place: object) -> Absent:
    return place if isinstance(place, Absent) else Absent(Reason.NO_LOCATION, "not where the function starts")


def _reconciled(stated: Location | Absent, computed: Location | Absent, *, external: bool) -> Location | Absent:
    if isinstance(stated, Absent):
        # A function that others may call keeps the convention, used or not.
        return computed if external else stated
    if isinstance(computed, Absent):
        return computed
    if any(isinstance(piece.place, Absent) for piece in stated) and external:
        return computed if _agree(stated, computed) else _DISAGREE
    return stated if _agree(stated, computed) else _DISAGREE


def _agree(stated: Location, computed: Location) -> bool:
    """Byte by byte, where both name a register or memory."""
    wanted = {piece.offset + byte: _byte(piece, byte) for piece in computed for byte in range(piece.size)}
    for piece in stated:
        for byte in range(piece.size):
            here = _byte(piece, byte)
            there = wanted.get(piece.offset + byte)
            if here is not None and there is not None and here != there:
                return False
    return True


def _byte(piece: Piece, byte: int) -> tuple[Register, int, bool] | None:
    if isinstance(piece.place, InRegister):
        return piece.place.register, byte, False
    if isinstance(piece.place, InMemory):
        return piece.place.register, piece.place.displacement + byte, True
    return None


def _is_external(function: ProbedFunction) -> bool:
    stated = attribute(function.debug, function.entry, dw.AT_EXTERNAL)
    symbol = function.symbols.get(function.low, "")
    return stated is not None and not any(clone in symbol for clone in CLONES)


def _result(
    types: NativeTypes, result: int, convention: Convention, language: Language, machine: Machine
) -> Location | Absent:
    if language is Language.RUST:
        return _rust_result(types, result, machine)
    if convention.result is None:
        return Absent(Reason.NO_LOCATION, "how a class like this is returned depends on how it is copied")
    return convention.result


def _rust_result(types: NativeTypes, result: int, machine: Machine) -> Location | Absent:
    """A scalar is returned in rax, a fat pointer (&str, &[T]) in rax and rdx; in x0 and x1 on arm64."""
    first, second = aapcs64.INTEGER_ARGUMENTS[:2] if machine is ARM64 else sysv_abi.INTEGER_RESULTS
    unspecified = Absent(Reason.NO_LOCATION, "Rust does not specify how a value like this is returned")
    type_id = TypeId(result)
    for _ in range(MAX_NEWTYPES):
        read = types.read(type_id, 0).type
        size = types.size(type_id)
        if isinstance(read, String | Slice):
            return (Piece(0, 8, InRegister(first)), Piece(8, 8, InRegister(second)))
        if isinstance(read, Struct) and len(read.members) == 1 and types.size(read.members[0].type) == size:
            type_id = read.members[0].type
            continue
        entry, _ = types.named(type_id)
        if (
            isinstance(read, VariantPart) and read.tag_offset == 0 and read.tag_size == size
        ):  # Option<&T>: nil is the tag
            return (Piece(0, size, InRegister(first)),)
        if isinstance(read, Pointer) or (entry.tag == dw.TAG_ENUMERATION_TYPE and 0 < size <= 8):
            return (Piece(0, size or 8, InRegister(first)),)
        if entry.tag == dw.TAG_BASE_TYPE and 0 < size <= 8:
            if entry.number(dw.AT_ENCODING) == dw.ATE_FLOAT:
                return Absent(Reason.IN_VECTOR_REGISTER, f"in {machine.vector}0, which a uprobe cannot read")
            return (Piece(0, size, InRegister(first)),)
        if entry.tag in STRUCTS and size == 0:
            return ()
        return unspecified
    return unspecified


def _notes(function: ProbedFunction) -> tuple[str, ...]:
    symbol = function.symbols.get(function.low, "")
    if any(clone in symbol for clone in CLONES):
        return (f"the compiler made {symbol} from it, with another signature: arguments it removed are absent",)
    return ()
