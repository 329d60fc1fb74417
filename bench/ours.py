"""Probegate on the same function: the agent's own steps from a name to Arrow columns, without a control plane."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from agents.binaries.model import ResolvedProbe
from agents.binaries.service import Binaries
from agents.compiler.model import CaptureRequest, CompileRequest, Counter
from agents.compiler.service import compile_probe
from agents.decoding.service import decode
from agents.processes.proc import ProcFs
from agents.runtime.features import probe_kernel
from agents.runtime.model import ArmRequest
from agents.runtime.service import arm
from agents.stages.accounting import account
from agents.stages.probe import DRAIN, GATHER_ROWS
from agents.supervisor.pulse import BUSY_SECONDS
from bench.figure import ROOT
from bench.workload import CAPTURED, Workload
from language import expressions
from language.model import At, LimitSpec

CACHE: Final = ROOT / ".cache" / "bench-binaries"
CAPTURES: Final = ("id", "units", "cents", "customer")  # the arguments' names in both languages
LIMITS: Final = LimitSpec(
    ttl=timedelta(minutes=10), max_events_per_second=2_000_000_000, max_hits=1 << 40, max_string=64
)
COSTED: Final = DRAIN  # rows for which the CPU is told together: batches are small when the machine has time
PAUSE_SECONDS: Final = BUSY_SECONDS  # between two looks into a ring that is not pressed: as the agent does
_SETTLE_SECONDS: Final = 0.02


def resolve(binary: Path, function: str, cache: Path = CACHE) -> ResolvedProbe:
    return Binaries(cache).resolve(str(binary), function, At.ENTRY, None)


class Probegate:
    """Traces `function` of the workload from when its context is entered; a thread turns records into Arrow columns.

    Without `reading` that begins when the context is left: as long as the ring has room. After it: `delivered` rows, `lost` hits. Calls of `Workload.probed` (id -1) are counted too: see `count_from_here`.
    """

    def __init__(self, workload: Workload, function: str, *, reading: bool = True) -> None:
        self._workload = workload
        self._function = function
        self._kernel = probe_kernel()
        self._stop = threading.Event()
        self._reading = reading
        self._rows = 0
        self._last: tuple[object, ...] | None = None
        self._before = (0, 0)
        self._costed = (0, 0)  # CPU time in ns and rows at the last figure
        self.arm_seconds = 0.0
        self.delivered = 0
        self.hits = self.lost = 0
        self.batch_costs: list[float] = []  # us of CPU an event, drain and decode together, one for every COSTED rows

    def __enter__(self) -> Self:
        process = ProcFs().find(self._workload.pid)
        assert process is not None
        start = time.perf_counter()
        resolved = resolve(self._workload.binary, self._function)
        captures = tuple(CaptureRequest(name, expressions.parse(name)) for name in CAPTURES)
        request = CompileRequest(At.ENTRY, None, captures, LIMITS)
        self._program = compile_probe(resolved, request, sleepable=self._kernel.sleepable)
        deadline = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + int(LIMITS.ttl.total_seconds() * 1e9)
        limits = ArmRequest(deadline, LIMITS.max_hits, LIMITS.max_events_per_second)
        bias = ProcFs().load_bias(process)
        self._probe = arm(self._program, [(process, bias)], limits, process.file, self._kernel, resolved.binary)
        self._workload.wait(probed=True)
        self.arm_seconds = time.perf_counter() - start
        self._offset = time.clock_gettime_ns(time.CLOCK_REALTIME) - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._reader = threading.Thread(target=self._read)
        if self._reading:
            self._reader.start()
        return self

    def count_from_here(self) -> None:
        """Leave out what has come up to now."""
        time.sleep(_SETTLE_SECONDS)
        self._before = self._counts()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._probe.detach()
        self._stop.set()
        if not self._reading:
            self._reader.start()
        self._reader.join()
        rows, hits = self._counts()
        self.delivered = rows - self._before[0]
        self.hits = hits - self._before[1]
        self.lost = self.hits - self.delivered
        assert self.balanced(), "hits are not the sum of their outcomes"
        self._probe.close()
        assert self._last in {None, CAPTURED}, f"captured {self._last}: a fast tracer that is wrong is worth nothing"

    def balanced(self) -> bool:
        """Whether every hit up to now has its outcome, once nothing fires and the ring is empty."""
        counters, drained = self._probe.counters(), self._rows
        return account(counters, drained, {}, self._probe.in_flight()).adds_up

    def _counts(self) -> tuple[int, int]:
        return self._rows, self._probe.counters()[Counter.HITS]

    def _spend(self) -> None:
        """A figure for every COSTED rows, looks into the empty ring between them included."""
        now, rows = time.thread_time_ns(), self._rows
        if rows - self._costed[1] >= COSTED:
            self.batch_costs.append((now - self._costed[0]) / 1e3 / (rows - self._costed[1]))
            self._costed = (now, rows)

    def _read(self) -> None:
        self._costed = (time.thread_time_ns(), self._rows)
        while True:
            ending = self._stop.is_set()  # looked at before the ring: what came until then is taken
            records = self._probe.drain(DRAIN)
            if len(records):
                columns = decode(self._program.layout, records, self._offset, None).columns
                self._rows += columns.num_rows
                self._spend()
                self._last = tuple(columns.column(name)[-1].as_py() for name in CAPTURES[1:])
            elif ending:
                return
            if len(records) < GATHER_ROWS and not ending:
                time.sleep(PAUSE_SECONDS)
