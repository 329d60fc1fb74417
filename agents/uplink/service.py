"""Stay connected to the gateway: reports, masked rows and the lease, over a network that comes and goes.

`send` is the only way for data of a target to leave this host, and it takes a MaskedBatch. `run` reconnects with a
jittered backoff and renews the certificate before it ends. What the gateway wants goes to the Handler
(`agents.supervisor`); a lost connection needs no word to it, since the lease ends by itself.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc
from wire.v1 import gateway_pb2, records_pb2
from wire.v1.gateway_pb2_grpc import GatewayStub

from agents.masking.model import MaskedBatch
from agents.uplink.arrow_pieces import pieces
from agents.uplink.channel import Server, gateway_channel
from agents.uplink.enrolment import EnrolmentFailed, renew
from agents.uplink.identity import AgentIdentity, BadIdentity, IdentityStore
from agents.uplink.model import BatchHead, Handler
from agents.uplink.sequences import Sequences
from agents.uplink.spool import Spool
from agents.uplink.spool_files import SpoolFiles
from agents.uplink.sync import Outbox, SyncStream
from agents.uplink.uploads import upload

if TYPE_CHECKING:
    from wire.v1.gateway_pb2_grpc import GatewayAsyncStub  # stands in the stub file only

FIRST_PAUSE: Final = timedelta(milliseconds=500)
LONGEST_PAUSE: Final = timedelta(seconds=15)  # a quarter of the default lease: a gateway's restart ends no probe
RENEW_LOOK: Final = timedelta(minutes=5)
RENEW_RETRY: Final = timedelta(minutes=10)

_LOG: Final = logging.getLogger(__name__)


class Renewed(Exception):
    """The certificate is a new one: connect again with it."""


class StreamEnded(Exception):
    """The gateway ended one of the two streams; both are opened again."""


class Uplink:
    def __init__(self, server: Server, identity: AgentIdentity, store: IdentityStore, state: Path) -> None:
        self._server = server
        self._identity = identity
        self._store = store
        self._outbox = Outbox()
        self._spool = Spool(Sequences(state / "sequences.json"), SpoolFiles(state / "spool", identity.agent_id))
        self._pause = FIRST_PAUSE

    # --- what the agent says ---------------------------------------------------------------------------------

    def acknowledge(self, tracepoint_id: str, version: int, nonce: str) -> None:
        ack = gateway_pb2.Ack(tracepoint_id=tracepoint_id, version=version, nonce=nonce)
        self._outbox.put(gateway_pb2.AgentMessage(ack=ack))

    def refuse(self, nack: gateway_pb2.Nack) -> None:
        self._outbox.put(gateway_pb2.AgentMessage(nack=nack))

    def report(self, status: gateway_pb2.Status) -> None:
        if status.HasField("accounting"):
            self._spool.correct(status.tracepoint_id, status.accounting)
        self._outbox.put(gateway_pb2.AgentMessage(status=status))

    def send(self, batch: MaskedBatch, head: BatchHead) -> None:
        """Number it and keep it until it is acknowledged; what does not fit is counted as lost."""
        parts = list(pieces(batch.columns))
        for number, (arrow, rows) in enumerate(parts, start=1):
            last = number == len(parts)
            self._spool.add(
                records_pb2.Batch(
                    tracepoint_id=head.tracepoint_id,
                    table=head.table,
                    table_version=head.table_version,
                    arrow=arrow,
                    rows=rows,
                    receipts=_receipts(batch) if last and not head.canary else (),
                    accounting=head.accounting,
                    final=last and bool(head.end_reason),
                    end_reason=head.end_reason if last else "",
                    canary=head.canary,
                )
            )

    async def flushed(self) -> None:
        """Returns when everything is acknowledged."""
        await self._spool.emptied()

    def keep(self) -> None:
        """What is not acknowledged yet survives the end of this process."""
        self._spool.keep()

    # --- the connection --------------------------------------------------------------------------------------

    async def run(self, handler: Handler) -> None:
        """For ever; ends by cancellation only."""
        while True:
            await self._one_connection(handler)
            pause = random.uniform(0.5, 1.0) * self._pause.total_seconds()  # noqa: S311 -- spreads agents, hides nothing
            self._pause = min(self._pause * 2, LONGEST_PAUSE)
            _LOG.info("connecting again in %.1f s", pause)
            await asyncio.sleep(pause)

    async def _one_connection(self, handler: Handler) -> None:
        try:
            await self._connected(handler)
        except* StreamEnded:
            _LOG.warning("%s closed the connection", self._server)
        except* Renewed:
            _LOG.info("the certificate was renewed")
            self._pause = FIRST_PAUSE
        except* grpc.aio.AioRpcError as group:
            _LOG.warning("%s: %s", self._server, _words(group))
        except* (asyncio.InvalidStateError, grpc.aio.UsageError) as group:
            # A write on a call that has just ended: the call's own error was or will be logged.
            _LOG.debug("%s: %s", self._server, group.exceptions)

    async def _connected(self, handler: Handler) -> None:
        async with gateway_channel(self._server, self._identity) as channel:
            stub: GatewayAsyncStub = GatewayStub(channel)
            sync = SyncStream(stub, handler, self._outbox, self._welcomed)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_until_ended(sync.run()))
                tasks.create_task(_until_ended(upload(stub, self._spool)))
                tasks.create_task(self._renewal(channel))

    def _welcomed(self) -> None:
        self._pause = FIRST_PAUSE
        _LOG.info("connected to %s as %s of tenant %s", self._server, self._identity.agent_id, self._identity.tenant)

    async def _renewal(self, channel: grpc.aio.Channel) -> None:
        while True:
            # Looked at again and again: the loop's clock stands still while the host sleeps.
            if datetime.now(UTC) < self._identity.renew_after:
                await asyncio.sleep(min(RENEW_LOOK, self._identity.renew_after - datetime.now(UTC)).total_seconds())
                continue
            try:
                renewed = await renew(channel, self._identity)
                self._store.save(renewed)
            except (EnrolmentFailed, BadIdentity, OSError) as error:
                _LOG.warning("the certificate is not renewed yet, next try in %s: %s", RENEW_RETRY, error)
                await asyncio.sleep(RENEW_RETRY.total_seconds())
                continue
            self._identity = renewed
            raise Renewed


async def _until_ended(stream: Coroutine[None, None, None]) -> None:
    await stream
    raise StreamEnded


def _receipts(batch: MaskedBatch) -> list[records_pb2.Receipt]:
    return [
        records_pb2.Receipt(
            column=receipt.column,
            rule=receipt.rule,
            action=receipt.action.value,
            values=receipt.values,
            hidden=receipt.hidden,
        )
        for receipt in batch.receipts
    ]


def _words(group: BaseExceptionGroup[grpc.aio.AioRpcError]) -> str:
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return f"{first.code().name}: {first.details()}" if isinstance(first, grpc.aio.AioRpcError) else str(first)
