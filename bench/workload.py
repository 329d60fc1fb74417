"""The traced programs: built once, started, told to call, asked how long it took."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.builders.programs import build_c, build_go

PROGRAMS: Final = Path(__file__).parent / "programs"
CAPTURED: Final = (3, 1999, "Grace Hopper, Arlington")  # units, cents, customer of every call, in both programs
WARM_CALLS: Final = 20
TRAP_NS: Final = 150  # a call without a probe takes some 5 ns, the cheapest trap some 250
ARM_SECONDS: Final = 20.0
QUIET_SECONDS: Final = 5.0


def c_program(*, branch_targets: bool = True) -> Path:
    """gcc -O2. `branch_targets` False: no endbr64, so that the function's first instruction is a cheap one to probe."""
    return build_c(PROGRAMS / "calls.c", "-O2", "-pthread", f"-fcf-protection={'full' if branch_targets else 'none'}")


def go_program() -> Path:
    return build_go(PROGRAMS / "calls_go")


def many_functions() -> Path:
    """A thousand functions; the last one is called."""
    return build_c(PROGRAMS / "many.c", "-O2", "-fcf-protection=full")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process up to now, its threads included (proc_pid_stat(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Workload:
    """One running program."""

    def __init__(self, binary: Path) -> None:
        self.binary = binary
        self._child = subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._read() == "ready"
        self.command(f"flat {WARM_CALLS}")

    @property
    def pid(self) -> int:
        return self._child.pid

    def command(self, line: str) -> int:
        """How long it took, in ns, by the program's own clock."""
        assert self._child.stdin is not None
        self._child.stdin.write(line + "\n")
        self._child.stdin.flush()
        return int(self._read().split()[1])

    def per_call_us(self, calls: int) -> float:
        return self.command(f"flat {calls}") / calls / 1000

    def probed(self) -> bool:
        """Whether a call traps now: seen by the program's own clock, whoever the tracer is.

        The quickest of three, since a program that was preempted looks slow without any probe.
        """
        return min(self.command(f"warm {WARM_CALLS}") for _ in range(3)) / WARM_CALLS > TRAP_NS

    def wait(self, *, probed: bool) -> None:
        """Until a probe is there, or is not. Raises TimeoutError."""
        end = time.monotonic() + (ARM_SECONDS if probed else QUIET_SECONDS)
        while self.probed() != probed:
            if time.monotonic() > end:
                raise TimeoutError(f"the probe of {self.binary.name} did not {'appear' if probed else 'go'}")
            time.sleep(0.0005)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.kill()
        self._child.wait()
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                stream.close()

    def _read(self) -> str:
        assert self._child.stdout is not None
        return self._child.stdout.readline().strip()
