"""The processes of this host, read once for all probes: what came, went or became another program since the last look.

Enters: ProcFs. Leaves: the same Processes that ProcFs gives, and `changes`, a number that stays the same while they do.
A look lists /proc and reads what is new; what is known is read again only when its `stat` line says that it runs another
program. A process that has just started is about to execute one, so young ones are looked at each time, the rest now
and then. Next: `agents.stages.binding` chooses among them; `agents.supervisor` asks again when `changes` moved.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from agents.processes.model import Process
from agents.processes.proc import ProcFs, Program

FRESH_SECONDS: Final = 0.05  # probes that are armed together share one look
YOUNG_SECONDS: Final = 10.0  # a shell's child has executed its program by then
WHOLE_SECONDS: Final = 15.0  # how late it may be seen that an old process executed another program


@dataclass
class _Known:
    process: Process | None  # None: a kernel thread, or one that was ending
    program: Program | None
    since: float
    looked: float


class ProcessTable:
    """`ProcessSource` for many probes. Safe to use from several threads."""

    def __init__(self, source: ProcFs | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source or ProcFs()
        self._clock = clock
        self._known: dict[int, _Known] = {}
        self._changes = 0
        self._looked = float("-inf")
        self._lock = threading.Lock()

    def all(self) -> tuple[Process, ...]:
        with self._lock:
            self._look()
            return tuple(known.process for known in self._known.values() if known.process is not None)

    def changes(self) -> int:
        """Look; another number than before when there are other processes than before."""
        with self._lock:
            self._look()
            return self._changes

    def find(self, pid: int) -> Process | None:
        return self._source.find(pid)

    def is_alive(self, process: Process) -> bool:
        return self._source.is_alive(process)

    def load_bias(self, process: Process) -> int:
        return self._source.load_bias(process)

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked < FRESH_SECONDS:
            return
        self._looked = now
        there = set(self._source.pids())
        for pid in self._known.keys() - there:
            self._changes += self._known.pop(pid).process is not None
        for pid in there:
            known = self._known.get(pid)
            if known is None:
                self._read(pid, now, now)
            elif now - known.since < YOUNG_SECONDS or now - known.looked >= WHOLE_SECONDS:
                known.looked = now
                if self._source.program(pid) != known.program:
                    self._read(pid, known.since, now)

    def _read(self, pid: int, since: float, now: float) -> None:
        """What it runs is read before what it is: one that becomes another meanwhile is seen to differ at the next look."""
        before = self._known.get(pid)
        program = self._source.program(pid)
        process = self._source.find(pid) if program is not None else None
        self._known[pid] = _Known(process, program, since, now)
        self._changes += process != (before.process if before is not None else None)
