"""Read a DWARF location expression into pieces at places: register, memory, constant, or absent with its reason.

In comes the expression that holds at one address, with what the frame base and the canonical frame address (CFA) are
there; out comes a list of (size, place). Only the operations that compilers use for variables are understood (DWARF 5,
2.5 and 2.6); any other one makes the piece absent, never guessed. Offsets of pieces are the caller's business: Go
leaves padding out between them (`go_arguments`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agents.absence import Absent, Reason
from agents.binaries.dwarf_forms import sleb, uleb
from agents.binaries.machine import X86_64, Machine
from agents.binaries.model import Constant, InMemory, InRegister, Place, Static

MAX_OPERATIONS: Final = 64  # of one expression; compilers need fewer than ten

OP_ADDR, OP_DEREF, OP_CONST1U, OP_CONSTS, OP_PLUS_UCONST = 0x03, 0x06, 0x08, 0x11, 0x23
OP_PLUS, OP_MINUS = 0x22, 0x1C
OP_LIT0, OP_REG0, OP_BREG0, OP_REGX, OP_FBREG, OP_BREGX, OP_PIECE = 0x30, 0x50, 0x70, 0x90, 0x91, 0x92, 0x93
OP_CALL_FRAME_CFA, OP_IMPLICIT_VALUE, OP_STACK_VALUE, OP_ENTRY_VALUE, OP_GNU_ENTRY_VALUE = 0x9C, 0x9E, 0x9F, 0xA3, 0xF3


@dataclass(frozen=True)
class FrameContext:
    """What an expression may refer to at its address. `frame_base` is the function's DW_AT_frame_base, evaluated."""

    cfa: InMemory | None
    frame_base: InMemory | None
    machine: Machine = X86_64


PieceList = tuple[tuple[int | None, Place], ...]  # (size, place); size None: the whole value


def evaluate(expression: bytes, frame: FrameContext) -> PieceList:
    """The pieces of a variable; empty when the expression is (the variable is optimised out everywhere)."""
    pieces: list[tuple[int | None, Place]] = []
    current: Place | None = None
    at = operations = 0
    while at < len(expression):
        operations += 1
        if operations > MAX_OPERATIONS:
            return ((None, _unsupported(f"more than {MAX_OPERATIONS} operations")),)
        if expression[at] == OP_PIECE:
            size, at = uleb(expression, at + 1)
            pieces.append((size, Absent(Reason.OPTIMISED_OUT) if current is None else current))
            current = None
            continue
        current, at = _step(expression, at, current, frame)
    if current is not None:
        pieces.append((None, current))
    return tuple(pieces)


def _step(raw: bytes, at: int, current: Place | None, frame: FrameContext) -> tuple[Place, int]:
    op = raw[at]
    at += 1
    if current is None:
        return _first(raw, op, at, frame)
    if isinstance(current, Absent):
        return current, len(raw)
    if op == OP_PLUS_UCONST and isinstance(current, InMemory):
        added, at = uleb(raw, at)
        return InMemory(current.register, current.displacement + added), at
    if OP_CONST1U <= op <= OP_CONSTS and isinstance(current, InMemory):
        number, at = _constant(raw, op, at)
        if isinstance(number, Constant) and raw[at : at + 1] in {bytes([OP_PLUS]), bytes([OP_MINUS])}:
            added = number.value if raw[at] == OP_PLUS else -number.value
            return InMemory(current.register, current.displacement + added), at + 1
    if op == OP_STACK_VALUE:
        if isinstance(current, Constant):
            return current, at
        if isinstance(current, InMemory) and current.displacement == 0:
            return InRegister(current.register), at  # "breg5 0; stack_value": the register itself
        return _unsupported("a value computed from a register"), at
    return _unsupported(f"operation {op:#x}"), len(raw)


def _first(raw: bytes, op: int, at: int, frame: FrameContext) -> tuple[Place, int]:
    if OP_REG0 <= op < OP_BREG0:
        return _register(op - OP_REG0, frame.machine), at
    if OP_BREG0 <= op < OP_REGX:
        offset, at = sleb(raw, at)
        return _relative(op - OP_BREG0, offset, frame.machine), at
    if op == OP_REGX:
        number, at = uleb(raw, at)
        return _register(number, frame.machine), at
    if op == OP_BREGX:
        number, at = uleb(raw, at)
        offset, at = sleb(raw, at)
        return _relative(number, offset, frame.machine), at
    if op == OP_FBREG:
        offset, at = sleb(raw, at)
        base = frame.frame_base
        return (
            _unsupported("no frame base here") if base is None else InMemory(base.register, base.displacement + offset)
        ), at
    if op == OP_CALL_FRAME_CFA:
        return (_unsupported("no canonical frame address here") if frame.cfa is None else frame.cfa), at
    if op == OP_ADDR:
        return Static(int.from_bytes(raw[at : at + 8], "little")), at + 8
    if OP_LIT0 <= op < OP_REG0:
        return Constant(op - OP_LIT0), at
    if OP_CONST1U <= op <= OP_CONSTS:
        return _constant(raw, op, at)
    if op == OP_IMPLICIT_VALUE:
        size, at = uleb(raw, at)
        return Constant(int.from_bytes(raw[at : at + size], "little")), at + size
    if op in {OP_ENTRY_VALUE, OP_GNU_ENTRY_VALUE}:
        return Absent(Reason.OPTIMISED_OUT, "only its value at the function's entry is known"), len(raw)
    return _unsupported(f"operation {op:#x}"), len(raw)


def _constant(raw: bytes, op: int, at: int) -> tuple[Place, int]:
    """DW_OP_const1u, 1s, 2u, 2s, 4u, 4s, 8u, 8s, constu, consts in this order."""
    index = op - OP_CONST1U
    if index < 8:
        width = 1 << (index // 2)
        return Constant(int.from_bytes(raw[at : at + width], "little", signed=bool(index % 2))), at + width
    value, at = sleb(raw, at) if index == 9 else uleb(raw, at)
    return Constant(value), at


def _register(number: int, machine: Machine) -> Place:
    if number < len(machine.registers):
        return InRegister(machine.registers[number])
    first, last = machine.vectors
    if first <= number <= last:
        return Absent(Reason.IN_VECTOR_REGISTER, f"in {machine.vector}{number - first}, which a uprobe cannot read")
    return _unsupported(f"register {number}")


def _relative(number: int, offset: int, machine: Machine) -> Place:
    if number < len(machine.registers):
        return InMemory(machine.registers[number], offset)
    return _unsupported(f"memory at register {number}")


def _unsupported(what: str) -> Absent:
    return Absent(Reason.UNSUPPORTED_LOCATION, what)
