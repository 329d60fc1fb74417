"""What an agent was given and when it was last seen, in the database: the log's `tracepoint.deliver`."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, tuple_, update
from sqlalchemy.exc import SQLAlchemyError
from wire.v1 import gateway_pb2

from control_plane.delivery.feed import DeliverableSpec
from control_plane.delivery.identification import KnownAgent
from control_plane.delivery.tables import AgentRow, DeliveryRow
from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.clock import Clock
from control_plane.foundation.database import Database
from control_plane.foundation.errors import Denied, DependencyUnavailable

_VERSION: int = 64  # characters kept of what an agent calls its version
_KERNEL: int = 128


class Deliveries:
    def __init__(self, database: Database, audit: AuditTrail, clock: Clock) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock

    async def record(self, to: KnownAgent, specs: Sequence[DeliverableSpec]) -> None:
        """Before they are sent: an entry for each that this agent gets for the first time.

        Raises AuditUnavailable or DependencyUnavailable, and then nothing may be sent.
        """
        if not specs:
            return
        place = tuple_(DeliveryRow.tracepoint_id, DeliveryRow.version)
        wanted = select(DeliveryRow.tracepoint_id, DeliveryRow.version).where(
            DeliveryRow.tenant == to.tenant,
            DeliveryRow.agent_id == to.agent,
            place.in_([(spec.tracepoint_id, spec.version) for spec in specs]),
        )
        try:
            async with self._database.transaction(to.tenant) as session:
                known = {(row.tracepoint_id, row.version) for row in await session.execute(wanted)}
                for spec in specs:
                    if (spec.tracepoint_id, spec.version) in known:
                        continue
                    row = DeliveryRow(
                        tenant=to.tenant,
                        tracepoint_id=spec.tracepoint_id,
                        version=spec.version,
                        agent_id=to.agent,
                        delivered_at=self._clock.now(),
                    )
                    session.add(row)
                    await session.flush()
                    await self._audit.append(session, to.tenant, _delivered(to, spec))
        except SQLAlchemyError as error:
            raise DependencyUnavailable("the database does not answer: nothing was delivered") from error

    async def seen(self, known: KnownAgent, hello: gateway_pb2.Hello | None = None) -> None:
        """The agent is here now. Raises Denied when it was revoked meanwhile, DependencyUnavailable."""
        values: dict[str, object] = {"last_seen_at": self._clock.now()}
        if hello is not None:
            values |= {"version": _words(hello.agent_version, _VERSION), "kernel": _words(hello.kernel, _KERNEL)}
        changed = (
            update(AgentRow)
            .where(AgentRow.tenant == known.tenant, AgentRow.agent_id == known.agent, AgentRow.revoked_at.is_(None))
            .values(values)
            .returning(AgentRow.agent_id)
        )
        try:
            async with self._database.transaction(known.tenant) as session:
                found = (await session.execute(changed)).one_or_none()
        except SQLAlchemyError as error:
            raise DependencyUnavailable("the database does not answer") from error
        if found is None:
            raise Denied("this agent was revoked: enrol it again with a new join token")


def _delivered(to: KnownAgent, spec: DeliverableSpec) -> AuditEvent:
    return AuditEvent(
        action=AuditAction.TRACEPOINT_DELIVER,
        outcome=Outcome.SUCCESS,
        actor="system",
        resource=f"tracepoint/{spec.tracepoint_id}",
        detail={"agent": to.agent, "version": spec.version, "not_after": spec.not_after},
    )


def _words(text: str, most: int) -> str:
    return "".join(letter for letter in text[:most] if letter.isprintable())
