"""The peer: Debian's bpftrace, printing the same fields of the same function into a file."""

from __future__ import annotations

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
        self._child.send_signal(signal.SIGINT)
        try:
            self._child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
