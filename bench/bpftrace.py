"""The peer: Debian's bpftrace, printing the same fields of the same function into a file."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from bench import workload
from bench.workload import CAPTURED, Workload

NAME: Final = "bpftrace"
STOP_SECONDS: Final = 30
SIGNALS: Final = 2  # a SIGINT that comes before all its probes are attached is lost, with its handler in place
WARM_ID: Final = 1 << 63  # the id -1 of the warm calls, as an unsigned number; "-1" or "Attaching" is no digit
C_FIELDS: Final = "arg0, arg1, arg2, str(arg3)"
GO_FIELDS: Final = (
    'reg("ax"), reg("bx"), reg("cx"), str(reg("di"), reg("si"))'  # Go's register ABI: bpftrace has no names
)


class Bpftrace:
    """Traces `function` of the workload from when its context is entered; `lines` is what it printed, after it."""

    def __init__(self, workload: Workload, function: str, fields: str) -> None:
        if shutil.which(NAME) is None:
            raise FileNotFoundError("bpftrace is not installed: apt-get install bpftrace")
        self._workload = workload
        self._output = Path(tempfile.mkdtemp(prefix="bench-")) / "lines"
        probe = f'uprobe:{workload.binary}:"{function}"'
        self._command = [NAME, "-o", str(self._output), "-p", str(workload.pid), "-e"]
        self._command.append(f'{probe} {{ printf("%d %d %d %s\\n", {fields}); }}')
        self.arm_seconds = 0.0
        self.delivered = 0
        self.cpu_seconds = 0.0  # of the whole process, its start included

    def __enter__(self) -> Self:
        start = time.perf_counter()
        self._child = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self._workload.wait(probed=True)
        except TimeoutError:
            self._end()
            raise
        self.arm_seconds = time.perf_counter() - start
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """It gets the time to print what it still has."""
        self._end()
        self._workload.wait(probed=False)
        lines = self._output.read_bytes().splitlines()
        self.delivered = sum(1 for line in lines if line[:1].isdigit() and int(line.split(b" ", 1)[0]) < WARM_ID)
        shutil.rmtree(self._output.parent)
        expected = "{} {} {}".format(*CAPTURED).encode()
        assert not self.delivered or any(line.endswith(expected) for line in lines), "bpftrace read something else"

    def _end(self) -> None:
        self.cpu_seconds = workload.cpu_seconds(self._child.pid)
        stop(self._child)


def attached(child: subprocess.Popen[bytes]) -> int:
    """How many perf events it holds: one a site, and one a CPU to print from."""
    found = 0
    for each in Path(f"/proc/{child.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found += "perf_event" in str(each.readlink())
    return found


def stop(child: subprocess.Popen[bytes], seconds: float = STOP_SECONDS) -> float | None:
    """Seconds from the signal that it obeyed to its end. None: it obeyed none and was killed; its probes went with it."""
    for _ in range(SIGNALS):
        start = time.perf_counter()
        child.send_signal(signal.SIGINT)
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
        return time.perf_counter() - start
    child.kill()
    child.wait()
    return None
