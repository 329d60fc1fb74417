"""Reads -> instructions that fill the record at R7. Straight-line code; a status byte says how each copy went.

The status is written before the attempt as what a failure would be, so that success is one more store and no branch
meets again. Part of a program that `emit` writes; R8 and R9 are free here.
"""

from __future__ import annotations

from typing import Final

from agents.compiler import frame
from agents.compiler.asm import Helper, Label, Reg
from agents.compiler.emit_memory import Writer
from agents.compiler.frame import CONTEXT, PT_REGS, RECORD
from agents.compiler.layout import Status
from agents.compiler.plan import COMM_SIZE, TIME
from agents.compiler.reads import (
    Address,
    AtLoaded,
    AtRegister,
    AtStatic,
    Body,
    CheckIndex,
    Compute,
    Condition,
    Copy,
    CopyCounted,
    CopyText,
    Guarded,
    ItemThere,
    Read,
    StatusOk,
    StoreComm,
    StoreConstant,
    StoreLatency,
    StoreRegister,
    Switch,
    TagIn,
    Unrelocate,
    WalkStack,
    Zero,
)

BPF_F_USER_STACK: Final = 1 << 8
# How far the end of a C string is looked for, to say its true length: 64 pieces of 255 bytes. A loop that the verifier
# has to walk through once for every string of the plan.
TEXT_PIECE: Final = 255
TEXT_PIECES: Final = 64


def emit(writer: Writer, body: Body) -> None:
    for read in body:
        _emit(writer, read)


def _emit(w: Writer, read: Read) -> None:
    asm = w.asm
    match read:
        case Zero(offset):
            asm.store(RECORD, offset, 0)
        case StoreRegister(register, skip, size, offset):
            asm.load(Reg.R1, CONTEXT, PT_REGS[register])
            _store_bytes(w, skip, size, offset)
        case StoreConstant(value, size, offset):
            asm.mov(Reg.R1, value & ((1 << 64) - 1) if value >= 0 else value)
            _store_bytes(w, 0, size, offset)
        case Copy():
            _copy(w, read)
        case CopyCounted():
            _copy_counted(w, read)
        case CopyText():
            _copy_text(w, read)
        case CheckIndex(length_offset, index, status):
            done = asm.fresh("index")
            asm.store(RECORD, status, Status.OUT_OF_RANGE, 1)
            asm.load(Reg.R1, RECORD, length_offset)
            asm.jump_if(Reg.R1, "<=", index, done)
            asm.store(RECORD, status, Status.OK, 1)
            asm.mark(done)
        case Unrelocate(source, target):
            asm.load(Reg.R1, RECORD, source)
            asm.load(Reg.R2, Reg.R10, frame.BIAS)
            asm.alu(Reg.R1, "-=", Reg.R2)
            asm.store(RECORD, target, Reg.R1)
        case Compute():
            _compute(w, read)
        case Switch():
            _switch(w, read)
        case WalkStack():
            _walk_stack(w, read)
        case StoreLatency(offset):
            asm.load(Reg.R1, Reg.R10, frame.TIME_NOW)
            asm.load(Reg.R2, RECORD, TIME)
            asm.alu(Reg.R1, "-=", Reg.R2)
            asm.store(RECORD, offset, Reg.R1)
        case StoreComm(offset):
            _record_address(w, Reg.R1, offset)
            asm.mov(Reg.R2, COMM_SIZE)
            asm.call(Helper.GET_CURRENT_COMM)
        case Guarded(conditions, body):
            done = asm.fresh("skip")
            for condition in conditions:
                _unless(w, condition, done)
            emit(w, body)
            asm.mark(done)


def _compute(w: Writer, read: Compute) -> None:
    asm = w.asm
    done = asm.fresh("computed")
    asm.load(Reg.R1, RECORD, read.source)
    if read.status is not None:
        asm.store(RECORD, read.status, Status.FAULT, 1)
    if read.minus is not None:
        asm.load(Reg.R2, RECORD, read.minus)
        asm.jump_if(Reg.R1, "<", Reg.R2, done)
        asm.alu(Reg.R1, "-=", Reg.R2)
    if read.divisor != 1:
        asm.alu(Reg.R1, "/=", read.divisor)
    if read.plus:
        asm.alu(Reg.R1, "+=", read.plus)
    asm.store(RECORD, read.target, Reg.R1)
    if read.status is not None:
        asm.store(RECORD, read.status, Status.OK, 1)
    asm.mark(done)


# --- addresses and small stores ----------------------------------------------------------------------------------


def _record_address(w: Writer, register: Reg, offset: int) -> None:
    w.asm.mov(register, RECORD)
    if offset:
        w.asm.alu(register, "+=", offset)


def _base(w: Writer, address: Address) -> int:
    """R3 becomes the address without its displacement, which is returned."""
    match address:
        case AtRegister(register, displacement):
            w.asm.load(Reg.R3, CONTEXT, PT_REGS[register])
            return displacement
        case AtLoaded(offset, displacement):
            w.asm.load(Reg.R3, RECORD, offset)
            return displacement
        case AtStatic(static):
            w.asm.load(Reg.R3, Reg.R10, frame.BIAS)
            return static


def _displace(w: Writer, displacement: int) -> None:
    w.add(Reg.R3, displacement)


def _store_bytes(w: Writer, skip: int, size: int, offset: int) -> None:
    """`size` bytes of R1 after its lowest `skip`; sizes that no store has are put together."""
    if skip:
        w.asm.alu(Reg.R1, ">>=", 8 * skip)
    for width in (8, 4, 2, 1):
        if size >= width:
            w.asm.store(RECORD, offset, Reg.R1, width)
            size, offset = size - width, offset + width
            if size:
                w.asm.alu(Reg.R1, ">>=", 8 * width)


# --- copies ------------------------------------------------------------------------------------------------------


def _attempt(w: Writer, offset: int, status: int, done: Label) -> None:
    """Copy R2 bytes from R3 into the record."""
    _record_address(w, Reg.R1, offset)
    w.read_user()
    w.asm.jump_if(Reg.R0, "!=", 0, done)
    w.asm.store(RECORD, status, Status.OK, 1)


def _copy(w: Writer, read: Copy) -> None:
    asm = w.asm
    done = asm.fresh("copied")
    displacement = _base(w, read.address)
    if read.nil is not None:
        asm.store(RECORD, read.status, read.nil, 1)
        asm.jump_if(Reg.R3, "==", 0, done)
    asm.store(RECORD, read.status, Status.FAULT, 1)
    _displace(w, displacement)
    asm.mov(Reg.R2, read.size)
    _attempt(w, read.offset, read.status, done)
    asm.mark(done)


def _copy_counted(w: Writer, read: CopyCounted) -> None:
    asm = w.asm
    done, short = asm.fresh("counted"), asm.fresh("short")
    asm.store(RECORD, read.status, Status.OK, 1)
    if not read.capacity * read.unit:
        return
    asm.load(Reg.R2, RECORD, read.length_offset)
    asm.jump_if(Reg.R2, "==", 0, done)
    asm.jump_if(Reg.R2, "<=", read.capacity, short)
    asm.mov(Reg.R2, read.capacity)
    asm.mark(short)
    if read.unit != 1:
        asm.alu(Reg.R2, "*=", read.unit)
    asm.store(RECORD, read.status, Status.FAULT, 1)
    _displace(w, _base(w, read.address))
    _attempt(w, read.offset, read.status, done)
    asm.mark(done)


def _copy_text(w: Writer, read: CopyText) -> None:
    """R8: the string's address, R9: how many characters it has as far as is known.

    Two bytes more than are shown are read: the helper ends what it cuts with a NUL and gives the size it was given, so
    only a result below that is the true length. What is cut is then searched for its end.
    """
    asm = w.asm
    done, found, piece = asm.fresh("text"), asm.fresh("found"), asm.fresh("piece")
    displacement = _base(w, read.address)
    asm.store(RECORD, read.status, Status.NIL, 1)
    asm.jump_if(Reg.R3, "==", 0, done)
    asm.store(RECORD, read.status, Status.FAULT, 1)
    _displace(w, displacement)
    asm.mov(Reg.R8, Reg.R3)
    asm.store(Reg.R10, frame.TEXT_LEFT, Reg.R8)
    w.read_text(RECORD, read.offset, read.capacity + 2, done)
    asm.mov(Reg.R9, Reg.R0)
    asm.alu(Reg.R9, "-=", 1)
    asm.jump_if(Reg.R9, "s<=", read.capacity, found)
    asm.store(RECORD, read.status, Status.ENDLESS, 1)
    asm.store(Reg.R10, frame.COUNT, 0)
    asm.mark(piece)
    asm.mov(Reg.R3, Reg.R8)
    asm.alu(Reg.R3, "+=", Reg.R9)
    asm.store(Reg.R10, frame.TEXT_LEFT, Reg.R3)
    w.read_text(Reg.R10, frame.SCRATCH, TEXT_PIECE + 1, done)
    asm.alu(Reg.R9, "+=", Reg.R0)
    asm.alu(Reg.R9, "-=", 1)
    asm.jump_if(Reg.R0, "s<=", TEXT_PIECE, found)
    asm.load(Reg.R1, Reg.R10, frame.COUNT)
    asm.alu(Reg.R1, "+=", 1)
    asm.store(Reg.R10, frame.COUNT, Reg.R1)
    asm.jump_if(Reg.R1, "<", TEXT_PIECES, piece)
    asm.jump(done)
    asm.mark(found)
    asm.store(RECORD, read.length_offset, Reg.R9)
    asm.store(RECORD, read.status, Status.OK, 1)
    asm.mark(done)


def _walk_stack(w: Writer, read: WalkStack) -> None:
    asm = w.asm
    done = asm.fresh("walked")
    asm.store(RECORD, read.status, Status.FAULT, 1)
    asm.mov(Reg.R1, CONTEXT)
    _record_address(w, Reg.R2, read.offset)
    asm.mov(Reg.R3, read.capacity * 8)
    asm.mov(Reg.R4, BPF_F_USER_STACK)
    asm.call(Helper.GET_STACK)
    asm.jump_if(Reg.R0, "s<", 0, done)
    asm.store(RECORD, read.length_offset, Reg.R0)
    asm.store(RECORD, read.status, Status.OK, 1)
    asm.mark(done)


# --- choices -----------------------------------------------------------------------------------------------------


def _switch(w: Writer, read: Switch) -> None:
    asm = w.asm
    done = asm.fresh("switched")
    labels = [asm.fresh("case") for _ in read.cases]
    asm.load(Reg.R1, RECORD, read.offset)
    for (word, _), label in zip(read.cases, labels, strict=True):
        _jump_if_equal(w, Reg.R1, word, label)
    asm.jump(done)
    for (_, body), label in zip(read.cases, labels, strict=True):
        asm.mark(label)
        emit(w, body)
        asm.jump(done)
    asm.mark(done)


def _jump_if_equal(w: Writer, register: Reg, value: int, target: Label) -> None:
    if -(1 << 31) <= value < 1 << 31:
        w.asm.jump_if(register, "==", value, target)
    else:
        w.asm.mov(Reg.R2, value)
        w.asm.jump_if(register, "==", Reg.R2, target)


def _unless(w: Writer, condition: Condition, target: Label) -> None:
    """Jump when the condition does not hold."""
    asm = w.asm
    match condition:
        case StatusOk(offset):
            asm.load(Reg.R1, RECORD, offset, 1)
            asm.jump_if(Reg.R1, "!=", Status.OK, target)
        case ItemThere(length_offset, index):
            asm.load(Reg.R1, RECORD, length_offset)
            asm.jump_if(Reg.R1, "<=", index, target)
        case TagIn(offset, size, signed, ranges, outside):
            asm.load(Reg.R1, RECORD, offset, size)
            if signed and size < 8:
                asm.alu(Reg.R1, "<<=", 64 - 8 * size)
                asm.alu(Reg.R1, "s>>=", 64 - 8 * size)
            inside = asm.fresh("tag")
            for low, high in ranges:
                _jump_if_between(w, low, high, signed=signed, target=target if outside else inside)
            if not outside:
                asm.jump(target)
            asm.mark(inside)


def _jump_if_between(w: Writer, low: int, high: int, *, signed: bool, target: Label) -> None:
    """R1 against inclusive bounds."""
    if low == high:
        _jump_if_equal(w, Reg.R1, low, target)
        return
    asm = w.asm
    past = asm.fresh("past")
    asm.mov(Reg.R2, low)
    asm.jump_if(Reg.R1, "s<" if signed else "<", Reg.R2, past)
    asm.mov(Reg.R2, high)
    asm.jump_if(Reg.R1, "s<=" if signed else "<=", Reg.R2, target)
    asm.mark(past)
