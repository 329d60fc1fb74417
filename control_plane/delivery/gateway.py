"""The four RPCs of gateway.proto: who calls is established first, then the step that knows does the work.

`rpc_table` says at which door each is served and who may call it. Nothing a message says about its sender is read.
`server` serves them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError
from wire.v1 import gateway_pb2, records_pb2

from control_plane.delivery.enrolment import Enrolment
from control_plane.delivery.grpc_status import abort
from control_plane.delivery.identification import Identification, KnownAgent
from control_plane.delivery.pki import AgentCertificate, CertificateAuthority
from control_plane.delivery.ports import BatchSink
from control_plane.delivery.session import Exchange, Session
from control_plane.delivery.together import Arriving, together
from control_plane.foundation.clock import Clock
from control_plane.foundation.errors import DependencyUnavailable, ProbegateError, TooMany
from control_plane.foundation.identifiers import TenantId
from control_plane.foundation.uninterrupted import uninterrupted

ENROLMENTS_A_SECOND: Final = 20  # attempts, wrong tokens included; each writes to the audit log
MAX_ID: Final = 128  # bytes of a tracepoint's id
MAX_ROWS: Final = 1 << 20  # in one batch; a batch is at most some MiB
MAX_RECEIPTS: Final = 10_000  # columns times rules


class Gateway:
    def __init__(
        self,
        exchange: Exchange,
        enrolment: Enrolment,
        identification: Identification,
        authority: CertificateAuthority,
        batches: BatchSink,
        clock: Clock,
    ) -> None:
        self._exchange = exchange
        self._enrolment = enrolment
        self._identification = identification
        self._authority = authority
        self._batches = batches
        self._attempts = _Attempts(clock)

    async def Enroll(self, request: gateway_pb2.EnrollRequest, context: Any) -> gateway_pb2.EnrollResponse:  # noqa: N802 -- the name in gateway.proto
        try:
            self._attempts.count()
            peer = _peer(context)
            made = await uninterrupted(self._enrolment.enroll(request.join_token, request.csr, request.hostname, peer))
        except (ProbegateError, SQLAlchemyError) as error:
            await abort(context, _told(error))
        return self._response(made.agent, made.tenant, made.certificate)

    async def Renew(self, request: gateway_pb2.RenewRequest, context: Any) -> gateway_pb2.EnrollResponse:  # noqa: N802
        try:
            known = await self._identification.identify(context)
            certificate = await uninterrupted(self._enrolment.renew(known.tenant, known.agent, request.csr))
        except (ProbegateError, SQLAlchemyError) as error:
            await abort(context, _told(error))
        return self._response(known.agent, known.tenant, certificate)

    async def Sync(self, messages: AsyncIterator[gateway_pb2.AgentMessage], context: Any) -> None:  # noqa: N802
        try:
            known = await self._identification.identify(context)
            await Session(known, self._exchange, context).run(messages)
        except Exception as error:  # noqa: BLE001 -- the boundary: what is not ours to tell becomes INTERNAL
            await abort(context, error)

    async def Upload(self, batches: AsyncIterator[records_pb2.Batch], context: Any) -> None:  # noqa: N802
        try:
            known = await self._identification.identify(context)
            async with Arriving(batches) as arriving:
                async for group in arriving:
                    await self._identification.still(known, context)
                    await self._take(known, group, context)
        except SQLAlchemyError:
            await abort(context, DependencyUnavailable("the database does not answer: send it again"))
        except Exception as error:  # noqa: BLE001
            await abort(context, error)

    async def _take(self, known: KnownAgent, group: Sequence[records_pb2.Batch], context: Any) -> None:
        """Acknowledge each, once it is kept or refused for good."""

        async def store(batches: Sequence[records_pb2.Batch]) -> Sequence[str]:
            return await uninterrupted(self._batches.store_together(known.tenant, known.agent, batches))

        malformed = [(batch, why) for batch in group if (why := _malformed(batch))]
        for batch, why in malformed:
            await context.write(_ack(batch, why))
        fit = [batch for batch in group if not _malformed(batch)]
        if fit:
            async for batch, refusal in together(fit, store):
                await context.write(_ack(batch, refusal))

    def _response(self, agent: str, tenant: TenantId, certificate: AgentCertificate) -> gateway_pb2.EnrollResponse:
        response = gateway_pb2.EnrollResponse(
            agent_id=agent,
            tenant=tenant,
            certificate=certificate.chain,
            ca=self._authority.pem,
            spec_keys=self._exchange.verification_keys,
        )
        response.renew_after.FromDatetime(certificate.renew_after)
        return response


def _ack(batch: records_pb2.Batch, refusal: str) -> records_pb2.BatchAck:
    return records_pb2.BatchAck(tracepoint_id=batch.tracepoint_id, sequence=batch.sequence, refusal=refusal)


def _malformed(batch: records_pb2.Batch) -> str:
    """Why this can be no batch of an agent of ours, whatever it is about; else empty."""
    if not 0 < len(batch.tracepoint_id) <= MAX_ID or batch.sequence == 0:
        return "a batch names its tracepoint and has a number from 1"
    if batch.rows > MAX_ROWS or len(batch.receipts) > MAX_RECEIPTS:
        return f"a batch has at most {MAX_ROWS} rows and {MAX_RECEIPTS} receipts"
    return ""


def _told(error: Exception) -> Exception:
    return (
        DependencyUnavailable("the database does not answer: try again")
        if isinstance(error, SQLAlchemyError)
        else error
    )


def _peer(context: Any) -> str:
    """The address that `doorway` wrote into the name of its socket."""
    parts = str(context.peer()).split("/")
    return parts[1][:64] if len(parts) > 2 and parts[0].endswith("probegate") else ""


class _Attempts:
    """A token bucket over all who knock; a flood of wrong tokens must not fill the log or the disk."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left = float(ENROLMENTS_A_SECOND)
        self._at = clock.now()

    def count(self) -> None:
        """Raises TooMany."""
        now = self._clock.now()
        gone = max(0.0, (now - self._at).total_seconds())  # a clock that was set back gives nothing
        self._left = min(ENROLMENTS_A_SECOND, self._left + gone * ENROLMENTS_A_SECOND)
        self._at = now
        if self._left < 1:
            raise TooMany("too many hosts enrol at once: try again in a few seconds")
        self._left -= 1
