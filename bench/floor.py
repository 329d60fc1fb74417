"""The floor: the least program that gives the same rows, written by hand for one function, at the same site.

It fills in what a row holds (time, thread, goroutine in Go, three integers, the string) and hands it over. It has no
process filter, no switch, no deadline, no limits, no counters and no status bytes, so it could not be run in
production; what Probegate costs over it is the price of these.
"""

from __future__ import annotations

import os
import struct
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

from agents.binaries.model import Language, Register, ResolvedProbe
from agents.compiler.asm import Assembler, Helper, Reg, Text
from agents.compiler.frame import PT_REGS
from agents.compiler.model import MapKind, MapName
from agents.runtime import bpf_syscall
from agents.runtime.bpf_abi import ATTACH_UPROBE_MULTI, MapFlag
from bench.ours import LIMITS, resolve
from bench.workload import Workload

NAME: Final = "hand-written program"
RING: Final = 8 << 20
NO_WAKEUP: Final = 1  # BPF_RB_NO_WAKEUP
TIME, THREAD, GOROUTINE, NUMBERS, TEXT = 0, 8, 16, 24, 48  # offsets in the record
C_NUMBERS: Final = (Register.RDI, Register.RSI, Register.RDX)
GO_NUMBERS: Final = (Register.RAX, Register.RBX, Register.RCX)


class Floor:
    """The hand-written program on `function` of the workload, from when its context is entered. Nobody reads its ring."""

    def __init__(self, workload: Workload, function: str) -> None:
        self._workload = workload
        self._resolved = resolve(workload.binary, function)
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        ring = bpf_syscall.map_create(MapKind.RINGBUF, 0, 0, RING, MapFlag.NONE, "floor")
        self._resources.callback(os.close, ring)
        program, _ = bpf_syscall.prog_load(
            _linked(_text(self._resolved), ring), "floor", attach_type=ATTACH_UPROBE_MULTI, sleepable=True
        )
        self._resources.callback(os.close, program)
        path, offset = str(self._workload.binary), self._resolved.entry.offset
        link = bpf_syscall.link_uprobe_multi(program, path, [offset], [0], on_return=False, pid=self._workload.pid)
        self._resources.callback(os.close, link)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()
        self._workload.wait(probed=False)


def _text(resolved: ResolvedProbe) -> Text:
    asm = Assembler()
    out = asm.fresh("out")
    asm.mov(Reg.R6, Reg.R1)
    asm.load_map(Reg.R1, MapName.RING)
    asm.mov(Reg.R2, TEXT + LIMITS.max_string)
    asm.mov(Reg.R3, 0)
    asm.call(Helper.RINGBUF_RESERVE)
    asm.jump_if(Reg.R0, "==", 0, out)
    asm.mov(Reg.R7, Reg.R0)
    asm.call(Helper.KTIME_GET_BOOT_NS)
    asm.store(Reg.R7, TIME, Reg.R0)
    asm.call(Helper.GET_CURRENT_PID_TGID)
    asm.store(Reg.R7, THREAD, Reg.R0)
    if resolved.language is Language.GO:
        _go_values(asm, resolved)
    else:
        _c_values(asm)
    asm.mov(Reg.R1, Reg.R7)
    asm.mov(Reg.R2, NO_WAKEUP)
    asm.call(Helper.RINGBUF_SUBMIT)
    asm.mark(out)
    asm.mov(Reg.R0, 0)
    asm.exit()
    return asm.assemble()


def _c_values(asm: Assembler) -> None:
    _numbers(asm, C_NUMBERS)
    _into(asm, TEXT)
    asm.mov(Reg.R2, LIMITS.max_string)
    asm.load(Reg.R3, Reg.R6, PT_REGS[Register.RCX])
    asm.call(Helper.PROBE_READ_USER_STR)


def _go_values(asm: Assembler, resolved: ResolvedProbe) -> None:
    assert resolved.go is not None
    _into(asm, GOROUTINE)
    asm.mov(Reg.R2, 8)
    asm.load(Reg.R3, Reg.R6, PT_REGS[Register.R14])
    asm.alu(Reg.R3, "+=", resolved.go.goid_offset)
    asm.call(Helper.PROBE_READ_USER)
    _numbers(asm, GO_NUMBERS)
    short = asm.fresh("short")
    asm.load(Reg.R2, Reg.R6, PT_REGS[Register.RSI])
    asm.jump_if(Reg.R2, "<=", LIMITS.max_string, short)
    asm.mov(Reg.R2, LIMITS.max_string)
    asm.mark(short)
    _into(asm, TEXT)
    asm.load(Reg.R3, Reg.R6, PT_REGS[Register.RDI])
    asm.call(Helper.COPY_FROM_USER)


def _numbers(asm: Assembler, registers: tuple[Register, ...]) -> None:
    for index, register in enumerate(registers):
        asm.load(Reg.R1, Reg.R6, PT_REGS[register])
        asm.store(Reg.R7, NUMBERS + 8 * index, Reg.R1)


def _into(asm: Assembler, offset: int) -> None:
    asm.mov(Reg.R1, Reg.R7)
    asm.alu(Reg.R1, "+=", offset)


def _linked(text: Text, ring: int) -> bytes:
    linked = bytearray(text.instructions)
    for reference in text.maps:
        struct.pack_into("<i", linked, reference.instruction * 8 + 4, ring)
    return bytes(linked)
