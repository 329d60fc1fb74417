"""One machine instruction in the few facts that choosing a probe's site needs, whatever processor it is of.

Made by the adapters `capstone_decoder` (x86-64, and the way in) and `capstone_arm64`, read by `code_sites` and
`spilled_arguments`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from agents.binaries.model import Register, TrapClass


class Flow(Enum):
    """What an instruction does to control flow."""

    NEXT = auto()
    CONDITIONAL = auto()  # jcc, loop, jrcxz
    JUMP = auto()
    CALL = auto()
    RETURN = auto()
    STOP = auto()  # hlt, ud2, int3: nothing runs behind it


@dataclass(frozen=True)
class Memory:
    """An operand `[base + displacement]`; `plain` is False when an index or a segment takes part."""

    base: Register | None
    displacement: int
    plain: bool


@dataclass(frozen=True)
class Move:
    """`mov` between a register and memory or a register: what a prologue does to arguments. Sizes in bytes."""

    size: int
    source: Register | Memory | None
    target: Register | Memory | None
    zero_extends: bool = False  # a 4 byte write clears the upper half of its register


@dataclass(frozen=True)
class Instruction:
    address: int
    size: int
    text: str
    flow: Flow
    target: int | None  # of a direct jump or call
    trap_class: TrapClass
    writes: frozenset[Register]
    writes_memory: bool  # other than by push or call
    store: tuple[Memory, int] | None  # where it writes and how many bytes, when that is one plain operand
    pushes: Register | None
    move: Move | None
    stack_adjustment: int | None  # `sub rsp, n` and `add rsp, n`: -n, n
    clips_bool: bool  # `and dl, 1`: a bool stays what it is
    probeable: bool = True  # False: the kernel refuses a breakpoint there

    @property
    def end(self) -> int:
        return self.address + self.size


@dataclass(frozen=True, slots=True)
class Branch:
    """One control transfer of a function's body, found by `sweep`."""

    address: int
    size: int
    flow: Flow
    target: int | None
    text: str
    trap_class: TrapClass
