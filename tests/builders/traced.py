"""A running C program for the runtime's host tests, and where its function is."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from elftools.elf.elffile import ELFFile

from agents.processes.model import Process
from agents.processes.proc import ProcFs
from tests.builders.programs import PROGRAMS, build_c

ENDBR64 = bytes.fromhex("f30f1efa")
PUSH = range(0x50, 0x58)  # push of a 64-bit register, without a prefix


def counted_binary() -> Path:
    return build_c(PROGRAMS / "runtime" / "counted.c", "-O2", "-fcf-protection", "-pthread")


def offset_of(binary: Path, function: str) -> int:
    """File offset of the `push` after `endbr64` at the function's start: a place that the kernel emulates."""
    with binary.open("rb") as file:
        elf = ELFFile(file)
        address = elf.get_section_by_name(".symtab").get_symbol_by_name(function)[0]["st_value"]
        offset = next(iter(elf.address_offsets(address)))
        file.seek(offset)
        code = file.read(5)
        assert code[:4] == ENDBR64
        assert code[4] in PUSH
    return offset + 4


class Counted:
    """The program of tests/programs/runtime/counted.c, waiting for commands."""

    def __init__(self, binary: Path) -> None:
        self.binary = binary
        self._child = subprocess.Popen([str(binary)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._child.stdout.readline() == "ready\n"

    @property
    def pid(self) -> int:
        return self._child.pid

    def process(self) -> Process:
        found = ProcFs().find(self.pid)
        assert found is not None
        return found

    def target(self) -> tuple[Process, int]:
        process = self.process()
        return process, ProcFs().load_bias(process)

    def call(self, count: int) -> None:
        self.command(f"call {count}")

    def start(self, line: str) -> None:
        self._child.stdin.write(line + "\n")
        self._child.stdin.flush()

    def finish(self) -> None:
        assert self._child.stdout.readline().startswith("called ")

    def command(self, line: str) -> None:
        self.start(line)
        self.finish()

    def end(self) -> None:
        self._child.kill()
        self._child.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        self._child.stdin.close()
        self._child.stdout.close()


def boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
