"""Assign Go arguments and results to registers and stack slots: ABIInternal on amd64 and arm64.

In come shapes in order, out come assignments. The rules are those of cmd/compile/abi-internal.md ("Function call argument
and result passing") and cmd/compile/internal/abi/abiutils.go. `go_functions` checks them against what DWARF says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agents.absence import Absent, Reason
from agents.binaries.go_types import Leaf, RegisterClass, Shape
from agents.binaries.machine import X86_64, Machine
from agents.binaries.model import InRegister, Piece

WORD: Final = 8


@dataclass(frozen=True)
class Assigned:
    """Where one value is. `pieces` when in registers, else its offset from the CFA; an argument in registers has a spill
    slot too, at CFA + `spill`, whose content is undefined at entry.
    """

    pieces: tuple[Piece, ...] | None
    stack: int | None
    spill: int | None = None


@dataclass(frozen=True)
class Assignment:
    arguments: tuple[Assigned, ...]
    results: tuple[Assigned, ...]


def assign(
    arguments: Sequence[Shape], results: Sequence[Shape], *, registers: bool = True, machine: Machine = X86_64
) -> Assignment:
    """The receiver is the first argument; a generic shape function's dictionary is one too.

    Without `registers` everything goes on the stack: ABI0, and all of Go before 1.17.
    """
    state = _State(registers, machine)
    placed = [state.place(shape) for shape in arguments]
    state.stack = _aligned(state.stack, WORD)
    state.integers = state.floats = 0
    returned = [state.place(shape) for shape in results]
    spill_area = _aligned(state.stack, WORD)
    spill = 0
    given: list[Assigned] = []
    for shape, assigned in zip(arguments, placed, strict=True):
        if assigned.pieces is None:
            given.append(assigned)
            continue
        spill = _aligned(spill, shape.align)
        given.append(Assigned(assigned.pieces, None, spill_area + spill))
        spill += shape.size
    return Assignment(tuple(given), tuple(returned))


class _State:
    def __init__(self, registers: bool, machine: Machine) -> None:
        self.registers = registers
        self.machine = machine
        self.integers = self.floats = self.stack = 0

    def place(self, shape: Shape) -> Assigned:
        leaves = shape.leaves
        if not self.registers or shape.size == 0 or leaves is None or not self._fit(leaves):
            self.stack = _aligned(self.stack, shape.align)
            offset, self.stack = self.stack, self.stack + shape.size
            return Assigned(None, offset)
        return Assigned(tuple(self._piece(leaf) for leaf in leaves), None)

    def _fit(self, leaves: tuple[Leaf, ...]) -> bool:
        integers = sum(leaf.register_class is RegisterClass.INTEGER for leaf in leaves)
        return (
            self.integers + integers <= len(self.machine.go_integers)
            and self.floats + len(leaves) - integers <= self.machine.go_floats
        )

    def _piece(self, leaf: Leaf) -> Piece:
        if leaf.register_class is RegisterClass.FLOAT:
            self.floats += 1
            where = Absent(
                Reason.IN_VECTOR_REGISTER, f"in {self.machine.vector}{self.floats - 1}, which a uprobe cannot read"
            )
            return Piece(leaf.offset, leaf.size, where)
        self.integers += 1
        return Piece(leaf.offset, leaf.size, InRegister(self.machine.go_integers[self.integers - 1]))


def _aligned(offset: int, alignment: int) -> int:
    return -(-offset // max(alignment, 1)) * max(alignment, 1)
