"""A machine that runs the compiler's programs on invented memory and says which bytes of the target they read.

Interprets the instructions of RFC 9669 that `agents.compiler.asm` emits, and the helpers with the kernel's semantics.
Every region of memory has its own addresses; an access outside of one is an error, so a stray offset fails the test.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from agents.binaries.model import Register
from agents.compiler.asm import Helper
from agents.compiler.frame import PT_REGS
from agents.compiler.model import CONTROL_SIZE, BpfProgram, ControlField, Counter, MapName, Program

MASK = (1 << 64) - 1
STACK, CONTEXT, KERNEL, MAPS = 1 << 60, 2 << 60, 3 << 60, 4 << 60
STEPS = 2_000_000
EEXIST, E2BIG, EFAULT = -17, -7, -14
SIZES = {0x18: 8, 0x00: 4, 0x08: 2, 0x10: 1}


def signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


@dataclass
class Machine:
    """One probe in a kernel of its own. `memory`: the target's, start address -> bytes."""

    program: BpfProgram
    memory: dict[int, bytes] = field(default_factory=dict)
    pid: int = 100
    tid: int = 101
    bias: int = 0
    now: int = 1000
    random: int = 0
    ring_full: bool = False
    stash_entries: int = 1 << 20
    processes: frozenset[int] = frozenset({100})
    reads: list[tuple[int, int]] = field(default_factory=list)  # (address, size) of the target's memory
    records: list[bytes] = field(default_factory=list)
    counters: dict[Counter, int] = field(default_factory=lambda: dict.fromkeys(Counter, 0))
    stash: dict[bytes, bytearray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.control = bytearray(CONTROL_SIZE)
        for key, value in {
            ControlField.ENABLED: 1,
            ControlField.DEADLINE: 1 << 62,
            ControlField.MAX_HITS: 1 << 62,
        }.items():
            self.set(key, value)

    def set(self, key: ControlField, value: int) -> None:
        struct.pack_into("<Q", self.control, key, value)

    def get(self, key: ControlField) -> int:
        return int(struct.unpack_from("<Q", self.control, key)[0])

    def fire(self, registers: Mapping[Register, int], *, index: int = -1) -> None:
        """Run one of the programs (the last is the entry) with these registers."""
        _Run(self, self.program.programs[index], registers).run()

    def matrix(self) -> np.ndarray:
        size = self.program.layout.record_size
        return np.frombuffer(b"".join(self.records), dtype=np.uint8).reshape(-1, size)

    def user(self, address: int, size: int) -> bytes | None:
        self.reads.append((address, size))
        return self.peek(address, size)

    def peek(self, address: int, size: int) -> bytes | None:
        for start, held in self.memory.items():
            if start <= address and address + size <= start + len(held):
                return held[address - start : address - start + size]
        return None


class _Run:
    def __init__(self, machine: Machine, program: Program, registers: Mapping[Register, int]) -> None:
        self.machine = machine
        self.text = program.instructions
        self.maps = {reference.instruction: reference.map for reference in program.maps}
        context = bytearray(272)  # arm64 has more registers than x86-64
        for register, value in registers.items():
            struct.pack_into("<Q", context, PT_REGS[register], value & MASK)
        self.regions: dict[int, bytearray] = {STACK: bytearray(512), CONTEXT: context}
        self.r = [0] * 11
        self.r[1], self.r[10] = CONTEXT, STACK + 512
        self.next_region = KERNEL
        self.counted: dict[int, Counter] = {}
        self.reserved: dict[int, bytearray] = {}

    def run(self) -> None:
        pc = 0
        for _ in range(STEPS):
            opcode, both, offset, imm = struct.unpack_from("<BBhi", self.text, pc * 8)
            dst, src, kind = both & 15, both >> 4, opcode & 7
            operand = self.r[src] if opcode & 8 else imm & MASK
            if opcode == 0x95:
                assert not self.reserved, "a record was neither submitted nor discarded"
                self._account()
                return
            if opcode == 0x85:
                self._call(Helper(imm))
            elif opcode == 0x18:
                high = struct.unpack_from("<i", self.text, pc * 8 + 12)[0]
                known = self.maps.get(pc)
                self.r[dst] = MAPS + list(MapName).index(known) if known else (high << 32 | imm & 0xFFFFFFFF) & MASK
                pc += 1
            elif kind == 7:
                self._alu(opcode & 0xF0, dst, operand)
            elif kind == 5:
                if opcode & 0xF0 == 0 or self._jumps(opcode & 0xF0, self.r[dst], operand):
                    pc += offset
            elif kind == 1:
                self.r[dst] = int.from_bytes(self._bytes(self.r[src] + offset, SIZES[opcode & 0x18]), "little")
            elif opcode & 0xE0 == 0xC0:
                self._atomic(self.r[dst] + offset, src, imm)
            else:
                size = SIZES[opcode & 0x18]
                value = self.r[src] if kind == 3 else imm
                self._write(self.r[dst] + offset, (value & (1 << 8 * size) - 1).to_bytes(size, "little"))
            pc += 1
        raise AssertionError("the program does not end")

    # --- instructions -------------------------------------------------------------------------------------------

    def _alu(self, operation: int, dst: int, operand: int) -> None:
        left = self.r[dst]
        operations: dict[int, Callable[[], int]] = {
            0x00: lambda: left + operand,
            0x10: lambda: left - operand,
            0x20: lambda: left * operand,
            0x30: lambda: left // operand if operand else 0,
            0x40: lambda: left | operand,
            0x50: lambda: left & operand,
            0x60: lambda: left << (operand & 63),
            0x70: lambda: left >> (operand & 63),
            0x80: lambda: -left,
            0x90: lambda: left % operand if operand else left,
            0xA0: lambda: left ^ operand,
            0xB0: lambda: operand,
            0xC0: lambda: signed(left) >> (operand & 63),
        }
        self.r[dst] = operations[operation]() & MASK

    @staticmethod
    def _jumps(comparison: int, left: int, right: int) -> bool:
        one, other = signed(left), signed(right)
        return {
            0x10: left == right,
            0x20: left > right,
            0x30: left >= right,
            0x40: bool(left & right),
            0x50: left != right,
            0x60: one > other,
            0x70: one >= other,
            0xA0: left < right,
            0xB0: left <= right,
            0xC0: one < other,
            0xD0: one <= other,
        }[comparison]

    def _atomic(self, address: int, src: int, imm: int) -> None:
        before = int.from_bytes(self._bytes(address, 8), "little")
        if imm == 0xF1:
            if before == self.r[0]:
                self._write(address, self.r[src].to_bytes(8, "little"))
            self.r[0] = before
            return
        self._write(address, ((before + self.r[src]) & MASK).to_bytes(8, "little"))
        if imm & 1:
            self.r[src] = before

    # --- memory -------------------------------------------------------------------------------------------------

    def _place(self, address: int, size: int) -> tuple[bytearray, int]:
        for start, region in self.regions.items():
            if start <= address and address + size <= start + len(region):
                return region, address - start
        raise AssertionError(f"access of {size} bytes at {address:#x}, outside of everything")

    def _bytes(self, address: int, size: int) -> bytes:
        region, at = self._place(address, size)
        return bytes(region[at : at + size])

    def _write(self, address: int, value: bytes) -> None:
        region, at = self._place(address, len(value))
        region[at : at + len(value)] = value

    def _region(self, memory: bytearray) -> int:
        self.next_region += 1 << 20
        self.regions[self.next_region] = memory
        return self.next_region

    # --- helpers ------------------------------------------------------------------------------------------------

    def _call(self, helper: Helper) -> None:
        machine = self.machine
        one, two, three, four = self.r[1:5]
        match helper:
            case Helper.GET_CURRENT_PID_TGID:
                result = machine.pid << 32 | machine.tid
            case Helper.KTIME_GET_BOOT_NS:
                result = machine.now
            case Helper.GET_PRANDOM_U32:
                result = machine.random
            case Helper.GET_CURRENT_COMM:
                self._write(one, b"thread".ljust(two, b"\0"))
                result = 0
            case Helper.MAP_LOOKUP_ELEM:
                result = self._lookup(self._map(one), two)
            case Helper.MAP_UPDATE_ELEM:
                result = self._update(two, three, four)
            case Helper.MAP_DELETE_ELEM:
                result = 0 if machine.stash.pop(self._bytes(two, 24), None) is not None else -2
            case Helper.RINGBUF_RESERVE:
                assert two == machine.program.layout.record_size
                memory = bytearray(b"\xa5" * two)  # what a record before left there
                result = 0 if machine.ring_full else self._region(memory)
                if result:
                    self.reserved[result] = memory
            case Helper.RINGBUF_SUBMIT:
                machine.records.append(bytes(self.reserved.pop(one)))
                del self.regions[one]
                result = 0
            case Helper.COPY_FROM_USER | Helper.PROBE_READ_USER:
                result = self._copy(one, two, three)
            case Helper.PROBE_READ_USER_STR:
                result = self._text(one, two, three)
            case Helper.PROBE_READ_KERNEL:
                self._write(one, self._bytes(three, two))
                result = 0
            case Helper.GET_STACK:
                result = EFAULT
            case _:
                raise AssertionError(f"no {helper.name} here")
        self.r[0] = result & MASK
        for lost in range(1, 6):
            self.r[lost] = 0xBAD0BAD0BAD0BAD0

    @staticmethod
    def _map(address: int) -> MapName:
        return list(MapName)[address - MAPS]

    def _lookup(self, name: MapName, key: int) -> int:
        machine = self.machine
        match name:
            case MapName.PROCESSES:
                (pid,) = struct.unpack("<I", self._bytes(key, 4))
                return self._region(bytearray(struct.pack("<Q", machine.bias))) if pid in machine.processes else 0
            case MapName.CONTROL:
                return self._region(machine.control)
            case MapName.COUNTERS:
                counter = Counter(struct.unpack("<I", self._bytes(key, 4))[0])
                region = self._region(bytearray(8))
                self.counted[region] = counter
                return region
            case MapName.TEMPLATE:
                return self._region(bytearray(machine.program.layout.stash_size))
            case MapName.STASH:
                held = machine.stash.get(self._bytes(key, 24))
                return 0 if held is None else self._region(held)
        raise AssertionError(f"no look-up in {name}")

    def _update(self, key: int, value: int, flags: int) -> int:
        machine, size = self.machine, self.machine.program.layout.stash_size
        raw = self._bytes(key, 24)
        assert flags == 1
        if raw in machine.stash:
            return EEXIST
        if len(machine.stash) >= machine.stash_entries:
            return E2BIG
        machine.stash[raw] = bytearray(self._bytes(value, size))
        return 0

    def _copy(self, target: int, size: int, address: int) -> int:
        self._place(target, size)
        found = self.machine.user(address, size)
        self._write(target, found if found is not None else bytes(size))
        return 0 if found is not None else EFAULT

    def _text(self, target: int, size: int, address: int) -> int:
        self._place(target, size)
        held = b""
        while len(held) < size:
            byte = self.machine.user(address + len(held), 1)
            if byte is None:
                return EFAULT
            held += byte
            if byte == b"\0":
                break
        held = held if held.endswith(b"\0") else held[:-1] + b"\0"
        self._write(target, held)
        return len(held)

    def _account(self) -> None:
        for region, counter in self.counted.items():
            self.machine.counters[counter] += int.from_bytes(self.regions[region], "little")
