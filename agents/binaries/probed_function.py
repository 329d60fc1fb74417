"""One function of one open binary: its entry, its code, and what an expression means at one of its addresses.

`service` opens it, `go_functions`, `native_functions` and `line_sites` read it. It turns locations as DWARF states them
into model locations; what they mean for a language's calling convention is decided there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from agents.absence import Absent, Reason
from agents.binaries import dwarf_constants as dw
from agents.binaries.call_frames import frame_address
from agents.binaries.capstone_decoder import sweep
from agents.binaries.code_sites import MAX_FUNCTION, Body, body, instruction_at
from agents.binaries.dwarf_entries import DebugInformation, Entry, Unit
from agents.binaries.dwarf_expressions import FrameContext, PieceList, evaluate
from agents.binaries.dwarf_lines import LineTable, Row, line_table
from agents.binaries.dwarf_lists import location_list, ranges
from agents.binaries.elf_image import ElfImage
from agents.binaries.function_entries import attribute, inlined_copies
from agents.binaries.instructions import Branch, Flow
from agents.binaries.jump_tables import table_targets
from agents.binaries.machine import Machine
from agents.binaries.model import (
    EntryChoice,
    GoRuntime,
    InMemory,
    InRegister,
    Location,
    Piece,
    ReturnMethod,
    Site,
    TypeTable,
    Unresolved,
    UnresolvedReason,
    Variable,
)

MAX_COPY_SITES = 256  # inlined copies that are listed one by one; their number is always said


@dataclass(frozen=True)
class Described:
    """What a language's reader found: the part of a ResolvedProbe that is not about the file."""

    arguments: tuple[Variable, ...]
    results: tuple[Variable, ...]
    entry: Site
    returns: tuple[Site, ...]
    return_method: ReturnMethod
    types: TypeTable
    notes: tuple[str, ...] = ()
    go: GoRuntime | None = None
    entries: tuple[EntryChoice, ...] = ()


@dataclass
class ProbedFunction:
    image: ElfImage
    debug: DebugInformation
    unit: Unit
    entry: Entry
    name: str
    symbols: Mapping[int, str] = field(repr=False)  # address -> name, of every function

    @property
    def machine(self) -> Machine:
        return self.image.machine

    @cached_property
    def low(self) -> int:
        return self._range[0]

    @cached_property
    def high(self) -> int:
        return self._range[1]

    @cached_property
    def _range(self) -> tuple[int, int]:
        covered = ranges(self.debug, self.entry)
        if not covered:
            raise Unresolved(UnresolvedReason.INLINED_AWAY, f"{self.name} has no code of its own")
        return covered[0]

    @cached_property
    def body(self) -> Body:
        size = self.high - self.low
        if size > MAX_FUNCTION:
            raise Unresolved(
                UnresolvedReason.TOO_LARGE, f"{self.name} has {size} bytes of code, at most {MAX_FUNCTION} are read"
            )
        code = self._code(self.low, size)
        whole = body(code, self.low, self.high, self.machine)
        tables = table_targets(code, self.low, (*whole.branches, *self.elsewhere), self.image)
        jumped_to = {b.target for b in self.elsewhere if b.flow is not Flow.CALL and b.target is not None}
        return replace(whole, jumped_to=frozenset(jumped_to | (tables or set())), tables_known=tables is not None)

    @cached_property
    def elsewhere(self) -> tuple[Branch, ...]:
        """Control transfers in the function's other parts, which compilers put aside because they rarely run."""
        parts = [(low, high) for low, high in ranges(self.debug, self.entry)[1:] if high - low <= MAX_FUNCTION]
        return tuple(each for low, high in parts for each in sweep(self._code(low, high - low), low, self.machine)[0])

    def _code(self, address: int, size: int) -> bytes:
        code = self.image.read(address, size)
        if len(code) != size:
            raise Unresolved(UnresolvedReason.DAMAGED, f"{self.name}: its code is not in {self.image.path}")
        return code

    @cached_property
    def lines(self) -> LineTable | None:
        return line_table(self.debug, self.unit)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        return self.lines.function_rows(self.low, self.high) if self.lines is not None else ()

    @cached_property
    def file(self) -> str | None:
        stated = attribute(self.debug, self.entry, dw.AT_DECL_FILE)
        if stated is None:  # Go leaves it out of what it also inlines
            return self.lines.file_name(self.rows[0].file) if self.lines is not None and self.rows else None
        lines = self.lines if stated.unit is self.unit else line_table(self.debug, stated.unit)
        return lines.file_name(stated.number(dw.AT_DECL_FILE)) if lines is not None else None

    @cached_property
    def line(self) -> int | None:
        stated = attribute(self.debug, self.entry, dw.AT_DECL_LINE)
        return stated.number(dw.AT_DECL_LINE) if stated is not None else None

    def line_of(self, address: int) -> int | None:
        found = None
        for row in self.rows:
            if row.address > address:
                break
            found = row.line
        return found or None

    def site(self, address: int, *, inlined: bool = False) -> Site:
        """The site at an address, its CFA as the call frame information says. Raises Unresolved where it says none."""
        instruction = instruction_at(self.image.read(address, self.machine.max_instruction), address, self.machine)
        offset = self.image.offset_of(address)
        if instruction is None or offset is None:
            raise Unresolved(UnresolvedReason.NO_SITE, f"{self.name}: no instruction can be read at {address:#x}")
        cfa = self.cfa(address) if not inlined else None
        if cfa is None:
            cfa = InMemory(self.machine.stack, self.machine.pushed)
            if not inlined and address != self.low:
                raise Unresolved(
                    UnresolvedReason.NO_SITE,
                    f"{self.name}: no call frame information covers {address:#x}, so calls could not be told apart there",
                )
        line = self.line_of(address) if not inlined else None
        return Site(
            address, offset, instruction.trap_class, instruction.text, cfa.register, cfa.displacement, inlined, line
        )

    def cfa(self, address: int) -> InMemory | None:
        eh_address = self.image.section_address(".eh_frame")
        return frame_address(self.debug.sections, eh_address, self.low, address, self.machine)

    def frame(self, address: int) -> FrameContext:
        """What DW_OP_fbreg and DW_OP_call_frame_cfa mean at an address."""
        start = InMemory(self.machine.stack, self.machine.pushed)
        cfa = start if address == self.low else self.cfa(address)
        stated = self.entry.attributes.get(dw.AT_FRAME_BASE)
        base: InMemory | None = None
        if isinstance(stated, bytes):
            pieces = evaluate(stated, FrameContext(cfa, None, self.machine))
            place = pieces[0][1] if len(pieces) == 1 else None
            base = (
                InMemory(place.register, 0)
                if isinstance(place, InRegister)
                else place
                if isinstance(place, InMemory)
                else None
            )
        return FrameContext(cfa, base, self.machine)

    def stated(self, variable: Entry, address: int) -> PieceList | None:
        """The pieces that a variable's location has at an address; None when its list does not cover the address."""
        expression = self.expression(variable, address)
        return None if expression is None else evaluate(expression, self.frame(address))

    def expression(self, variable: Entry, address: int) -> bytes | None:
        location = variable.attributes.get(dw.AT_LOCATION)
        if isinstance(location, bytes):
            return location
        if isinstance(location, int):
            for each in location_list(self.debug, variable.unit, location):
                if each.low <= address < each.high:
                    return each.expression
        return None

    def inlined_sites(self) -> tuple[tuple[Site, ...], tuple[str, ...]]:
        """Where callers inlined the function, and the note that says so."""
        addresses = inlined_copies(self.debug, self.entry)
        if not addresses:
            return (), ()
        number = len(addresses)
        note = f"{number} inlined {'copies are' if number > 1 else 'copy is'} not probed: those calls have no event"
        sites = tuple(self.site(address, inlined=True) for address in addresses[:MAX_COPY_SITES])
        return sites, (note,)


def located(pieces: PieceList | None, size: int) -> Location | Absent:
    """Pieces one after the other, as DWARF 5, 2.6.1.2 has it."""
    if pieces is None:
        return Absent(Reason.OPTIMISED_OUT, "the compiler kept no copy at this address")
    if not pieces:
        return () if size == 0 else Absent(Reason.OPTIMISED_OUT, "the compiler kept no copy of it")
    found: list[Piece] = []
    offset = 0
    for length, place in pieces:
        if length is None:
            if isinstance(place, Absent):
                return place
            return (Piece(0, size, place),)
        found.append(Piece(offset, length, place))
        offset += length
    if all(isinstance(piece.place, Absent) for piece in found):
        return found[0].place if isinstance(found[0].place, Absent) else Absent(Reason.OPTIMISED_OUT)
    return tuple(found)
