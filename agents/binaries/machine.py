"""What the two processor families have of their own: registers, DWARF's numbers for them, how a call begins, Go's registers.

Looked up by an ELF file's machine (`elf_image`); everything that reads locations or code asks it. Sources: x86-64 psABI
figure 3.36, "DWARF for the Arm 64-bit Architecture", cmd/compile/abi-internal.md ("Architecture specifics").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agents.binaries.model import Register


@dataclass(frozen=True)
class Machine:
    name: str  # as platform.machine() and people say it
    elf: int  # e_machine
    relative: int  # R_*_RELATIVE
    registers: tuple[Register, ...]  # by DWARF number
    vectors: tuple[int, int]  # first and last DWARF number
    vector: str  # what a vector register is called
    stack: Register
    frame: Register
    link: Register | None  # where a call leaves its return address; None: on the stack
    go_integers: tuple[Register, ...]
    go_floats: int
    goroutine: Register
    max_instruction: int  # bytes

    @property
    def pushed(self) -> int:
        """Bytes from the stack pointer at the first instruction up to the canonical frame address."""
        return 0 if self.link is not None else 8


GO_ARGUMENTS: Final = (
    8  # bytes above the stack pointer at the start: amd64's return address, arm64's place for the link register
)

_X: Final = tuple(Register(f"x{number}") for number in range(31))

X86_64: Final = Machine(
    name="x86-64",
    elf=62,
    relative=8,
    registers=(
        Register.RAX, Register.RDX, Register.RCX, Register.RBX, Register.RSI, Register.RDI, Register.RBP, Register.RSP,
        Register.R8, Register.R9, Register.R10, Register.R11, Register.R12, Register.R13, Register.R14, Register.R15,
    ),
    vectors=(17, 32),
    vector="xmm",
    stack=Register.RSP,
    frame=Register.RBP,
    link=None,
    go_integers=(
        Register.RAX, Register.RBX, Register.RCX, Register.RDI, Register.RSI, Register.R8, Register.R9, Register.R10, Register.R11,
    ),
    go_floats=15,
    goroutine=Register.R14,
    max_instruction=15,
)  # fmt: skip

ARM64: Final = Machine(
    name="arm64",
    elf=183,
    relative=1027,
    registers=(*_X, Register.SP),
    vectors=(64, 95),
    vector="v",
    stack=Register.SP,
    frame=Register.X29,
    link=Register.X30,
    go_integers=_X[:16],
    go_floats=16,
    goroutine=Register.X28,
    max_instruction=4,
)

BY_ELF: Final[Mapping[int, Machine]] = {machine.elf: machine for machine in (X86_64, ARM64)}
BY_NAME: Final[Mapping[str, Machine]] = {"x86_64": X86_64, "aarch64": ARM64}  # as platform.machine() spells them
STACK_POINTERS: Final = frozenset({X86_64.stack, ARM64.stack})
FRAME_POINTERS: Final = frozenset({X86_64.frame, ARM64.frame})
