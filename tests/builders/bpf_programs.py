"""BPF programs written by hand for the runtime's tests: what the runtime does must not depend on the compiler.

`Assembler` knows just enough of RFC 9669; `counting_program` is a whole probe in the shape that the compiler makes:
process filter, counters, switch, deadline, hit limit, one fixed-size record. Records read as RECORD.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from agents.binaries.model import Register, Site, TrapClass
from agents.compiler.layout import RecordLayout
from agents.compiler.model import (
    CONTROL_SIZE,
    BpfProgram,
    ControlField,
    Counter,
    MapKind,
    MapName,
    MapReference,
    MapSpec,
    Program,
    Role,
)

RECORD: Final = np.dtype(
    [("time", "<u8"), ("tid", "<u4"), ("pid", "<u4"), ("index", "<u8"), ("site", "<u8"), ("letter", "<u8")]
)
DI, SI, AX = 112, 104, 80  # struct pt_regs, arch/x86/include/asm/ptrace.h
_LOOKUP, _PID_TGID, _BOOT_NS, _COOKIE = 1, 14, 125, 174  # enum bpf_func_id
_RESERVE, _SUBMIT, _DISCARD = 131, 132, 133
_READ_USER, _COPY_FROM_USER = 112, 148
_FP = 10


@dataclass
class Assembler:
    """Slots of eight bytes; jumps go forward to labels."""

    slots: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    maps: list[MapReference] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    jumps: list[tuple[int, str]] = field(default_factory=list)

    def slot(self, opcode: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> None:
        self.slots.append((opcode, dst, src, off, imm))

    def mov(self, dst: int, src: int) -> None:
        self.slot(0xBF, dst, src)

    def mov_imm(self, dst: int, imm: int) -> None:
        self.slot(0xB7, dst, imm=imm)

    def add_imm(self, dst: int, imm: int) -> None:
        self.slot(0x07, dst, imm=imm)

    def load(self, dst: int, src: int, off: int) -> None:
        self.slot(0x79, dst, src, off)

    def store(self, dst: int, off: int, src: int) -> None:
        self.slot(0x7B, dst, src, off)

    def store_imm4(self, dst: int, off: int, imm: int) -> None:
        self.slot(0x62, dst, 0, off, imm)

    def call(self, helper: int) -> None:
        self.slot(0x85, imm=helper)

    def exit(self) -> None:
        self.slot(0x95)

    def jump(self, opcode: int, label: str, dst: int = 0, src: int = 0, imm: int = 0) -> None:
        self.jumps.append((len(self.slots), label))
        self.slot(opcode, dst, src, 0, imm)

    def label(self, name: str) -> None:
        self.labels[name] = len(self.slots)

    def map(self, dst: int, name: MapName) -> None:
        self.maps.append(MapReference(len(self.slots), name))
        self.slot(0x18, dst)
        self.slot(0)

    def lookup(self, name: MapName, key: int) -> None:
        """Value's address in r0; the key is written to the frame."""
        self.store_imm4(_FP, -8, key)
        self.mov(2, _FP)
        self.add_imm(2, -8)
        self.map(1, name)
        self.call(_LOOKUP)

    def count(self, counter: Counter) -> None:
        over = f"counted{len(self.slots)}"
        self.lookup(MapName.COUNTERS, counter)
        self.jump(0x15, over, dst=0)
        self.mov_imm(1, 1)
        self.slot(0xDB, 0, 1)  # atomic add
        self.label(over)

    def text(self) -> bytes:
        for at, label in self.jumps:
            opcode, dst, src, _, imm = self.slots[at]
            self.slots[at] = (opcode, dst, src, self.labels[label] - at - 1, imm)
        return b"".join(struct.pack("<BBhi", op, src << 4 | dst, off, imm) for op, dst, src, off, imm in self.slots)


def site(offset: int) -> Site:
    return Site(offset, offset, TrapClass.EMULATED, "push rbx", Register.RSP, 8)


def counting_program(
    offsets: tuple[int, ...],
    *,
    role: Role = Role.ENTRY,
    on_return: bool = False,
    ring_size: int = 1 << 20,
    sleepable: bool = True,
    discard_odd: bool = False,
    read_text: bool = False,
) -> BpfProgram:
    """Records `rdi` (on return `rax`) of every call; `read_text` also the first letter at `rsi`, from user memory."""
    program = one_program(
        offsets, role, on_return=on_return, sleepable=sleepable, discard_odd=discard_odd, read_text=read_text
    )
    return BpfProgram((program,), maps(ring_size), RecordLayout(RECORD.itemsize, "probed", ()), sleepable)


def maps(ring_size: int = 1 << 20) -> tuple[MapSpec, ...]:
    return (
        MapSpec(MapName.RING, MapKind.RINGBUF, 0, 0, ring_size),
        MapSpec(MapName.CONTROL, MapKind.ARRAY, 4, CONTROL_SIZE, 1),
        MapSpec(MapName.COUNTERS, MapKind.PERCPU_ARRAY, 4, 8, len(Counter)),
        MapSpec(MapName.PROCESSES, MapKind.HASH, 4, 8, 64),
    )


def one_program(
    offsets: tuple[int, ...], role: Role, *, on_return: bool, sleepable: bool, discard_odd: bool, read_text: bool
) -> Program:
    asm = Assembler()
    asm.mov(6, 1)
    asm.call(_PID_TGID)
    asm.mov(7, 0)
    asm.mov(1, 0)
    asm.slot(0x77, 1, imm=32)  # r1 >>= 32: the thread group
    asm.slot(0x63, _FP, 1, -4)
    asm.mov(2, _FP)
    asm.add_imm(2, -4)
    asm.map(1, MapName.PROCESSES)
    asm.call(_LOOKUP)
    asm.jump(0x15, "out", dst=0)
    asm.count(Counter.HITS)
    asm.lookup(MapName.CONTROL, 0)
    asm.jump(0x15, "out", dst=0)
    asm.mov(8, 0)
    asm.load(1, 8, ControlField.ENABLED)
    asm.jump(0x15, "expired", dst=1)
    asm.call(_BOOT_NS)
    asm.store(_FP, -16, 0)
    asm.load(1, 8, ControlField.DEADLINE)
    asm.jump(0x2D, "expired", dst=0, src=1)  # now > deadline
    asm.mov_imm(2, 1)
    asm.slot(0xDB, 8, 2, ControlField.TAKEN, 1)  # fetch and add
    asm.load(1, 8, ControlField.MAX_HITS)
    asm.jump(0x3D, "expired", dst=2, src=1)  # taken >= max
    asm.map(1, MapName.RING)
    asm.mov_imm(2, RECORD.itemsize)
    asm.mov_imm(3, 0)
    asm.call(_RESERVE)
    asm.jump(0x15, "full", dst=0)
    asm.mov(9, 0)
    asm.load(1, _FP, -16)
    asm.store(9, 0, 1)
    asm.store(9, 8, 7)
    asm.load(8, 6, AX if on_return else DI)
    asm.store(9, 16, 8)
    asm.mov(1, 6)
    asm.call(_COOKIE)
    asm.store(9, 24, 0)
    asm.mov_imm(1, 0)
    asm.store(9, 32, 1)
    if read_text:
        asm.mov(1, 9)
        asm.add_imm(1, 32)
        asm.mov_imm(2, 1)
        asm.load(3, 6, SI)
        asm.call(_COPY_FROM_USER if sleepable else _READ_USER)
    asm.mov(1, 9)
    asm.mov_imm(2, 0)
    if discard_odd:
        asm.jump(0x45, "odd", dst=8, imm=1)  # r8 & 1
    asm.call(_SUBMIT)
    asm.count(Counter.DELIVERED)
    asm.jump(0x05, "out")
    if discard_odd:
        asm.label("odd")
        asm.call(_DISCARD)
        asm.count(Counter.FILTERED)
        asm.jump(0x05, "out")
    asm.label("expired")
    asm.count(Counter.EXPIRED)
    asm.jump(0x05, "out")
    asm.label("full")
    asm.count(Counter.LOST_RING_FULL)
    asm.label("out")
    asm.mov_imm(0, 0)
    asm.exit()
    return Program(role, asm.text(), tuple(asm.maps), tuple(site(offset) for offset in offsets), on_return)
