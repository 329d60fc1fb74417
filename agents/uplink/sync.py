"""One Sync stream, from Hello to its end: what the gateway wants goes to the handler, reports and heartbeats go out.

The lease is counted from the moment a heartbeat was *sent*, on the boot clock, and only the answer to a heartbeat of this
stream renews it: a slow or repeating network can shorten a lease, never lengthen it.
"""

from __future__ import annotations

import asyncio
import logging
import platform
import socket
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from wire.v1 import gateway_pb2

from agents.uplink.arrow_pieces import pieces
from agents.uplink.model import MAX_LEASE, MIN_LEASE, Handler, QuestionRefused

if TYPE_CHECKING:
    from wire.v1.gateway_pb2_grpc import GatewayAsyncStub  # stands in the stub file only

VERSION: Final = "0.1.0"
MAX_REPORTS: Final = 10_000  # waiting to be sent; `connected` repeats the states that matter
HEARTBEATS_A_LEASE: Final = 3  # two may get lost
QUESTION_SECONDS: Final = 30.0  # to index a big executable for the first time
MAX_QUESTIONS: Final = 4  # at once; each may read a big file

_LOG: Final = logging.getLogger(__name__)


class Outbox:
    """Messages for the gateway, in order; outlives a stream.

    The gateway takes the messages of a stream one after another, so the answer to a heartbeat confirms all before it.
    A status that was not confirmed when its stream broke is said again: twice in a log is better than never.
    """

    def __init__(self) -> None:
        self._waiting: deque[gateway_pb2.AgentMessage] = deque(maxlen=MAX_REPORTS)
        self._unconfirmed: deque[gateway_pb2.AgentMessage] = deque(maxlen=MAX_REPORTS)
        self._filled = asyncio.Event()

    def put(self, message: gateway_pb2.AgentMessage) -> None:
        self._waiting.append(message)
        self._filled.set()

    async def next(self) -> gateway_pb2.AgentMessage:
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        message = self._waiting.popleft()
        self._unconfirmed.append(message)
        return message

    def confirm(self, nonce: int) -> None:
        """The heartbeat with this nonce was answered."""
        sent = [m.heartbeat.nonce if m.HasField("heartbeat") else None for m in self._unconfirmed]
        if nonce in sent:
            for _ in range(sent.index(nonce) + 1):
                self._unconfirmed.popleft()

    def reopen(self) -> None:
        """A new stream: statuses are still true on it; answers and heartbeats belonged to the old one."""
        statuses = (m for m in (*self._unconfirmed, *self._waiting) if m.HasField("status"))
        self._waiting = deque(statuses, MAX_REPORTS)
        self._unconfirmed.clear()


class SyncStream:
    """Runs once. `welcome` is called when the gateway has greeted."""

    def __init__(
        self,
        stub: GatewayAsyncStub,
        handler: Handler,
        outbox: Outbox,
        welcome: Callable[[], None],
        boot_ns: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME),
    ) -> None:
        self._stub = stub
        self._handler = handler
        self._outbox = outbox
        self._welcome = welcome
        self._boot_ns = boot_ns
        self._lease: timedelta | None = None
        self._greeted = asyncio.Event()
        self._sent_at: dict[int, int] = {}  # heartbeat nonce -> boot ns
        self._questions = asyncio.Semaphore(MAX_QUESTIONS)

    async def run(self) -> None:
        """Until the stream ends. Raises what gRPC raises (in an ExceptionGroup) when it breaks."""
        self._outbox.reopen()
        call: Any = self._stub.Sync()
        try:
            hello_at = self._boot_ns()
            await call.write(gateway_pb2.AgentMessage(hello=self._hello()))
            async with asyncio.TaskGroup() as tasks:
                sending = [tasks.create_task(self._send(call)), tasks.create_task(self._heartbeat())]
                async for message in call:
                    self._receive(message, hello_at, tasks)
                for task in sending:
                    task.cancel()
        finally:
            call.cancel()

    def _hello(self) -> gateway_pb2.Hello:
        return gateway_pb2.Hello(
            agent_version=VERSION,
            hostname=socket.gethostname(),
            kernel=platform.release(),
            running=self._handler.running(),
        )

    async def _send(self, call: Any) -> None:
        while True:
            await call.write(await self._outbox.next())

    async def _heartbeat(self) -> None:
        await self._greeted.wait()
        nonce = 0
        while self._lease is not None:
            nonce += 1
            self._sent_at = {nonce: self._boot_ns()} | dict(list(self._sent_at.items())[: HEARTBEATS_A_LEASE - 1])
            self._outbox.put(gateway_pb2.AgentMessage(heartbeat=gateway_pb2.Heartbeat(nonce=nonce)))
            await asyncio.sleep(self._lease.total_seconds() / HEARTBEATS_A_LEASE)

    def _receive(self, message: gateway_pb2.ServerMessage, hello_at: int, tasks: asyncio.TaskGroup) -> None:
        """Quick things here, in order; slow things in tasks of their own, so that heartbeats are answered meanwhile."""
        match message.WhichOneof("message"):
            case "welcome":
                self._greet(message.welcome, hello_at)
            case "lease":
                if (sent := self._sent_at.get(message.lease.nonce)) is not None:
                    self._renew(sent)
                    self._outbox.confirm(message.lease.nonce)
            case "desired":
                tasks.create_task(self._handler.desired(message.desired.envelope, message.desired.nonce))
            case "retract":
                tasks.create_task(self._handler.retracted(message.retract.tracepoint_id, message.retract.reason))
            case "reconcile":
                tasks.create_task(self._handler.reconciled(dict(message.reconcile.desired)))
            case "functions":
                tasks.create_task(self._answer(message.functions))
            case "explain":
                tasks.create_task(self._explain(message.explain))
            case "dry_run":
                tasks.create_task(self._dry_run(message.dry_run))
            case "locks":
                self._handler.locked(message.locks.build_ids)
            case other:
                _LOG.warning("the gateway sent %s, which this agent does not know: update the agent", other)

    def _greet(self, welcome: gateway_pb2.Welcome, hello_at: int) -> None:
        lease = timedelta(seconds=welcome.lease_seconds)
        self._lease = min(max(lease, MIN_LEASE), MAX_LEASE)
        self._renew(hello_at)
        self._greeted.set()
        self._handler.connected()
        self._welcome()

    def _renew(self, sent_at: int) -> None:
        if self._lease is not None:
            self._handler.leased(sent_at + int(self._lease.total_seconds() * 1e9))

    async def _explain(self, question: gateway_pb2.ExplainQuestion) -> None:
        answer = gateway_pb2.ExplainAnswer(question_id=question.question_id)
        try:
            async with self._questions, asyncio.timeout(QUESTION_SECONDS):
                answer.json = await self._handler.explain(question)
        except QuestionRefused as error:
            answer.problem = str(error)
        except TimeoutError:
            answer.problem = f"no answer within {QUESTION_SECONDS:.0f} s; the executable is being indexed, ask again"
        self._outbox.put(gateway_pb2.AgentMessage(explain=answer))

    async def _dry_run(self, question: gateway_pb2.DryRunQuestion) -> None:
        answer = gateway_pb2.DryRunAnswer(question_id=question.question_id)
        try:
            async with self._questions, asyncio.timeout(QUESTION_SECONDS):
                found = await self._handler.dry_run(question.envelope)
            if found.batch is not None:
                answer.arrow, answer.rows = next(pieces(found.batch.columns))
            answer.accounting.CopyFrom(found.accounting)
        except QuestionRefused as error:
            answer.problem = str(error)
        except TimeoutError:
            answer.problem = f"no answer within {QUESTION_SECONDS:.0f} s; the executable is being indexed, ask again"
        self._outbox.put(gateway_pb2.AgentMessage(dry_run=answer))

    async def _answer(self, question: gateway_pb2.FunctionsQuestion) -> None:
        answer = gateway_pb2.FunctionsAnswer(question_id=question.question_id)
        try:
            async with self._questions, asyncio.timeout(QUESTION_SECONDS):
                answer.json = await self._handler.functions(question.service, question.pattern, question.limit)
        except QuestionRefused as error:
            answer.problem = str(error)
        except TimeoutError:
            answer.problem = f"no answer within {QUESTION_SECONDS:.0f} s; the executable is being indexed, ask again"
        self._outbox.put(gateway_pb2.AgentMessage(functions=answer))
