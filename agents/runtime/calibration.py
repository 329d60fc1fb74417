"""What one hit costs the target on this machine, beside the program's own run time.

Enters: nothing; a few bytes of machine code of ours are called in this process with and without a probe on them.
Leaves: TrapCosts. BPF run-time statistics do not see the trap, which is most of the price: a CPU budget that forgot it
would let a probe on a stepped instruction cost twenty times what it may. `agents.supervisor` charges hits by it.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np

from agents.binaries.model import TrapClass
from agents.compiler.model import BpfProgram
from agents.runtime import bpf_syscall
from agents.runtime.bpf_abi import ATTACH_UPROBE_MULTI
from agents.runtime.bpf_syscall import BpfError
from agents.runtime.instructions import RETURN_ZERO

CALLS: Final = 500  # stepped ones take some 15 us each: 10 ms a round
ROUNDS: Final = 3  # the fastest counts: everything else only adds time

# void entry(long count) { do { f(); } while (--count); }   f: push rbx; pop rbx; ret
_CODE: Final = bytes.fromhex(
    "4889f9"  # mov %rdi,%rcx
    "e808000000"  # call f
    "48ffc9"  # dec %rcx
    "75f6"  # jnz to the call
    "c39090"  # ret
    "535bc3"  # f
)
_PUSH: Final = 16  # offset of f: an instruction that the kernel emulates
_POP: Final = 17  # one that it single-steps


@dataclass(frozen=True)
class TrapCosts:
    """Nanoseconds a hit, the program's run time not included. `measured` False: the defaults, which are on the high side."""

    emulated_ns: int = 1_000
    stepped_ns: int = 20_000
    returned_ns: int = 2_000  # a uretprobe armed on an emulated instruction, entry and return together
    measured: bool = False

    def per_hit_ns(self, program: BpfProgram) -> int:
        """One call of the function: its entry trap and, when the probe has one, its return trap."""
        total = 0
        for one in program.programs:
            dearest = max((self.at(site.trap_class) for site in one.sites), default=0)
            total += dearest  # of several RETs a call runs one
            if one.on_return:
                total += self.returned_ns - self.emulated_ns
        return total

    def at(self, trap_class: TrapClass) -> int:
        return self.stepped_ns if trap_class is TrapClass.STEPPED else self.emulated_ns


def measure() -> TrapCosts:
    """About 0.1 s. The defaults where it cannot be measured: another architecture, no uprobe_multi, no executable memory."""
    if platform.machine() != "x86_64":
        return TrapCosts()
    try:
        with _callable() as (path, call), _program() as program:
            bare = _fastest(call)

            def probed(offset: int, *, on_return: bool = False) -> int:
                link = bpf_syscall.link_uprobe_multi(program, path, [offset], [0], on_return=on_return, pid=os.getpid())
                try:
                    return max(1, (_fastest(call) - bare) // CALLS)
                finally:
                    os.close(link)

            return TrapCosts(probed(_PUSH), probed(_POP), probed(_PUSH, on_return=True), measured=True)
    except (BpfError, OSError):
        return TrapCosts()


def _fastest(call: Callable[[int], None]) -> int:
    """Time for CALLS calls, in ns."""
    best = 1 << 62
    for _ in range(ROUNDS):
        start = time.perf_counter_ns()
        call(CALLS)
        best = min(best, time.perf_counter_ns() - start)
    return best


@contextmanager
def _callable() -> Iterator[tuple[str, Callable[[int], None]]]:
    """The code in a file of its own, mapped the way executables are (private, not writable): a uprobe asks for that."""
    file = os.memfd_create("pg_calibration", os.MFD_CLOEXEC)
    try:
        os.write(file, _CODE.ljust(mmap.PAGESIZE, b"\xcc"))
        memory = mmap.mmap(file, mmap.PAGESIZE, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)
        view = np.frombuffer(memory, dtype=np.uint8)
        yield f"/proc/self/fd/{file}", ctypes.CFUNCTYPE(None, ctypes.c_long)(view.ctypes.data)
        del view
        memory.close()
    finally:
        os.close(file)


@contextmanager
def _program() -> Iterator[int]:
    program, _ = bpf_syscall.prog_load(RETURN_ZERO, "pg_doctor", attach_type=ATTACH_UPROBE_MULTI, sleepable=False)
    try:
        yield program
    finally:
        os.close(program)
