"""One agent's Sync stream, from its Hello to its end: what it should run goes out, what it says of it comes in.

    out   Welcome; every desired spec of its audience that it does not run yet; Reconcile; then what changes
    in    Ack, Nack, Status -> StatusSink, those together that came together; Heartbeat -> LeaseRenewal, if Redis and the
          database are well; answers

Three tasks: one reads, one writes, one keeps the agent in step. Each step looks at everything that is desired and sends
the difference, woken by a hint or after REFRESH, so that a lost hint is only a delay. Whoever is slow, silent or revoked,
or outlives the certificate, is hung up on; the agent comes back by itself and says all that matters again.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from wire.v1 import gateway_pb2

from control_plane.delivery.deliveries import Deliveries
from control_plane.delivery.feed import DeliverableSpec, Feeds, TenantFeed
from control_plane.delivery.identification import Identification, KnownAgent
from control_plane.delivery.outgoing import Outgoing
from control_plane.delivery.ports import AgentReport, Change, ChangeKind, RetractReason, StatusSink
from control_plane.delivery.pulse import Pulse
from control_plane.delivery.switchboard import Answer, Switchboard
from control_plane.delivery.together import Arriving, together
from control_plane.foundation.clock import Clock
from control_plane.foundation.errors import Conflict, DependencyUnavailable, Invalid, TooMany, Unauthenticated
from control_plane.foundation.uninterrupted import uninterrupted

HELLO_SECONDS: Final = 10.0
REFRESH: Final = timedelta(seconds=15)  # a quarter of the default lease
AGAIN: Final = timedelta(seconds=1)  # while Redis does not answer, or not with all of it
MAX_QUESTIONS: Final = 8  # open at once to one agent, which answers four at a time
MAX_RUNNING: Final = 10_000  # tracepoints that a Hello may name
MAX_ID: Final = 128  # bytes of identifiers in reports
MAX_DETAIL: Final = 2048  # characters of a text in a report
MESSAGES_A_SECOND: Final = 50  # of one agent, on average; states change far less often
BURST: Final = 500  # a thousand probes that end together are twenty seconds of states
_REPORTS: Final = frozenset({"ack", "nack", "status"})
_LEASE_WORDS: Final = frozenset({"lease"})  # ends that are nobody's will: the agent may be given the spec again

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exchange:
    """What every session works with; built once."""

    feeds: Feeds
    pulse: Pulse
    deliveries: Deliveries
    switchboard: Switchboard
    identification: Identification
    statuses: StatusSink
    clock: Clock
    lease: timedelta
    verification_keys: tuple[gateway_pb2.VerificationKey, ...]


class Session:
    def __init__(self, known: KnownAgent, exchange: Exchange, context: Any) -> None:
        self._known = known
        self._with = exchange
        self._context = context
        self._out = Outgoing()
        self._changed = asyncio.Event()
        self._has: dict[str, int] = {}  # tracepoint -> version that the agent was sent, or said it runs
        self._withheld: dict[str, int] = {}  # tracepoint -> version that a lock on this agent took away
        self._told_locks: frozenset[str] | None = None  # so that an agent hears of the first ones, none included
        self._retracted: dict[str, str] = {}  # tracepoint -> why, heard of and not yet sent
        self._questions: dict[str, asyncio.Future[Answer]] = {}
        self._numbers = itertools.count(1)
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @property
    def known(self) -> KnownAgent:
        return self._known

    async def run(self, messages: AsyncIterator[gateway_pb2.AgentMessage]) -> None:
        """Until the agent ends the stream. Raises a ProbegateError, perhaps in a group, when we end it."""
        hello = await self._hello(messages)
        await uninterrupted(self._with.deliveries.seen(self._known, hello))
        self._has = dict(hello.running)
        self._out.put("welcome", self._welcome())
        self._with.switchboard.connect(self)
        feed = self._with.feeds.join(self._known.tenant, self, self._heard)
        try:
            async with asyncio.TaskGroup() as tasks:
                others = [
                    tasks.create_task(self._send()),
                    tasks.create_task(self._keep_in_step(feed)),
                    tasks.create_task(self._end_in_time()),
                ]
                await self._receive(messages)
                for task in others:
                    task.cancel()
        finally:
            self._with.feeds.leave(self._known.tenant, self)
            self._with.switchboard.disconnect(self)
            for question in self._questions.values():
                if not question.done():
                    question.set_exception(DependencyUnavailable("the agent lost its connection while it was asked"))

    def hang_up(self, why: str) -> None:
        if not self._over.done():
            self._over.set_result(why)

    async def ask_functions(self, service: str, pattern: str, limit: int) -> Answer:
        name = str(next(self._numbers))
        asked = gateway_pb2.FunctionsQuestion(question_id=name, service=service, pattern=pattern, limit=limit)
        return await self._ask(name, gateway_pb2.ServerMessage(functions=asked))

    async def ask_explain(self, question: gateway_pb2.ExplainQuestion) -> Answer:
        name = str(next(self._numbers))
        asked = gateway_pb2.ExplainQuestion()
        asked.CopyFrom(question)
        asked.question_id = name
        return await self._ask(name, gateway_pb2.ServerMessage(explain=asked))

    async def ask_dry_run(self, envelope: bytes) -> Answer:
        name = str(next(self._numbers))
        asked = gateway_pb2.DryRunQuestion(question_id=name, envelope=envelope)
        return await self._ask(name, gateway_pb2.ServerMessage(dry_run=asked))

    async def _ask(self, name: str, message: gateway_pb2.ServerMessage) -> Answer:
        if len(self._questions) >= MAX_QUESTIONS:
            raise TooMany("this agent is still answering earlier questions: try again")
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._questions[name] = answer
        try:
            self._out.put(f"question {name}", message)
            return await answer
        finally:
            del self._questions[name]

    # --- out -------------------------------------------------------------------------------------------------

    async def _send(self) -> None:
        while True:
            await self._context.write(await self._out.take())

    async def _keep_in_step(self, feed: TenantFeed) -> None:
        seen_at = reconcile_at = 0.0
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            if loop.time() >= seen_at:
                await uninterrupted(self._with.deliveries.seen(self._known))
                seen_at = loop.time() + REFRESH.total_seconds()
            due = loop.time() >= reconcile_at
            whole = await self._step(feed, reconcile=due)
            if due:  # what could not be told is still owed
                reconcile_at = loop.time() + (REFRESH if whole else AGAIN).total_seconds()
            try:
                async with asyncio.timeout(max(0.0, reconcile_at - loop.time())):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _step(self, feed: TenantFeed, *, reconcile: bool) -> bool:
        """Send the difference between what this agent should run and what it has. False: not all of it could be read."""
        retracted, self._retracted = self._retracted, {}
        try:
            snapshot = await feed.snapshot()
        except DependencyUnavailable:  # the feed has said so; without heartbeats the lease ends what runs
            self._retracted = retracted | self._retracted
            await asyncio.sleep(AGAIN.total_seconds())
            return False
        desired = {spec.tracepoint_id: spec for spec in snapshot.specs if self._known.uri in spec.audience}
        if self._known.agent in snapshot.locked:
            self._withheld |= {name: spec.version for name, spec in desired.items()}
        # What a lock took away does not come back with its release: only a newer version does.
        for name in [
            name for name, version in self._withheld.items() if name in desired and desired[name].version <= version
        ]:
            del desired[name]
            if self._has.pop(name, None) is not None:
                self._retract(name, RetractReason.LOCKED)
        for tracepoint_id, reason in retracted.items():
            if tracepoint_id not in desired and self._has.pop(tracepoint_id, None) is not None:
                self._retract(tracepoint_id, reason)
        if snapshot.locked_builds != self._told_locks:  # before any spec: nothing locked is armed even for a moment
            self._told_locks = snapshot.locked_builds
            locks = gateway_pb2.Locks(build_ids=sorted(snapshot.locked_builds))
            self._out.put("locks", gateway_pb2.ServerMessage(locks=locks))
        new = [spec for spec in desired.values() if self._has.get(spec.tracepoint_id, 0) < spec.version]
        await uninterrupted(self._with.deliveries.record(self._known, new))
        for spec in new:
            self._deliver(spec)
        if reconcile and snapshot.complete:
            self._has = {name: version for name, version in self._has.items() if name in desired}
            whole = gateway_pb2.Reconcile(desired={name: spec.version for name, spec in desired.items()})
            self._out.put("reconcile", gateway_pb2.ServerMessage(reconcile=whole))
        return snapshot.complete

    def _deliver(self, spec: DeliverableSpec) -> None:
        sent = gateway_pb2.Desired(envelope=spec.envelope, nonce=str(next(self._numbers)))
        self._out.put(f"spec {spec.tracepoint_id}", gateway_pb2.ServerMessage(desired=sent))
        self._has[spec.tracepoint_id] = spec.version

    def _retract(self, tracepoint_id: str, reason: str) -> None:
        sent = gateway_pb2.Retract(tracepoint_id=tracepoint_id, reason=reason, nonce=str(next(self._numbers)))
        self._out.put(f"spec {tracepoint_id}", gateway_pb2.ServerMessage(retract=sent))

    def _heard(self, changes: tuple[Change, ...]) -> None:
        for change in changes:
            if change.kind is ChangeKind.RETRACTED:
                known = change.reason in set(RetractReason)
                self._retracted[change.tracepoint_id] = change.reason if known else RetractReason.DELETED.value
        self._changed.set()

    def _welcome(self) -> gateway_pb2.ServerMessage:
        seconds = max(1, int(self._with.lease.total_seconds()))
        welcome = gateway_pb2.Welcome(lease_seconds=seconds, spec_keys=self._with.verification_keys)
        return gateway_pb2.ServerMessage(welcome=welcome)

    async def _end_in_time(self) -> None:
        left = (self._known.until - self._with.clock.now()).total_seconds()
        try:
            async with asyncio.timeout(max(0.0, left)):
                why = await self._over
        except TimeoutError as error:
            raise Unauthenticated("the certificate is over: connect again with the renewed one") from error
        raise Conflict(why)

    # --- in --------------------------------------------------------------------------------------------------

    async def _hello(self, messages: AsyncIterator[gateway_pb2.AgentMessage]) -> gateway_pb2.Hello:
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                first = await anext(messages)
        except (TimeoutError, StopAsyncIteration) as error:
            raise Invalid(f"a stream begins with a Hello within {HELLO_SECONDS:.0f} s") from error
        if first.WhichOneof("message") != "hello" or len(first.hello.running) > MAX_RUNNING:
            raise Invalid(f"a stream begins with a Hello that names at most {MAX_RUNNING} running tracepoints")
        return first.hello

    async def _receive(self, messages: AsyncIterator[gateway_pb2.AgentMessage]) -> None:
        pace = _Pace()
        async with Arriving(messages) as arriving:
            async for group in arriving:
                await pace.wait(len(group))
                for are_reports, run in itertools.groupby(group, _is_report):
                    if are_reports:
                        await self._report([_report_in(message) for message in run])
                    else:
                        for message in run:
                            await self._hear(message)

    async def _hear(self, message: gateway_pb2.AgentMessage) -> None:
        match message.WhichOneof("message"):
            case "heartbeat":
                await self._renew_lease(message.heartbeat.nonce)
            case "functions":
                self._answered(message.functions)
            case "explain":
                self._answered(message.explain)
            case "dry_run":
                self._looked(message.dry_run)
            case other:
                raise Invalid(f"{other or 'an empty message'} cannot come here")

    async def _renew_lease(self, nonce: int) -> None:
        """Only when all is well just now; otherwise silence, and the lease ends by itself."""
        try:
            await self._with.identification.still(self._known, self._context)
            await self._with.pulse.feel()
        except DependencyUnavailable as error:
            log.warning("the lease of %s is not renewed: %s", self._known.agent, error)
            return
        self._out.put("lease", gateway_pb2.ServerMessage(lease=gateway_pb2.LeaseRenewal(nonce=nonce)))

    async def _report(self, reports: Sequence[AgentReport]) -> None:
        """Up to the first that makes no sense: what was said before it counts."""
        fit = list(itertools.takewhile(lambda report: 0 < len(report.tracepoint_id) <= MAX_ID, reports))
        for report in fit:
            self._bound(report)
        if fit:
            async for _ in together(fit, self._told):
                pass
        if len(fit) < len(reports):
            raise Invalid(f"a report names a tracepoint in 1 to {MAX_ID} characters")

    def _bound(self, report: AgentReport) -> None:
        if isinstance(report, gateway_pb2.Nack):
            report.reason, report.detail = report.reason[:MAX_ID], report.detail[:MAX_DETAIL]
        elif isinstance(report, gateway_pb2.Status):
            report.detail, report.end_reason = report.detail[:MAX_DETAIL], report.end_reason[:MAX_ID]
            if report.state == gateway_pb2.STATE_ENDED and report.end_reason in _LEASE_WORDS:
                self._has.pop(report.tracepoint_id, None)

    async def _told(self, reports: Sequence[AgentReport]) -> Sequence[None]:
        tenant, agent = self._known.tenant, self._known.agent
        await uninterrupted(self._with.statuses.report_together(tenant, agent, reports))
        return [None] * len(reports)

    def _answered(self, came: gateway_pb2.FunctionsAnswer | gateway_pb2.ExplainAnswer) -> None:
        question = self._questions.get(came.question_id)
        if question is not None and not question.done():
            question.set_result(Answer(came.json, came.problem[:MAX_DETAIL]))

    def _looked(self, came: gateway_pb2.DryRunAnswer) -> None:
        question = self._questions.get(came.question_id)
        if question is not None and not question.done():
            question.set_result(Answer("", came.problem[:MAX_DETAIL], came))


def _is_report(message: gateway_pb2.AgentMessage) -> bool:
    return message.WhichOneof("message") in _REPORTS


def _report_in(message: gateway_pb2.AgentMessage) -> AgentReport:
    report: AgentReport = getattr(message, message.WhichOneof("message") or "")
    return report


class _Pace:
    """Slows an agent down that talks too much: gRPC's flow control passes the slowness on."""

    def __init__(self) -> None:
        self._left = float(BURST)
        self._at = asyncio.get_running_loop().time()

    async def wait(self, messages: int) -> None:
        now = asyncio.get_running_loop().time()
        self._left = min(BURST, self._left + (now - self._at) * MESSAGES_A_SECOND)
        self._at = now
        self._left -= messages
        if self._left < 0:
            await asyncio.sleep(-self._left / MESSAGES_A_SECOND)
