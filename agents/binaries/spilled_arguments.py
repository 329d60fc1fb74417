"""Trace an unoptimised prologue: which bytes of the frame are copies of the registers that the caller passed.

Compilers without optimisation say that an argument lives in its stack slot during the whole function, which is not yet
true at its entry. In comes the function's code up to the end of the prologue, out comes for each slot the register
whose bytes are stored there. Only moves are followed; what is computed is forgotten. So an argument's place at the entry
follows from the code itself, for any language and calling convention.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from agents.absence import Absent, Reason
from agents.binaries.capstone_decoder import decode
from agents.binaries.instructions import Flow, Instruction, Memory
from agents.binaries.machine import X86_64, Machine
from agents.binaries.model import InMemory, InRegister, Location, Piece, Register

MAX_PROLOGUE: Final = 256  # instructions; Rust debug builds copy every argument once

_NOT_STORED: Final = Absent(
    Reason.NO_LOCATION,
    "the prologue does not store it from a general register: it came in a vector register, or is computed",
)

Slots = Mapping[int, tuple[Register, int]]  # offset from the CFA -> (register at entry, its byte number)


@dataclass
class _State:
    """Registers as they were at the entry, or forgotten; rsp and rbp as offsets from the CFA."""

    holds: dict[Register, tuple[Register, int]]  # register -> (register at entry, how many of its low bytes)
    frame: dict[Register, int]
    stack: Register
    slots: dict[int, tuple[Register, int]] = field(default_factory=dict)


def traced_slots(code: bytes, low: int, until: int, machine: Machine = X86_64) -> Slots:
    """The slots filled from entry registers before `until`; stops at the first jump or call."""
    held = {register: (register, 8) for register in machine.registers if register is not machine.stack}
    state = _State(held, {machine.stack: -machine.pushed}, machine.stack)
    for instruction in decode(code, low, MAX_PROLOGUE, machine):
        if instruction.address >= until or instruction.flow is not Flow.NEXT:
            break
        _follow(instruction, state)
    return state.slots


def at_entry(slots: Slots, offset: int, size: int, machine: Machine = X86_64) -> Location | Absent:
    """Where the value that DWARF places at CFA + offset is when the function starts."""
    if offset >= 0:
        return (Piece(0, size, InMemory(machine.stack, offset + machine.pushed)),)  # passed on the stack
    pieces: list[Piece] = []
    at = 0
    while at < size:
        source = slots.get(offset + at)
        length = 1
        while at + length < size and slots.get(offset + at + length) == _next(source, length):
            length += 1
        known = source is not None and source[1] == 0
        pieces.append(Piece(at, length, InRegister(source[0]) if known and source is not None else _NOT_STORED))
        at += length
    return tuple(pieces) if any(isinstance(piece.place, InRegister) for piece in pieces) else _NOT_STORED


def _next(source: tuple[Register, int] | None, length: int) -> tuple[Register, int] | None:
    return None if source is None else (source[0], source[1] + length)


def _follow(instruction: Instruction, state: _State) -> None:
    move = instruction.move
    if instruction.pushes is not None:
        offset = state.frame[state.stack] - 8
        state.frame[state.stack] = offset
        _store(state, offset, 8, instruction.pushes)
        return
    if instruction.stack_adjustment is not None and state.stack in state.frame:
        state.frame[state.stack] += instruction.stack_adjustment
        if instruction.store is not None:  # arm64's push of a pair
            where, size = instruction.store
            _store(state, state.frame[state.stack] + where.displacement, size, None)
        return
    if instruction.clips_bool:
        return
    if move is not None and isinstance(move.target, Memory):
        base = state.frame.get(move.target.base) if move.target.base is not None and move.target.plain else None
        if base is None:
            state.slots.clear()  # a store through an unknown pointer: it may have hit any slot
        else:
            _store(state, base + move.target.displacement, move.size, _as_register(move.source))
        return
    if move is not None and isinstance(move.target, Register):
        _load(move.target, move.source, move.size, state)
        return
    if instruction.store is not None:
        where, size = instruction.store
        base = state.frame.get(where.base) if where.base is not None and where.plain else None
        if base is None:
            state.slots.clear()
        else:
            _store(state, base + where.displacement, size, None)
    elif instruction.writes_memory:
        state.slots.clear()
    for register in instruction.writes:
        state.holds.pop(register, None)
        state.frame.pop(register, None)
    state.frame.setdefault(state.stack, 1 << 40)  # and, lea rsp: slots relative to it are unknown from here on


def _store(state: _State, offset: int, size: int, source: Register | None) -> None:
    held = state.holds.get(source) if source is not None else None
    for byte in range(size):
        state.slots.pop(offset + byte, None)
        if held is not None and byte < held[1]:
            state.slots[offset + byte] = (held[0], byte)


def _load(target: Register, source: Register | Memory | None, size: int, state: _State) -> None:
    if isinstance(source, Memory):
        held = _slot(source, size, state)
    else:
        held = state.holds.get(source) if source is not None else None
    framed = state.frame.get(source) if isinstance(source, Register) and size == 8 else None
    state.holds.pop(target, None)
    state.frame.pop(target, None)
    if framed is not None:
        state.frame[target] = framed
    elif held is not None:
        state.holds[target] = (held[0], min(held[1], size))


def _slot(source: Memory, size: int, state: _State) -> tuple[Register, int] | None:
    """The entry register whose low bytes a slot of the frame holds."""
    base = state.frame.get(source.base) if source.base is not None and source.plain else None
    first = None if base is None else state.slots.get(base + source.displacement)
    if base is None or first is None or first[1] != 0:
        return None
    known = 0
    while known < size and state.slots.get(base + source.displacement + known) == (first[0], known):
        known += 1
    return first[0], known


def _as_register(source: Register | Memory | None) -> Register | None:
    return source if isinstance(source, Register) else None
