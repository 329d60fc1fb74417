"""A readable BPF assembler: named instructions, labels, maps by name -> the bytes that the kernel loads.

Encoding after RFC 9669 (little-endian). Only what every kernel since 5.12 knows is emitted: no signed division, no
sign-extending moves, no 32-bit jumps. The text goes to `agents.runtime`, which fills in the maps' descriptors;
`agents.compiler.disasm` reads it back.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Literal, NewType

from agents.compiler.model import MapName, MapReference

MAX_JUMP: Final = 0x7FFF  # a jump's offset is a signed 16-bit number of slots (RFC 9669, section 4.3)

Label = NewType("Label", str)
Size = Literal[1, 2, 4, 8]
Comparison = Literal["==", "!=", ">", ">=", "<", "<=", "s>", "s>=", "s<", "s<=", "&"]
Operation = Literal["+=", "-=", "*=", "/=", "|=", "&=", "<<=", ">>=", "%=", "^=", "s>>="]


class Reg(IntEnum):
    """R0 is a call's result, R1 to R5 its arguments (lost in a call), R6 to R9 survive calls, R10 is the stack's end."""

    R0 = 0
    R1 = 1
    R2 = 2
    R3 = 3
    R4 = 4
    R5 = 5
    R6 = 6
    R7 = 7
    R8 = 8
    R9 = 9
    R10 = 10


class Helper(IntEnum):
    """`enum bpf_func_id` of the kernel's uapi/linux/bpf.h: those that a probe may call."""

    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    KTIME_GET_NS = 5
    GET_PRANDOM_U32 = 7
    GET_CURRENT_PID_TGID = 14
    GET_CURRENT_COMM = 16
    GET_STACK = 67
    PROBE_READ_USER = 112
    PROBE_READ_KERNEL = 113
    PROBE_READ_USER_STR = 114
    KTIME_GET_BOOT_NS = 125
    RINGBUF_RESERVE = 131
    RINGBUF_SUBMIT = 132
    RINGBUF_DISCARD = 133
    COPY_FROM_USER = 148
    GET_ATTACH_COOKIE = 174


CLASS_LD: Final = 0
CLASS_LDX: Final = 1
CLASS_ST: Final = 2
CLASS_STX: Final = 3
CLASS_JMP: Final = 5
CLASS_ALU64: Final = 7
SOURCE_REGISTER: Final = 0x08
MODE_MEM: Final = 0x60
MODE_ATOMIC: Final = 0xC0
LD_IMM64: Final = 0x18
MOV: Final = 0xB0
NEG: Final = 0x80
JA: Final = 0x00
CALL: Final = 0x80
EXIT: Final = 0x90
PSEUDO_MAP_FD: Final = 1
ATOMIC_ADD: Final = 0x00
ATOMIC_FETCH: Final = 0x01
ATOMIC_CMPXCHG: Final = 0xF1

SIZE_CODES: Final[dict[int, int]] = {4: 0x00, 2: 0x08, 1: 0x10, 8: 0x18}
OPERATIONS: Final[dict[str, int]] = {
    "+=": 0x00,
    "-=": 0x10,
    "*=": 0x20,
    "/=": 0x30,
    "|=": 0x40,
    "&=": 0x50,
    "<<=": 0x60,
    ">>=": 0x70,
    "%=": 0x90,
    "^=": 0xA0,
    "s>>=": 0xC0,
}
COMPARISONS: Final[dict[str, int]] = {
    "==": 0x10,
    ">": 0x20,
    ">=": 0x30,
    "&": 0x40,
    "!=": 0x50,
    "s>": 0x60,
    "s>=": 0x70,
    "<": 0xA0,
    "<=": 0xB0,
    "s<": 0xC0,
    "s<=": 0xD0,
}


@dataclass(frozen=True)
class Instruction:
    """One slot of 8 bytes, or two with `imm64`. A jump names its label until the text is assembled."""

    opcode: int
    dst: int = 0
    src: int = 0
    offset: int = 0
    imm: int = 0
    target: Label | None = None
    map: MapName | None = None
    imm64: int | None = None

    @property
    def slots(self) -> int:
        return 1 if self.imm64 is None else 2

    def encode(self, offset: int) -> bytes:
        low = self.imm if self.imm64 is None else _signed32(self.imm64)
        first = struct.pack("<BBhi", self.opcode, self.dst | self.src << 4, offset, low)
        return first if self.imm64 is None else first + struct.pack("<BBhi", 0, 0, 0, _signed32(self.imm64 >> 32))


class TextTooLong(Exception):
    """A jump does not reach its label: the program is larger than one jump."""


@dataclass(frozen=True)
class Text:
    instructions: bytes
    maps: tuple[MapReference, ...]
    labels: tuple[tuple[str, int], ...]  # name, slot: what disasm prints


class Assembler:
    """Collects instructions in order; `assemble` resolves the labels."""

    def __init__(self) -> None:
        self._instructions: list[Instruction] = []
        self._labels: dict[Label, int] = {}
        self._slots = 0
        self._fresh = 0

    @property
    def slots(self) -> int:
        """How long the text is so far, in slots."""
        return self._slots

    # --- labels and jumps ---------------------------------------------------------------------------------------

    def fresh(self, hint: str) -> Label:
        """A label that nobody else has; it gets its place by `mark`."""
        self._fresh += 1
        return Label(f"{hint}_{self._fresh}")

    def mark(self, label: Label) -> None:
        if label in self._labels:
            raise ValueError(f"label {label} is placed twice")
        self._labels[label] = len(self._instructions)

    def jump(self, target: Label) -> None:
        self._add(Instruction(CLASS_JMP | JA, target=target))

    def jump_if(self, left: Reg, comparison: Comparison, right: Reg | int, target: Label) -> None:
        """Unsigned unless `comparison` begins with s; "&": any common bit. An int is sign-extended from 32 bits."""
        code = CLASS_JMP | COMPARISONS[comparison]
        if isinstance(right, Reg):
            self._add(Instruction(code | SOURCE_REGISTER, left, right, target=target))
        else:
            self._add(Instruction(code, left, imm=_imm(right), target=target))

    def call(self, helper: Helper) -> None:
        self._add(Instruction(CLASS_JMP | CALL, imm=helper))

    def exit(self) -> None:
        self._add(Instruction(CLASS_JMP | EXIT))

    # --- registers ----------------------------------------------------------------------------------------------

    def mov(self, dst: Reg, src: Reg | int) -> None:
        """`src` may be any 64-bit number; one outside 32 bits takes two slots."""
        if isinstance(src, Reg):
            self._add(Instruction(CLASS_ALU64 | MOV | SOURCE_REGISTER, dst, src))
        elif -(1 << 31) <= src < 1 << 31:
            self._add(Instruction(CLASS_ALU64 | MOV, dst, imm=src))
        else:
            self._add(Instruction(LD_IMM64, dst, imm64=src & (1 << 64) - 1))

    def alu(self, dst: Reg, operation: Operation, src: Reg | int) -> None:
        """64 bits wide. An int is sign-extended from 32 bits."""
        code = CLASS_ALU64 | OPERATIONS[operation]
        if isinstance(src, Reg):
            self._add(Instruction(code | SOURCE_REGISTER, dst, src))
        else:
            self._add(Instruction(code, dst, imm=_imm(src)))

    def neg(self, dst: Reg) -> None:
        self._add(Instruction(CLASS_ALU64 | NEG, dst))

    def load_map(self, dst: Reg, name: MapName) -> None:
        self._add(Instruction(LD_IMM64, dst, PSEUDO_MAP_FD, map=name, imm64=0))

    # --- memory -------------------------------------------------------------------------------------------------

    def load(self, dst: Reg, base: Reg, offset: int, size: int = 8) -> None:
        """Zero-extended."""
        self._add(Instruction(CLASS_LDX | MODE_MEM | SIZE_CODES[size], dst, base, offset))

    def store(self, base: Reg, offset: int, src: Reg | int, size: int = 8) -> None:
        """An int is sign-extended from 32 bits."""
        if isinstance(src, Reg):
            self._add(Instruction(CLASS_STX | MODE_MEM | SIZE_CODES[size], base, src, offset))
        else:
            self._add(Instruction(CLASS_ST | MODE_MEM | SIZE_CODES[size], base, 0, offset, _imm(src)))

    def atomic_add(self, base: Reg, offset: int, src: Reg, *, fetch: bool = False) -> None:
        """64 bits; with `fetch`, `src` becomes the value before."""
        code = CLASS_STX | MODE_ATOMIC | SIZE_CODES[8]
        self._add(Instruction(code, base, src, offset, ATOMIC_ADD | (ATOMIC_FETCH if fetch else 0)))

    def compare_exchange(self, base: Reg, offset: int, src: Reg) -> None:
        """64 bits: when the memory equals R0 it becomes `src`; R0 becomes the value before."""
        self._add(Instruction(CLASS_STX | MODE_ATOMIC | SIZE_CODES[8], base, src, offset, ATOMIC_CMPXCHG))

    # --- the end ------------------------------------------------------------------------------------------------

    def assemble(self) -> Text:
        """Raises TextTooLong; KeyError for a label that was never placed. Leaves out what no path reaches."""
        kept = self._needed()
        slots = [0]
        for index, instruction in enumerate(self._instructions):
            slots.append(slots[-1] + (instruction.slots if index in kept else 0))
        encoded: list[bytes] = []
        maps: list[MapReference] = []
        for index in sorted(kept):
            instruction = self._instructions[index]
            offset = instruction.offset
            if instruction.target is not None:
                offset = slots[self._labels[instruction.target]] - slots[index] - 1
                if abs(offset) > MAX_JUMP:
                    raise TextTooLong(f"{instruction.target} is {offset} slots away, a jump reaches {MAX_JUMP}")
            if instruction.map is not None:
                maps.append(MapReference(slots[index], instruction.map))
            encoded.append(instruction.encode(offset))
        labels = tuple((str(name), slots[at]) for name, at in self._labels.items())
        return Text(b"".join(encoded), tuple(maps), labels)

    def _needed(self) -> set[int]:
        """Instructions that a path reaches (the verifier refuses others), but for jumps to what follows anyway."""
        reached: set[int] = set()
        open_ends = [0]
        while open_ends:
            index = open_ends.pop()
            while index not in reached:
                reached.add(index)
                instruction = self._instructions[index]
                if instruction.target is not None:
                    open_ends.append(self._labels[instruction.target])
                if instruction.opcode in {CLASS_JMP | JA, CLASS_JMP | EXIT}:
                    break
                index += 1
        for index in sorted(reached, reverse=True):
            instruction = self._instructions[index]
            if instruction.opcode == CLASS_JMP | JA and instruction.target is not None:
                between = range(index + 1, self._labels[instruction.target])
                if self._labels[instruction.target] > index and reached.isdisjoint(between):
                    reached.discard(index)
        return reached

    def _add(self, instruction: Instruction) -> None:
        self._instructions.append(instruction)
        self._slots += instruction.slots


def _imm(value: int) -> int:
    if not -(1 << 31) <= value < 1 << 31:
        raise ValueError(f"{value} does not fit the 32 bits of an immediate operand: load it into a register first")
    return value


def _signed32(value: int) -> int:
    low = value & 0xFFFFFFFF
    return low - (1 << 32) if low >= 1 << 31 else low
