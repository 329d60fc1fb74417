"""One tracepoint on this host from admission to its end: arm when a process is there, hand on rows, end on time.

Everything that blocks (DWARF, BPF, decoding) runs on shared threads, one call of a life after the other; the event loop
stays free for heartbeats. Between two calls a life rests: `pulse` asks it some times a second whether anything is due
(`beat`), which costs nothing while nothing fires. Rows are gathered into few batches, but the first come at once. What
ends a life is looked at in one place, `_end_due`; the kernel's own deadline and switch hold in between.
The target does not wait for rows: what a probe costs is judged at every beat, and a life that is told to end detaches
at once (`end`), whatever its batches still need; the last of them and the final accounting follow.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final, TypeVar

from wire.canary import card, minute_of
from wire.v1 import gateway_pb2

from agents.admission.model import AdmittedSpec, Refused
from agents.binaries.model import Unresolved
from agents.compiler.model import CannotCompile
from agents.masking.model import MaskedBatch
from agents.processes.model import NoProcess, NoProcessReason, Process
from agents.runtime.model import ArmFailed, ArmReason
from agents.stages.accounting import Accounting
from agents.stages.binding import BoundFile
from agents.stages.canary import escaped
from agents.stages.order import order_for
from agents.stages.probe import place_of
from agents.supervisor.lifecycle import ALIVE, FOR_GOOD, EndReason, Event, State, after
from agents.supervisor.model import Ended, Shared
from agents.supervisor.wire_forms import WIRE_STATES, accounting_message
from agents.uplink.model import BatchHead

GATHER_SECONDS: Final = (
    1.0  # rows of a probe that fires on and on wait for each other so long: each batch is a transaction
)
BUSY_SECONDS: Final = 2.0  # after its last rows a probe counts as busy
STATUS_SECONDS: Final = 5.0  # how often the accounting is told when no rows carry it
LOOK_SECONDS: Final = 0.3  # how often a probe that rests is asked for its processes
ABSENT_SECONDS: Final = 15.0  # a service without processes for this long has gone; a restart takes less

_T = TypeVar("_T")
_LOG: Final = logging.getLogger(__name__)
_CannotStart = (Unresolved, CannotCompile, ArmFailed, Refused, NoProcess)


class Life:
    """One tracepoint. `run` is its task; the other methods are called from the same event loop."""

    def __init__(
        self, spec: AdmittedSpec, deadline_boot_ns: int, shared: Shared, before: Accounting | None = None
    ) -> None:
        self.spec = spec
        self.state = State.ADMITTED
        self.end_reason: EndReason | None = None
        self._deadline = deadline_boot_ns
        self._shared = shared
        self._boot_ns = shared.prober.stages.boot_ns
        self._before = before or Accounting()  # of earlier versions of this tracepoint
        self._probe = shared.prober.prepare(order_for(spec), deadline_boot_ns)
        self._probe.policy_until = shared.leased_until
        self._one_call = threading.Lock()
        self._asked: EndReason | None = None
        self._detaching: asyncio.Future[None] | None = None
        self._paused = False
        self._wake = asyncio.Event()
        self._resting = False  # no call runs on a thread: the probe may be looked at from the event loop
        self._detail = ""
        self._extended = False
        self._told: Accounting | None = None  # by rows or by a status
        self._reported: Accounting | None = None  # by a status: what people see beside the tracepoint
        self._changes = 0
        self._searched = -1  # the process table's number when the target was last looked for
        # As of the last call on a thread.
        self._sites = 0
        self._processes = 0
        self._build_ids: tuple[str, ...] = ()
        # When what was last done: on the boot clock, but for rows.
        self._looked_at = self._told_at = self._seen_process = self._boot_ns()
        self._hits_told = 0
        self._planted = 0  # the minute of the last canary
        self._rows_at = float("-inf")

    # --- asked from outside ----------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        return self.state in ALIVE

    @property
    def ending(self) -> bool:
        return self._asked is not None

    @property
    def cpu_share(self) -> float:
        """Of one core, in the last whole window."""
        return self._probe.cpu_share if self.state is State.ARMED else 0.0

    @property
    def build_ids(self) -> tuple[str, ...]:
        """Of the executables that it probes."""
        return self._build_ids

    @property
    def probed(self) -> tuple[Process, ...]:
        """What it was attached to; some may have ended."""
        return tuple(process for file in self._probe.files for process, _ in file.processes)

    def end(self, reason: EndReason, detail: str = "") -> None:
        """Out of the target now, and over soon, with a last accounting. The first reason stays."""
        if self._asked is None:
            self._asked = reason
            self._detail = detail or self._detail
            if self.alive:
                threads = self._shared.workers.ends
                self._detaching = asyncio.get_running_loop().run_in_executor(threads, self._probe.detach)
                self._detaching.add_done_callback(self._said_detached)
        self._wake.set()

    def beat(self, changes: int) -> bool:
        """Wake up when anything is due. True while rows come. `changes`: the process table's number."""
        self._keep_budget()
        if self._resting and self._due(changes):
            self._wake.set()
        return asyncio.get_running_loop().time() - self._rows_at < BUSY_SECONDS

    def pause(self) -> None:
        """Detach without an end: a new version takes over, or the agent stops."""
        self._paused = True
        self._wake.set()

    def renew(self, spec: AdmittedSpec, deadline_boot_ns: int) -> None:
        self.state = after(self.state, Event.RENEW)
        self.spec = spec
        self._deadline = deadline_boot_ns
        self._extended = True
        self._wake.set()

    def report(self, event: str = "") -> None:
        """Say how it is. `event` is what the control plane writes into its audit log, once."""
        status = gateway_pb2.Status(
            tracepoint_id=self.spec.tracepoint_id,
            version=self.spec.version,
            state=WIRE_STATES[self.state],
            detail=self._detail,
            sites=self._sites,
            processes=self._processes,
            end_reason=self.end_reason or "",
            event=event,
            build_ids=self._build_ids,
        )
        if self._told is not None:
            status.accounting.CopyFrom(accounting_message(self._told))
            self._reported = self._told
        self._shared.reports.report(status)

    # --- the task --------------------------------------------------------------------------------------------

    async def run(self) -> Ended:
        try:
            return await self._run()
        finally:
            await self._rows(self._probe.close)

    async def _run(self) -> Ended:
        self.report("agent.admit")
        try:
            reason = await self._until_armed()
            if reason is None and not self._paused:
                reason = await self._until_ended()
            return await self._over(reason)
        except _CannotStart as error:
            column = f"column {error.column!r}: " if isinstance(error, CannotCompile) and error.column else ""
            event = "agent.refuse" if isinstance(error, Refused) else "agent.compile"
            return await self._failed(f"{error.reason}: {column}{error.detail}", event)
        except Exception as error:  # noqa: BLE001 -- one strange binary must not take the other probes down with it
            return await self._failed(f"internal: {place_of(error)}: please report this", "agent.detach")

    async def _until_armed(self) -> EndReason | None:
        """Wait for the target's first process. None: it is armed (or paused)."""
        while not self._paused:
            if (reason := self._end_due()) is not None:
                return reason
            try:
                await self._adopt()
            except (NoProcess, ArmFailed) as error:
                if isinstance(error, NoProcess) and error.reason is NoProcessReason.TOO_MANY:
                    raise
                if isinstance(error, ArmFailed) and error.reason is not ArmReason.PROCESS_GONE:
                    raise
                self._waits(f"{error.reason}: {error.detail}")
                await self._rest()
                continue
            self._armed()
            return None
        return None

    def _waits(self, detail: str) -> None:
        if detail != self._detail:
            self._detail = detail
            self.report()

    def _armed(self) -> None:
        self.state = after(self.state, Event.ARM)
        self._detail = ""
        self._told = self._before
        self._looked_at = self._told_at = self._seen_process = self._boot_ns()
        _LOG.info("armed %s: %d sites in %d processes", self._name, self._sites, self._processes)
        self.report("agent.compile")
        self.report("agent.attach")

    async def _until_ended(self) -> EndReason | None:
        """Hand on rows until something ends it; None when it is paused."""
        while not self._paused:
            await self._extend_if_renewed()
            if minute_of() > self._planted and not await self._canary_hidden():
                return self._asked
            batches, accounting, processes = await self._rows(self._look)
            now = self._boot_ns()
            self._send(batches, accounting)
            self._processes = len(processes)
            if processes:
                self._seen_process = now
            if (reason := self._end_due()) is not None:
                return reason
            if self._probe.full:
                return EndReason.MAX_HITS
            if not processes and (self.spec.target.pids or _since(self._seen_process, now) > ABSENT_SECONDS):
                return EndReason.TARGET_EXITED
            await self._adopt_more()
            if _since(self._told_at, now) > STATUS_SECONDS:
                self._told_at = now
                self._hits_told = self._probe.hits
                if self._reported != accounting:
                    self._told = accounting
                    self.report()
            if not self._probe.pressed():
                await self._rest()
        return None

    async def _canary_hidden(self) -> bool:
        """Send a planted card through; when it can be read afterwards, nothing else of this probe leaves the host."""
        self._planted = minute_of()
        planted = card(self.spec.tracepoint_id, self._planted)
        masked = await self._rows(lambda: self._probe.planted(planted, time.time_ns()))
        if masked is None:
            return True
        shown = escaped(masked, planted)
        if shown:
            self.end(EndReason.CANARY, f"a planted card came out in clear in {', '.join(shown)}")
            return False
        head = BatchHead(
            tracepoint_id=self.spec.tracepoint_id,
            table=self.spec.table,
            table_version=self.spec.table_version,
            accounting=accounting_message(self._told or self._before),
            canary=self._planted,
        )
        self._shared.reports.send(masked, head)
        return True

    def _look(self) -> tuple[tuple[MaskedBatch, ...], Accounting, tuple[int, ...]]:
        batches = self._probe.take()
        return batches, self._before + self._probe.accounting(), self._probe.processes

    async def _extend_if_renewed(self) -> None:
        if self._extended:
            self._extended = False
            await self._rows(lambda: self._probe.extend(self._deadline))
            _LOG.info("renewed %s", self._name)
            self.report()

    async def _adopt_more(self) -> None:
        """Processes that started later. What is wrong with one of them does not end the others."""
        if self._changes <= self._searched:
            return
        try:
            added = await self._adopt()
        except _CannotStart as error:
            self._waits(f"not probed in a new process: {error.reason}: {error.detail}")
            return
        if added:
            self._detail = ""
            self.report("agent.attach")

    async def _adopt(self) -> int:
        running = await self._rows(lambda: self._probe.processes)

        def find() -> tuple[BoundFile, ...]:
            self._searched = self._shared.prober.source.changes()  # before the search: what comes during it is new
            return self._probe.find(running)

        def arm() -> tuple[int, int, int, tuple[str, ...]]:
            with self._shared.loading.entered(self.spec.tracepoint_id, self.spec.version):
                added = self._probe.arm(found)
            files = sorted({file.resolved.binary.build_id for file in self._probe.files})
            return added, self._probe.sites, len(self._probe.processes), tuple(files)

        found = await self._on(self._shared.workers.files, find)
        if not found:
            return 0
        added, self._sites, self._processes, self._build_ids = await self._rows(arm)
        return added

    def _end_due(self) -> EndReason | None:
        now = self._boot_ns()
        if now >= self._shared.leased_until():
            return EndReason.LEASE
        if self._asked is not None:
            return self._asked
        return EndReason.TTL if now >= self._deadline else None

    # --- resting ---------------------------------------------------------------------------------------------

    async def _rest(self) -> None:
        """Until something is due, or somebody asks for something."""
        self._resting = True
        await self._wake.wait()
        self._resting = False
        self._wake.clear()

    def _due(self, changes: int) -> bool:
        self._changes = max(self._changes, changes)
        if self._changes > self._searched or self._end_due() is not None:
            return True
        if self.state is not State.ARMED:
            return False
        if self._changed() or minute_of() > self._planted:
            return True
        if self._probe.waiting():
            waited = asyncio.get_running_loop().time() - self._rows_at
            return waited >= GATHER_SECONDS or self._probe.pressed()
        return False

    def _changed(self) -> bool:
        """The look that needs the kernel, not at every beat."""
        now = self._boot_ns()
        if _since(self._looked_at, now) <= LOOK_SECONDS:
            return False
        self._looked_at = now
        if len(self._probe.processes) != self._processes:
            return True
        if not self._processes:
            return _since(self._seen_process, now) > ABSENT_SECONDS
        return self._probe.hits != self._hits_told and _since(self._told_at, now) > STATUS_SECONDS

    # --- the end ---------------------------------------------------------------------------------------------

    def _keep_budget(self) -> None:
        """By the kernel's counters alone, whatever runs on the threads. Ends it when it costs too much."""
        if self.state is State.ARMED and not self.ending and self._probe.over_budget():
            used = f"used {self._probe.cpu_share:.2%} of a core, allowed {self.spec.limits.cpu:.2%}"
            self.end(EndReason.BUDGET, used)

    def _said_detached(self, detaching: asyncio.Future[None]) -> None:
        """Why, before its last rows are masked: nobody should wonder meanwhile why none come."""
        if detaching.cancelled() or detaching.exception() is not None:
            return  # `_over` detaches once more, and says what is wrong
        if self.state is State.ARMED and self._asked is EndReason.BUDGET:
            self._sites = self._processes = 0
            self.report()

    async def _over(self, reason: EndReason | None) -> Ended:
        """Detach, drain and count; the last batch carries the reason and the final accounting."""
        was_armed = self.state is State.ARMED
        empty = await self._rows(self._probe.no_rows)
        batches, counted = await self._rows(self._probe.end)
        accounting = self._before + counted
        if reason is EndReason.CANARY:  # what masking did not hide once, it may not have hidden here
            accounting = accounting.withheld(sum(batch.columns.num_rows for batch in batches))
            batches = ()
        self._told = accounting
        self._sites = self._processes = 0
        if reason is None:
            self._send(batches, accounting)
            return Ended(None, accounting)
        if reason in FOR_GOOD:  # before anybody is told: no restart in between starts it again
            await self._shared.retire(self.spec.tracepoint_id, self.spec.version, reason)
        self.end_reason = reason
        self.state = after(self.state, Event.END)
        if not batches and empty is not None:
            batches = (empty,)
        self._send(batches, accounting, reason)
        _LOG.info("ended %s: %s; %d hits, %d delivered", self._name, reason, accounting.hits, accounting.delivered)
        self.report("agent.detach" if was_armed else "")
        return Ended(reason, accounting)

    async def _failed(self, detail: str, event: str) -> Ended:
        await self._rows(self._probe.close)
        self._sites = self._processes = 0
        self._detail = detail
        self.end_reason = EndReason.ERROR
        self.state = after(self.state, Event.FAIL)
        _LOG.warning("cannot run %s: %s", self._name, detail)
        self.report(event)
        return Ended(EndReason.ERROR, self._told or self._before)

    def _send(self, batches: tuple[MaskedBatch, ...], accounting: Accounting, reason: EndReason | None = None) -> None:
        if batches:
            self._rows_at = asyncio.get_running_loop().time()
            self._told = accounting
        for number, batch in enumerate(batches, start=1):
            last = number == len(batches)
            head = BatchHead(
                tracepoint_id=self.spec.tracepoint_id,
                table=self.spec.table,
                table_version=self.spec.table_version,
                accounting=accounting_message(accounting),
                end_reason=reason.value if reason is not None and last else "",
            )
            self._shared.reports.send(batch, head)

    @property
    def _name(self) -> str:
        return f"{self.spec.tracepoint_id} ({self.spec.name}, version {self.spec.version})"

    async def _rows(self, call: Callable[[], _T]) -> _T:
        return await self._on(self._shared.workers.rows, call)

    async def _on(self, threads: Executor, call: Callable[[], _T]) -> _T:
        def alone() -> _T:
            with self._one_call:  # the one before may still run, when its task was cancelled
                return call()

        return await asyncio.get_running_loop().run_in_executor(threads, alone)


def _since(then_ns: int, now_ns: int) -> float:
    return (now_ns - then_ns) / 1e9
