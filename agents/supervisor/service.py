"""Keep the probes that should run alive, and no others: the agent's answer to everything the gateway says.

    desired     envelope -> admission -> ACK and a life, or NACK; a higher version renews or replaces
    retracted   the life ends, with the reason that came
    reconciled  what runs and is not wanted any more ends
    leased      until when probes may run without further word; past it each life ends by itself

Implements `agents.uplink.model.Handler`. One lock orders what the gateway says; the lives run beside it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Protocol

from wire.v1 import gateway_pb2

from agents.admission.model import AdmittedSpec, AlreadyEnded, HostPolicy, RefusalReason, Refused
from agents.admission.service import Admission
from agents.binaries.model import Unresolved
from agents.compiler.model import CannotCompile
from agents.processes.model import NoProcess
from agents.processes.service import choose
from agents.runtime.model import ArmFailed
from agents.stages.accounting import Accounting
from agents.stages.binding import refuse_denied
from agents.stages.forecast import MAX_DROPPED, MAX_TEMPLATE, count, forecast
from agents.stages.functions import MAX_FUNCTIONS, FunctionLister, as_json
from agents.stages.service import Prober
from agents.supervisor.dry_run import look
from agents.supervisor.host_budget import HostBudget, Share
from agents.supervisor.life import Life
from agents.supervisor.lifecycle import FOR_GOOD, EndReason, Event, after
from agents.supervisor.loading import Loading
from agents.supervisor.model import Ended, Reports, Shared
from agents.supervisor.owner import STOP_SECONDS, chosen, shown, why_not
from agents.supervisor.owner_socket import MAX_REASON, CannotDo
from agents.supervisor.pulse import Pulse
from agents.supervisor.retirements import Retirements
from agents.supervisor.sample_rows import sample_rows
from agents.supervisor.workers import Workers
from agents.uplink.model import DryRunRows, QuestionRefused
from language.errors import TemplateError
from language.model import TargetSpec

MAX_PROBES: Final = 64  # alive on one host: each has a ring of some MiB and a thread
MAX_REMEMBERED: Final = 1000  # ended ones whose last status can be told again
MAX_PATTERN: Final = 1024  # characters of a function pattern
TOMBSTONE: Final = (
    "tombstone: the agent died while it loaded this version, which is therefore not loaded again on this host; "
    "change the tracepoint to try once more"
)
UNKNOWN: Final = "unknown"  # in a NACK for bytes that name no tracepoint

_LOG: Final = logging.getLogger(__name__)


class Answers(Reports, Protocol):
    """The uplink, as far as the supervisor uses it."""

    def acknowledge(self, tracepoint_id: str, version: int, nonce: str) -> None: ...
    def refuse(self, nack: gateway_pb2.Nack) -> None: ...


class Supervisor:
    """Everything that lives on this host. `run` must be running before the first message comes."""

    def __init__(
        self,
        admission: Admission,
        prober: Prober,
        functions: FunctionLister,
        answers: Answers,
        loading: Loading,
        budget: HostBudget,
    ) -> None:
        self._admission = admission
        self._prober = prober
        self._loading = loading
        self._budget = budget
        self._workers = Workers()
        self._shared = Shared(prober, answers, lambda: self._leased_until, loading, self._workers, self._retire)
        self._retirements = Retirements(admission.retire_all)
        self._functions = functions
        self._answers = answers
        self._lives: dict[str, Life] = {}
        self._tasks: dict[str, asyncio.Task[Ended]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._order = asyncio.Lock()
        self._leased_until = 0
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Until `stop`. A life that breaks in an unforeseen way takes the agent down: all probes vanish with it."""
        pulse = Pulse(
            lambda: [life for life in self._lives.values() if life.alive],
            self._prober.source.changes,
            self._workers.files,
        )
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                await pulse.run(self._stopped, self._keep_host_budget)
                for life in self._lives.values():
                    life.pause()
        finally:
            self._workers.stop()

    def stop(self) -> None:
        """Detach everything and send what was captured; the tracepoints are not over and go on after a restart."""
        self._stopped.set()

    # --- Handler ---------------------------------------------------------------------------------------------

    def running(self) -> Mapping[str, int]:
        return {key: life.spec.version for key, life in self._lives.items() if life.alive}

    def connected(self) -> None:
        for life in self._lives.values():
            life.report()

    def leased(self, until_boot_ns: int) -> None:
        self._leased_until = until_boot_ns

    async def desired(self, envelope: bytes, nonce: str) -> None:
        async with self._order:
            await self._retirements.settled()  # what ended before this came is known to have
            try:
                spec = await asyncio.to_thread(self._admission.admit, envelope)
                if self._stopped.is_set():
                    return  # it goes on when the agent is back
                if self._loading.died_with(spec.tracepoint_id, spec.version):
                    self._bury(spec, nonce)
                    return
                await self._start_or_renew(spec)
            except AlreadyEnded as ended:
                self._answers.acknowledge(ended.tracepoint_id, ended.version, nonce)
                self._answers.report(_ended_before(ended))
            except Refused as refused:
                _LOG.warning("refused %s: %s", refused.tracepoint_id or "an envelope", refused)
                self._answers.refuse(
                    gateway_pb2.Nack(
                        tracepoint_id=refused.tracepoint_id or UNKNOWN,
                        version=refused.version,
                        nonce=nonce,
                        reason=refused.reason,
                        detail=refused.detail,
                    )
                )
            else:
                self._answers.acknowledge(spec.tracepoint_id, spec.version, nonce)

    async def retracted(self, tracepoint_id: str, reason: str) -> None:
        async with self._order:
            word = EndReason(reason) if reason in _RETRACTIONS else EndReason.DELETED
            life = self._lives.get(tracepoint_id)
            if life is None:
                status = gateway_pb2.Status(
                    tracepoint_id=tracepoint_id,
                    state=gateway_pb2.STATE_ENDED,
                    end_reason=word,
                    detail="this host runs nothing of it",
                )
                self._answers.report(status)
                return
            lived = life.alive
            life.end(word)  # first of all, and without the others that are retracted waiting for its end to be written
            self._retirements.add(tracepoint_id, life.spec.version, word)
        await self._retirements.settled()
        if not lived:
            life.report()

    async def reconciled(self, desired: Mapping[str, int]) -> None:
        async with self._order:
            for tracepoint_id, life in self._lives.items():
                if life.alive and tracepoint_id not in desired:
                    _LOG.info("%s is not wanted any more", tracepoint_id)
                    life.end(EndReason.DELETED)

    async def functions(self, service: str, pattern: str, limit: int) -> str:
        if len(pattern) > MAX_PATTERN:
            raise QuestionRefused(f"the pattern is longer than {MAX_PATTERN} characters")
        bounded = min(limit or MAX_FUNCTIONS, MAX_FUNCTIONS)
        return await asyncio.to_thread(self._list_functions, service, pattern or None, bounded)

    async def explain(self, question: gateway_pb2.ExplainQuestion) -> str:
        if len(question.template) > MAX_TEMPLATE or len(question.dropped) > MAX_DROPPED:
            raise QuestionRefused(f"a template has at most {MAX_TEMPLATE} bytes and {MAX_DROPPED} dropped columns")
        if question.rows:
            return await asyncio.to_thread(sample_rows, question)
        asked = (self._prober, question.template, question.service or None, tuple(question.pids))
        try:
            if question.count_only:
                return json.dumps(await asyncio.to_thread(count, *asked))
            found = await asyncio.to_thread(forecast, *asked, frozenset(question.dropped))
        except (NoProcess, Unresolved, Refused) as error:
            raise QuestionRefused(f"{error.reason}: {error.detail}") from error
        except TemplateError as error:
            raise QuestionRefused(f"the template cannot be used here: {error}") from error
        return json.dumps(found)

    async def dry_run(self, envelope: bytes) -> DryRunRows:
        try:
            admitted = await asyncio.to_thread(self._admission.admit_dry_run, envelope)
            _LOG.info("dry run in %s asked for by %s", admitted.environment, admitted.spec.requested_by)
            return await asyncio.to_thread(look, self._prober, admitted)
        except (NoProcess, Unresolved, CannotCompile, ArmFailed, Refused) as error:
            raise QuestionRefused(f"{error.reason}: {error.detail}") from error

    def locked(self, build_ids: Collection[str]) -> None:
        self._prober.locked.replace(build_ids)
        for life in self._lives.values():
            if life.alive and any(self._prober.locked.holds(build_id) for build_id in life.build_ids):
                life.end(EndReason.LOCKED, "its executable was locked")

    # --- the host's owner ------------------------------------------------------------------------------------

    def listed(self) -> Sequence[dict[str, Any]]:
        return [shown(life) for life in self._lives.values() if life.alive]

    async def stop_here(self, which: Collection[str] | None, reason: str) -> tuple[list[str], list[str]]:
        """End these (None: all) for good, later versions too; which are over, and which are still counted. Raises CannotDo."""
        async with self._order:
            found = chosen((life for life in self._lives.values() if life.alive), which)
            if which is not None and not found:
                raise CannotDo(f"nothing that is called {', '.join(sorted(which))} runs here: `probegate-agent list`")
            words = "".join(letter for letter in reason[:MAX_REASON] if letter.isprintable()).strip()
            said = f"the host's owner stopped it{f': {words}' if words else ''}"
            return await self._ended_here(dict.fromkeys(found, said))

    async def rules_changed(self, policy: HostPolicy) -> list[str]:
        async with self._order:
            self._prober.host.replace(policy)
            self._budget.allow(policy.limits.host_cpu)
            found = {key: why_not(life, policy) for key, life in self._lives.items() if life.alive}
            stopped, _ = await self._ended_here({key: why for key, why in found.items() if why})
            return stopped

    async def _ended_here(self, why: Mapping[str, str]) -> tuple[list[str], list[str]]:
        for key, words in why.items():  # all out of their targets first, then one writing
            self._lives[key].end(EndReason.HOST_OWNER, words)
            self._retirements.add(key, self._lives[key].spec.version, EndReason.HOST_OWNER)
        await self._retirements.settled()
        if why:
            await asyncio.wait([self._tasks[key] for key in why], timeout=STOP_SECONDS)
        over = {key for key in why if not self._lives[key].alive}
        return sorted(over), sorted(set(why) - over)

    # --- inside ----------------------------------------------------------------------------------------------

    async def _start_or_renew(self, spec: AdmittedSpec) -> None:
        deadline = self._prober.stages.boot_ns() + int(spec.remaining.total_seconds() * 1e9)
        life = self._lives.get(spec.tracepoint_id)
        if life is not None and life.alive:
            if spec.version == life.spec.version:
                return  # told twice
            if spec.content == life.spec.content and not life.ending:
                life.renew(spec, deadline)
                return
        elif life is not None and spec.version <= life.spec.version and life.end_reason in FOR_GOOD:
            raise _over_already(spec, life.end_reason)  # while this envelope was being looked at
        elif sum(other.alive for other in self._lives.values()) >= MAX_PROBES:
            raise self._too_many(spec)
        before = await self._taken_over(spec, life) if life is not None else None
        self._start(spec, deadline, before)

    def _start(self, spec: AdmittedSpec, deadline: int, before: Accounting | None) -> None:
        if self._group is None:
            raise RuntimeError("the supervisor does not run")
        life = Life(spec, deadline, self._shared, before)
        self._lives.pop(spec.tracepoint_id, None)
        self._lives[spec.tracepoint_id] = life
        self._tasks[spec.tracepoint_id] = self._group.create_task(self._live(life))
        self._forget_oldest()

    def _keep_host_budget(self) -> None:
        lives = {key: life for key, life in self._lives.items() if life.alive and not life.ending}
        shares = [Share(life.spec.tenant, key, life.cpu_share) for key, life in lives.items()]
        for share, reason in self._budget.judge(shares, self._prober.stages.boot_ns()):
            _LOG.warning("%s: %s", share.tracepoint_id, reason)
            lives[share.tracepoint_id].end(EndReason.BUDGET, reason)

    def _bury(self, spec: AdmittedSpec, nonce: str) -> None:
        """It took the agent down while it was being loaded: heard, and not tried again."""
        self._answers.acknowledge(spec.tracepoint_id, spec.version, nonce)
        status = gateway_pb2.Status(
            tracepoint_id=spec.tracepoint_id,
            version=spec.version,
            state=gateway_pb2.STATE_FAILED,
            end_reason=EndReason.ERROR,
            detail=TOMBSTONE,
            event="agent.refuse",
        )
        self._answers.report(status)

    async def _taken_over(self, spec: AdmittedSpec, life: Life) -> Accounting:
        """End the earlier life quietly; its hits count on in the new one."""
        event = Event.REVIVE if life.spec.version == spec.version else Event.REPLACE
        after(life.state, event)
        life.pause()
        ended = await self._tasks[spec.tracepoint_id]
        return ended.accounting

    async def _live(self, life: Life) -> Ended:
        ended = await life.run()
        if ended.reason is EndReason.CANARY:  # the tenant's rules are not to be trusted
            for other in self._lives.values():
                if other.alive and other.spec.tenant == life.spec.tenant:
                    other.end(EndReason.CANARY, f"a planted card came out of {life.spec.tracepoint_id} in clear")
        return ended

    async def _retire(self, tracepoint_id: str, version: int, reason: EndReason) -> None:
        self._retirements.add(tracepoint_id, version, reason)
        await self._retirements.settled()

    def _forget_oldest(self) -> None:
        over = [key for key, life in self._lives.items() if not life.alive][: max(0, len(self._lives) - MAX_REMEMBERED)]
        for key in over:
            del self._lives[key], self._tasks[key]

    def _list_functions(self, service: str, pattern: str | None, limit: int) -> str:
        try:
            process = choose(self._prober.source, TargetSpec(service=service or None))[0]
            refuse_denied(self._prober.host.now, process)
            return json.dumps(as_json(self._functions.functions(process.file, pattern, limit)))
        except (NoProcess, Unresolved, Refused) as error:
            raise QuestionRefused(f"{error.reason}: {error.detail}") from error

    @staticmethod
    def _too_many(spec: AdmittedSpec) -> Refused:
        refused = Refused(
            RefusalReason.OVER_LOCAL_LIMITS, f"{MAX_PROBES} probes are alive on this host: end one of them first"
        )
        refused.tracepoint_id, refused.version = spec.tracepoint_id, spec.version
        return refused


def _over_already(spec: AdmittedSpec, reason: str) -> AlreadyEnded:
    ended = AlreadyEnded(reason)
    ended.tracepoint_id, ended.version = spec.tracepoint_id, spec.version
    return ended


def _ended_before(ended: AlreadyEnded) -> gateway_pb2.Status:
    return gateway_pb2.Status(
        tracepoint_id=ended.tracepoint_id,
        version=ended.version,
        state=gateway_pb2.STATE_ENDED,
        end_reason=ended.end_reason,
        detail=ended.detail,
    )


_RETRACTIONS: Final = frozenset({EndReason.DELETED, EndReason.REVOKED, EndReason.LOCKED})
