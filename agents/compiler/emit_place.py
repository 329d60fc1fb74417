"""Load a value of the target onto the program's stack or into R0, for the predicate: nothing is reserved yet.

The same steps as `plan_places`, but each hop's word is used at once instead of kept. What cannot be read jumps to
`failed`. Loses R0 to R5 and the scratch space.
"""

from __future__ import annotations

from dataclasses import dataclass

from agents.absence import Absent
from agents.binaries import model as binary
from agents.binaries.model import PLAIN, Header, Location
from agents.compiler import frame
from agents.compiler.access import Access, Follow, Pick, Step, Within
from agents.compiler.asm import Label, Reg
from agents.compiler.emit_memory import Writer
from agents.compiler.frame import CONTEXT, PT_REGS
from agents.compiler.model import CannotCompile, Refusal

WORD = 8


@dataclass(frozen=True)
class _InVariable:
    location: Location
    offset: int


@dataclass(frozen=True)
class _BehindR0:
    """At R0 + offset; R0 is not nil."""

    offset: int


_Spot = _InVariable | _BehindR0


def load_header(w: Writer, access: Access, header: Header, slot: int, failed: Label) -> None:
    """A string's or list's pointer and then its length, to the stack at `slot`."""
    _header(w, _walk(w, access, failed), header, slot, failed)


def load_length(w: Writer, access: Access, header: Header, failed: Label) -> None:
    """R0 becomes the length of a string or list."""
    if not header.unit:
        load_number(w, access, header.length, WORD, failed, signed=True)
        return
    load_header(w, access, header, frame.SCRATCH, failed)
    w.asm.load(Reg.R0, Reg.R10, frame.SCRATCH + WORD)


def load_number(w: Writer, access: Access, extra: int, size: int, failed: Label, *, signed: bool) -> None:
    """R0 becomes the integer of `size` bytes (any up to 8), widened to 64 bits."""
    asm = w.asm
    spot = _walk(w, access, failed)
    if isinstance(spot, _InVariable) and (found := _register_of(spot, extra, size)) is not None:
        register, skip = found
        asm.load(Reg.R0, CONTEXT, PT_REGS[register])
        if skip:
            asm.alu(Reg.R0, ">>=", 8 * skip)
        widen(w, 8 * size, signed=signed)
        return
    if size not in {1, 2, 4, 8}:
        asm.store(Reg.R10, frame.SCRATCH, 0)
        _to_stack(w, spot, extra, size, frame.SCRATCH, failed)
        asm.load(Reg.R0, Reg.R10, frame.SCRATCH)
        return
    _to_stack(w, spot, extra, size, frame.SCRATCH, failed)
    asm.load(Reg.R0, Reg.R10, frame.SCRATCH, size)
    if signed:
        widen(w, 8 * size, signed=True)


def widen(w: Writer, bits: int, *, signed: bool) -> None:
    """R0's lowest `bits` bits as a 64-bit integer."""
    if bits < 64:
        w.asm.alu(Reg.R0, "<<=", 64 - bits)
        w.asm.alu(Reg.R0, "s>>=" if signed else ">>=", 64 - bits)


# --- steps -------------------------------------------------------------------------------------------------------


def _walk(w: Writer, access: Access, failed: Label) -> _Spot:
    location = access.variable.location
    if isinstance(location, Absent):
        raise _unreadable(access.variable.name, location)
    spot: _Spot = _InVariable(location, 0)
    for step in access.steps:
        spot = _step(w, spot, step, failed)
    return spot


def _step(w: Writer, spot: _Spot, step: Step, failed: Label) -> _Spot:
    asm = w.asm
    match step:
        case Within(offset):
            return _moved(spot, offset)
        case Follow(offset):
            _word(w, spot, failed)
            asm.jump_if(Reg.R0, "==", 0, failed)
            return _BehindR0(offset)
        case Pick(index, size, header):
            _header(w, spot, header, frame.SCRATCH, failed)
            asm.load(Reg.R1, Reg.R10, frame.SCRATCH + WORD)
            asm.jump_if(Reg.R1, "<=", index, failed)
            asm.load(Reg.R0, Reg.R10, frame.SCRATCH)
            return _BehindR0(index * size)


def _header(w: Writer, spot: _Spot, header: Header, slot: int, failed: Label) -> None:
    """Read as it lies, then brought into order: the pointer at `slot`, the length after it."""
    asm = w.asm
    if header == PLAIN:
        _to_stack(w, spot, 0, header.span, slot, failed)
        return
    _to_stack(w, spot, 0, header.span, frame.SCRATCH, failed)
    asm.load(Reg.R1, Reg.R10, frame.SCRATCH + header.pointer)
    asm.load(Reg.R2, Reg.R10, frame.SCRATCH + header.length)
    if header.unit:
        asm.jump_if(Reg.R2, "<", Reg.R1, failed)
        asm.alu(Reg.R2, "-=", Reg.R1)
        asm.alu(Reg.R2, "/=", header.unit)
    asm.store(Reg.R10, slot, Reg.R1)
    asm.store(Reg.R10, slot + WORD, Reg.R2)


def _moved(spot: _Spot, offset: int) -> _Spot:
    if isinstance(spot, _InVariable):
        return _InVariable(spot.location, spot.offset + offset)
    return _BehindR0(spot.offset + offset)


def _word(w: Writer, spot: _Spot, failed: Label) -> None:
    if isinstance(spot, _InVariable) and (found := _register_of(spot, 0, WORD)) is not None:
        w.asm.load(Reg.R0, CONTEXT, PT_REGS[found[0]])
        return
    _to_stack(w, spot, 0, WORD, frame.SCRATCH, failed)
    w.asm.load(Reg.R0, Reg.R10, frame.SCRATCH)


def _register_of(spot: _InVariable, extra: int, size: int) -> tuple[binary.Register, int] | None:
    """The register that holds all these bytes, and how many bytes of it come before them."""
    low = spot.offset + extra
    for piece in spot.location:
        inside = piece.offset <= low and low + size <= piece.offset + min(piece.size, WORD)
        if inside and isinstance(piece.place, binary.InRegister):
            return piece.place.register, low - piece.offset
    return None


def _to_stack(w: Writer, spot: _Spot, extra: int, size: int, slot: int, failed: Label) -> None:
    asm = w.asm
    if isinstance(spot, _BehindR0):
        asm.mov(Reg.R3, Reg.R0)
        w.add(Reg.R3, spot.offset + extra)
        w.read_to_stack(slot, size, failed)
        return
    low, end = spot.offset + extra, spot.offset + extra + size
    at = low
    for piece in spot.location:
        begin, stop = max(low, piece.offset), min(end, piece.offset + piece.size)
        if begin >= stop or begin != at:
            continue
        _piece(w, piece, begin, stop, slot + begin - low, failed)
        at = stop
    if at != end:
        raise CannotCompile(Refusal.UNREADABLE, "where needs a value that the debug information places only in part")


def _piece(w: Writer, piece: binary.Piece, begin: int, stop: int, slot: int, failed: Label) -> None:
    asm = w.asm
    skip, size = begin - piece.offset, stop - begin
    match piece.place:
        case Absent() as absent:
            raise _unreadable("a part of a value", absent)
        case binary.InRegister(register):
            asm.load(Reg.R1, CONTEXT, PT_REGS[register])
            _store_to_stack(w, skip, size, slot)
        case binary.Constant(value):
            asm.mov(Reg.R1, value)
            _store_to_stack(w, skip, size, slot)
        case binary.InMemory(register, displacement):
            asm.load(Reg.R3, CONTEXT, PT_REGS[register])
            w.add(Reg.R3, displacement + skip)
            w.read_to_stack(slot, size, failed)
        case binary.Static(address):
            asm.load(Reg.R3, Reg.R10, frame.BIAS)
            w.add(Reg.R3, address + skip)
            w.read_to_stack(slot, size, failed)


def _store_to_stack(w: Writer, skip: int, size: int, slot: int) -> None:
    if skip:
        w.asm.alu(Reg.R1, ">>=", 8 * skip)
    for width in (8, 4, 2, 1):
        if size >= width:
            w.asm.store(Reg.R10, slot, Reg.R1, width)
            size, slot = size - width, slot + width
            if size:
                w.asm.alu(Reg.R1, ">>=", 8 * width)


def _unreadable(name: str, absent: Absent) -> CannotCompile:
    why = f"{absent.reason.value} {absent.detail}".rstrip()
    return CannotCompile(Refusal.UNREADABLE, f"where needs {name or 'a result'}, which is absent here: {why}")
