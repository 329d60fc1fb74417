"""Know when a traced process ends, and that a pid still names the process that was meant.

Enters: Process (pid and start time). Leaves: pids that have ended. A pidfd names one process for ever: once it is open
and the start time fits, the number cannot come to mean another process without the pidfd saying so first.
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterable
from typing import Final

from agents.processes.model import Process
from agents.processes.proc import ProcFs

_AT_ONCE: Final = 0  # ms: look, do not wait


class ProcessWatch:
    """Open pidfds of the processes that still are the ones that were meant."""

    def __init__(self, processes: Iterable[Process], source: ProcFs | None = None) -> None:
        source = source or ProcFs()
        self._poll = select.poll()
        self._pid_of: dict[int, int] = {}  # pidfd -> pid
        for process in processes:
            try:
                pidfd = os.pidfd_open(process.pid)
            except ProcessLookupError:
                continue
            if not source.is_alive(process):  # after the pidfd is open: now the answer cannot go stale unseen
                os.close(pidfd)
                continue
            self._pid_of[pidfd] = process.pid
            self._poll.register(pidfd, select.POLLIN)

    @property
    def alive(self) -> tuple[int, ...]:
        """As of the last `ended`."""
        return tuple(sorted(self._pid_of.values()))

    def ended(self, wait_ms: int = _AT_ONCE) -> tuple[int, ...]:
        """The pids that have ended since the last call, or do so within `wait_ms`; they are watched no longer."""
        gone = []
        for pidfd, _ in self._poll.poll(wait_ms):
            self._poll.unregister(pidfd)
            os.close(pidfd)
            gone.append(self._pid_of.pop(pidfd))
        return tuple(gone)

    def close(self) -> None:
        for pidfd in self._pid_of:
            os.close(pidfd)
        self._pid_of.clear()
        self._poll = select.poll()
