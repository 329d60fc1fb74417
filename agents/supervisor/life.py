"""One tracepoint on this host from admission to its end: arm when a process is there, hand on rows, end on time.

Everything that blocks (DWARF, BPF, decoding) runs on one thread of its own, in order; the event loop stays free for
heartbeats. What ends a life is looked at in one place, `_end_due`, some times a second; the kernel's own deadline and
switch hold in between.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from wire.v1 import gateway_pb2, records_pb2

from agents.admission.model import AdmittedSpec, Refused
from agents.binaries.model import Unresolved
from agents.compiler.model import CannotCompile
from agents.masking.model import MaskedBatch
from agents.processes.model import NoProcess, NoProcessReason
from agents.runtime.model import ArmFailed, ArmReason
from agents.stages.accounting import Accounting
from agents.stages.order import order_for
from agents.stages.probe import place_of
from agents.stages.service import Prober
from agents.supervisor.lifecycle import ALIVE, EndReason, Event, State, after
from agents.uplink.model import BatchHead

POLL_SECONDS: Final = 0.05  # while rows come
IDLE_SECONDS: Final = 0.2  # while none do; a person does not see the difference
ADOPT_SECONDS: Final = 3.0  # how soon a process that starts later is probed
STATUS_SECONDS: Final = 5.0  # how often the accounting is told when no rows carry it
BUDGET_SECONDS: Final = 0.4  # a window of agents.stages.budget: one that is over goes within two seconds
ABSENT_SECONDS: Final = 15.0  # a service without processes for this long has gone; a restart takes less

_T = TypeVar("_T")
_LOG: Final = logging.getLogger(__name__)
_CannotStart = (Unresolved, CannotCompile, ArmFailed, Refused, NoProcess)


class Reports(Protocol):
    """The uplink, as far as a life uses it."""

    def report(self, status: gateway_pb2.Status) -> None: ...
    def send(self, batch: MaskedBatch, head: BatchHead) -> None: ...


@dataclass(frozen=True)
class Ended:
    """How a life came to its end; an empty reason means that it shall go on later (replaced, or the agent stops)."""

    reason: EndReason | None
    accounting: Accounting


class Life:
    """One tracepoint. `run` is its task; the other methods are called from the same event loop."""

    def __init__(
        self,
        spec: AdmittedSpec,
        deadline_boot_ns: int,
        prober: Prober,
        reports: Reports,
        leased_until: Callable[[], int],
        before: Accounting | None = None,
    ) -> None:
        self.spec = spec
        self.state = State.ADMITTED
        self.end_reason: EndReason | None = None
        self._deadline = deadline_boot_ns
        self._prober = prober
        self._boot_ns = prober.stages.boot_ns
        self._reports = reports
        self._leased_until = leased_until
        self._before = before or Accounting()  # of earlier versions of this tracepoint
        self._probe = prober.prepare(order_for(spec), deadline_boot_ns)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"probe-{spec.tracepoint_id}")
        self._asked: EndReason | None = None
        self._paused = False
        self._wake = asyncio.Event()
        self._detail = ""
        self._extended = False
        self._told: Accounting | None = None
        # As of the last call on the thread: the probe itself belongs to it.
        self._sites = 0
        self._processes = 0
        self._build_ids: tuple[str, ...] = ()

    # --- asked from outside ----------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        return self.state in ALIVE

    def end(self, reason: EndReason) -> None:
        """Soon, with a last accounting. The first reason stays."""
        self._asked = self._asked or reason
        self._wake.set()

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
            state=_WIRE_STATES[self.state],
            detail=self._detail,
            sites=self._sites,
            processes=self._processes,
            end_reason=self.end_reason or "",
            event=event,
            build_ids=self._build_ids,
        )
        if self._told is not None:
            status.accounting.CopyFrom(to_wire(self._told))
        self._reports.report(status)

    # --- the task --------------------------------------------------------------------------------------------

    async def run(self) -> Ended:
        try:
            return await self._run()
        finally:
            await self._blocking(self._probe.close)
            self._thread.shutdown(wait=False)

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
                await self._sleep(ADOPT_SECONDS)
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
        _LOG.info("armed %s: %d sites in %d processes", self._name, self._sites, self._processes)
        self.report("agent.compile")
        self.report("agent.attach")

    async def _until_ended(self) -> EndReason | None:
        """Hand on rows until something ends it; None when it is paused."""
        adopted = budgeted = told = seen_process = self._boot_ns()
        while not self._paused:
            await self._extend_if_renewed()
            batches, accounting, processes = await self._blocking(self._look)
            now = self._boot_ns()
            self._send(batches, accounting)
            self._processes = len(processes)
            if processes:
                seen_process = now
            if (reason := self._end_due()) is not None:
                return reason
            if self._probe.full:
                return EndReason.MAX_HITS
            if not processes and (self.spec.target.pids or _since(seen_process, now) > ABSENT_SECONDS):
                return EndReason.TARGET_EXITED
            if _since(budgeted, now) > BUDGET_SECONDS:
                budgeted = now
                if await self._blocking(self._probe.over_budget):
                    self._detail = f"used {self._probe.cpu_share:.1%} of a core, allowed {self.spec.limits.cpu:.1%}"
                    return EndReason.BUDGET
            if _since(adopted, now) > ADOPT_SECONDS:
                adopted = now
                await self._adopt_more()
            if _since(told, now) > STATUS_SECONDS:
                told = now
                if self._told != accounting:
                    self._told = accounting
                    self.report()
            await self._sleep(POLL_SECONDS if batches else IDLE_SECONDS)
        return None

    def _look(self) -> tuple[tuple[MaskedBatch, ...], Accounting, tuple[int, ...]]:
        batches = self._probe.take()
        return batches, self._before + self._probe.accounting(), self._probe.processes

    async def _extend_if_renewed(self) -> None:
        if self._extended:
            self._extended = False
            await self._blocking(lambda: self._probe.extend(self._deadline))
            _LOG.info("renewed %s", self._name)
            self.report()

    async def _adopt_more(self) -> None:
        """Processes that started later. What is wrong with one of them does not end the others."""
        try:
            added = await self._adopt()
        except _CannotStart as error:
            self._waits(f"not probed in a new process: {error.reason}: {error.detail}")
            return
        if added:
            self._detail = ""
            self.report("agent.attach")

    async def _adopt(self) -> int:
        def adopt() -> tuple[int, int, int, tuple[str, ...]]:
            added = self._probe.adopt()
            files = sorted({file.resolved.binary.build_id for file in self._probe.files})
            return added, self._probe.sites, len(self._probe.processes), tuple(files)

        added, self._sites, self._processes, self._build_ids = await self._blocking(adopt)
        return added

    def _end_due(self) -> EndReason | None:
        now = self._boot_ns()
        if now >= self._leased_until():
            return EndReason.LEASE
        if self._asked is not None:
            return self._asked
        return EndReason.TTL if now >= self._deadline else None

    # --- the end ---------------------------------------------------------------------------------------------

    async def _over(self, reason: EndReason | None) -> Ended:
        """Detach, drain and count; the last batch carries the reason and the final accounting."""
        was_armed = self.state is State.ARMED
        empty = await self._blocking(self._probe.no_rows)
        batches, counted = await self._blocking(self._probe.end)
        accounting = self._before + counted
        self._told = accounting
        self._sites = self._processes = 0
        if reason is None:
            self._send(batches, accounting)
            return Ended(None, accounting)
        self.end_reason = reason
        self.state = after(self.state, Event.END)
        if not batches and empty is not None:
            batches = (empty,)
        self._send(batches, accounting, reason)
        _LOG.info("ended %s: %s; %d hits, %d delivered", self._name, reason, accounting.hits, accounting.delivered)
        self.report("agent.detach" if was_armed else "")
        return Ended(reason, accounting)

    async def _failed(self, detail: str, event: str) -> Ended:
        await self._blocking(self._probe.close)
        self._sites = self._processes = 0
        self._detail = detail
        self.end_reason = EndReason.ERROR
        self.state = after(self.state, Event.FAIL)
        _LOG.warning("cannot run %s: %s", self._name, detail)
        self.report(event)
        return Ended(EndReason.ERROR, self._told or self._before)

    def _send(self, batches: tuple[MaskedBatch, ...], accounting: Accounting, reason: EndReason | None = None) -> None:
        for number, batch in enumerate(batches, start=1):
            last = number == len(batches)
            head = BatchHead(
                tracepoint_id=self.spec.tracepoint_id,
                table=self.spec.table,
                table_version=self.spec.table_version,
                accounting=to_wire(accounting),
                end_reason=reason.value if reason is not None and last else "",
            )
            self._reports.send(batch, head)

    @property
    def _name(self) -> str:
        return f"{self.spec.tracepoint_id} ({self.spec.name}, version {self.spec.version})"

    async def _blocking(self, call: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def _sleep(self, seconds: float) -> None:
        """Or until somebody asks for something."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()


def to_wire(accounting: Accounting) -> records_pb2.Accounting:
    return records_pb2.Accounting(
        hits=accounting.hits,
        delivered=accounting.delivered,
        filtered=accounting.filtered,
        sampled_out=accounting.sampled_out,
        throttled=accounting.throttled,
        expired=accounting.expired,
        lost=accounting.lost,
    )


def _since(then_ns: int, now_ns: int) -> float:
    return (now_ns - then_ns) / 1e9


_WIRE_STATES: Final = {
    State.ADMITTED: gateway_pb2.STATE_ADMITTED,
    State.ARMED: gateway_pb2.STATE_ARMED,
    State.ENDED: gateway_pb2.STATE_ENDED,
    State.FAILED: gateway_pb2.STATE_FAILED,
}
