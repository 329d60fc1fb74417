"""One timer for all lives: what rests costs two loads of memory a beat, no thread, no timer and no system call of its own.

Enters: the lives and the processes of this host. Leaves: nothing; a life that has something to do is woken by its own
`beat`. Fast while rows come anywhere, slow while nothing does. `agents.supervisor.service` runs it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from typing import Final, Protocol

from agents.memory import give_back

BUSY_SECONDS: Final = 0.05  # while rows come: a ring is looked at this often for whether it fills
IDLE_SECONDS: Final = 0.25  # while none do; a person does not see the difference
TRIM_SECONDS: Final = 10.0  # how often freed memory is given back, while and after rows come
SCAN_SECONDS: Final = 3.0  # how soon a process that starts later is probed


class Beating(Protocol):
    def beat(self, changes: int) -> bool:
        """True while rows come. `changes` is the process table's number, as of the last look."""
        ...


class Pulse:
    def __init__(self, lives: Callable[[], Iterable[Beating]], changes: Callable[[], int], files: Executor) -> None:
        self._lives = lives
        self._look = changes
        self._files = files
        self._changes = 0

    async def run(self, stopped: asyncio.Event, after_beat: Callable[[], None]) -> None:
        """Until `stopped`. `after_beat` is called when all lives were asked."""
        loop = asyncio.get_running_loop()
        scan: asyncio.Future[int] | None = None
        scanned = trimmed = loop.time()
        used = True  # arming needs memory too
        while not stopped.is_set():
            if scan is not None and scan.done():
                self._changes, scan = scan.result(), None
            lives = tuple(self._lives())
            if lives and scan is None and loop.time() - scanned >= SCAN_SECONDS:
                scanned, scan = loop.time(), loop.run_in_executor(self._files, self._look)
            busy = sum(life.beat(self._changes) for life in lives) > 0  # each of them is asked
            after_beat()
            if loop.time() - trimmed >= TRIM_SECONDS and (busy or used):
                trimmed, used = loop.time(), busy
                loop.run_in_executor(self._files, give_back)
            used |= busy
            await asyncio.sleep(BUSY_SECONDS if busy else IDLE_SECONDS)
