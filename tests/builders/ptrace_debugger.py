"""Stop a program at addresses and read its registers and memory by ptrace: the truth that resolved places are held to.

Each address stops the program once. It has nothing in common with the agent's way of reading, so the two cannot share a
mistake. Only for tests: the agent never stops anybody's program.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from agents.absence import Absent
from agents.binaries.model import Constant, InMemory, InRegister, Variable

PTRACE_TRACEME, PTRACE_CONT, PTRACE_GETREGS, PTRACE_SETREGS, PTRACE_SETOPTIONS = 0, 7, 12, 13, 0x4200
OPTIONS: Final = 0x8 | 0x100000  # trace new threads too; end the program with us
WALL: Final = 0x40000000  # __WALL: wait for threads as well
BREAKPOINT: Final = b"\xcc"
# struct user_regs_struct of x86-64
FIELDS: Final = [
    "r15",
    "r14",
    "r13",
    "r12",
    "rbp",
    "rbx",
    "r11",
    "r10",
    "r9",
    "r8",
    "rax",
    "rcx",
    "rdx",
    "rsi",
    "rdi",
    "orig_rax",
    "rip",
    "cs",
    "eflags",
    "rsp",
    "ss",
    "fs_base",
    "gs_base",
    "ds",
    "es",
    "fs",
    "gs",
]

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long


class Stopped:
    """One thread of the program, stopped at an address."""

    def __init__(self, thread: int, memory: int, registers: dict[str, int]) -> None:
        self.thread = thread
        self._memory = memory
        self.registers = registers

    def read(self, address: int, size: int) -> bytes:
        return os.pread(self._memory, size, address)

    def value(self, variable: Variable, size: int) -> bytes:
        """The variable's bytes, gathered from its places; bytes without a place are zero."""
        if isinstance(variable.location, Absent):
            raise AssertionError(f"{variable.name} is absent: {variable.location}")
        whole = bytearray(size)
        for piece in variable.location:
            match piece.place:
                case InRegister(register):
                    found = self.registers[register.value].to_bytes(8, "little")[: piece.size]
                case InMemory(register, displacement):
                    found = self.read(self.registers[register.value] + displacement, piece.size)
                case Constant(value):
                    found = (value % (1 << 8 * piece.size)).to_bytes(piece.size, "little")
                case other:
                    raise AssertionError(f"{variable.name} is {other}")
            whole[piece.offset : piece.offset + piece.size] = found
        return bytes(whole)


Handler = Callable[[Stopped], "dict[int, Handler]"]  # what to do at an address; further addresses that follow from it


def run(program: Path, addresses: dict[int, Handler], environment: dict[str, str]) -> None:
    """Run the program to its end with its output dropped; call each address's handler the first time it is reached.

    Addresses are virtual addresses of the file; those that a handler returns are addresses of the running program.
    """
    pid = os.fork()
    if pid == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        _libc.ptrace(PTRACE_TRACEME, 0, None, None)
        os.execve(program, [str(program)], os.environ | environment)
    os.waitpid(pid, 0)
    _call(PTRACE_SETOPTIONS, pid, OPTIONS)
    memory = os.open(f"/proc/{pid}/mem", os.O_RDWR)
    try:
        bias = _bias(pid, program)
        breakpoints: dict[int, tuple[bytes, Handler]] = {}
        _insert(memory, breakpoints, {bias + address: handler for address, handler in addresses.items()})
        _call(PTRACE_CONT, pid, 0)
        _loop(pid, memory, breakpoints)
    finally:
        os.close(memory)


def _loop(pid: int, memory: int, breakpoints: dict[int, tuple[bytes, Handler]]) -> None:
    while True:
        thread, status = os.waitpid(-1, WALL)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            if thread == pid:
                return
            continue
        delivered = os.WSTOPSIG(status)
        if delivered == signal.SIGTRAP:
            delivered = 0
            if status >> 16 == 0:
                _hit(thread, memory, breakpoints)
        elif delivered == signal.SIGSTOP:
            delivered = 0  # a new thread
        _call(PTRACE_CONT, thread, delivered)


def _hit(thread: int, memory: int, breakpoints: dict[int, tuple[bytes, Handler]]) -> None:
    buffer = (ctypes.c_uint64 * len(FIELDS))()
    _libc.ptrace(PTRACE_GETREGS, thread, None, ctypes.cast(buffer, ctypes.c_void_p))
    registers = dict(zip(FIELDS, buffer, strict=True))
    address = registers["rip"] - 1
    if address not in breakpoints:
        return
    original, handler = breakpoints.pop(address)
    os.pwrite(memory, original, address)
    registers["rip"] = address
    buffer[FIELDS.index("rip")] = address
    _libc.ptrace(PTRACE_SETREGS, thread, None, ctypes.cast(buffer, ctypes.c_void_p))
    _insert(memory, breakpoints, handler(Stopped(thread, memory, registers)))


def _insert(memory: int, breakpoints: dict[int, tuple[bytes, Handler]], added: dict[int, Handler]) -> None:
    for address, handler in added.items():
        original = breakpoints[address][0] if address in breakpoints else os.pread(memory, 1, address)
        breakpoints[address] = original, handler
        os.pwrite(memory, BREAKPOINT, address)


def _bias(pid: int, program: Path) -> int:
    """Where the file's first segment went, less where it asked to be."""
    wanted = str(program.resolve())
    first = next(line for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if line.endswith(wanted))
    from elftools.elf.elffile import ELFFile

    with program.open("rb") as file:
        lowest = min(s.header.p_vaddr for s in ELFFile(file).iter_segments() if s.header.p_type == "PT_LOAD")
    return int(first.split("-")[0], 16) - (lowest & ~0xFFF)


def _call(request: int, thread: int, value: int) -> None:
    _libc.ptrace(request, thread, None, value)


def once(addresses: Iterable[int], handler: Handler) -> dict[int, Handler]:
    return dict.fromkeys(addresses, handler)
