"""Which agent is calling: from the TLS session's certificate and the agents table, never from a message.

    1. TLS verified a certificate of our CA           (the door: `server`)
    2. its only SPIFFE id names an agent              else Unauthenticated
    3. it is still good                               else Unauthenticated: long calls outlive certificates
    4. the agent is enrolled and not revoked          else Denied

Step 4 is asked again during long calls, from a memory of a few seconds. Leaves: KnownAgent, minted here only.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cryptography import x509
from sqlalchemy import select
from wire.identity import agent_id_of, agent_uri

from control_plane.delivery.tables import AgentRow
from control_plane.foundation.clock import Clock
from control_plane.foundation.database import DATABASE_UNREACHABLE, Database, EveryTenant
from control_plane.foundation.errors import Denied, DependencyUnavailable, Unauthenticated
from control_plane.foundation.identifiers import AgentId, TenantId
from control_plane.foundation.uninterrupted import uninterrupted

REMEMBERED_SECONDS: Final = 10.0  # so long may another replica's revocation go unnoticed in a running call


@dataclass(frozen=True)
class KnownAgent:
    """An enrolled agent that proved by TLS that it holds its key.

    Does not prove that anything it says is true.
    """

    agent: AgentId
    tenant: TenantId
    until: datetime  # the end of the certificate that it called with

    @property
    def uri(self) -> str:
        return agent_uri(self.agent)


class Identification:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._seen: dict[AgentId, float] = {}

    async def identify(self, context: Any) -> KnownAgent:
        """Raises Unauthenticated, Denied, DependencyUnavailable."""
        agent, until = _certified(context.auth_context())
        known = KnownAgent(agent, await uninterrupted(self._tenant_of(agent)), until)
        self._in_time(known)
        self._seen[agent] = time.monotonic()
        return known

    async def still(self, known: KnownAgent, context: Any) -> None:
        """The same again for a call that goes on. Raises what `identify` raises."""
        self._in_time(known)
        if time.monotonic() - self._seen.get(known.agent, float("-inf")) > REMEMBERED_SECONDS:
            await self.identify(context)

    async def _tenant_of(self, agent: AgentId) -> TenantId:
        wanted = select(AgentRow.tenant, AgentRow.revoked_at).where(AgentRow.agent_id == agent)
        try:
            async with self._database.transaction(
                EveryTenant("the certificate names the agent, its row the tenant")
            ) as session:
                found = (await session.execute(wanted)).one_or_none()
        except DATABASE_UNREACHABLE as error:
            raise DependencyUnavailable("the database does not answer: try again") from error
        if found is None or found.revoked_at is not None:
            raise Denied("this agent was revoked or never enrolled: enrol it again with a new join token")
        return TenantId(found.tenant)

    def forget(self, agent: AgentId) -> None:
        """Ask the database at the next opportunity: the agent was revoked, or is gone."""
        self._seen.pop(agent, None)

    def _in_time(self, known: KnownAgent) -> None:
        if self._clock.now() >= known.until:
            raise Unauthenticated(f"the certificate was good until {known.until.isoformat()}: renew and connect again")


def _certified(session: dict[str, list[bytes]]) -> tuple[AgentId, datetime]:
    ids = [value.decode("utf-8", "replace") for value in session.get("peer_spiffe_id", [])]
    agent = agent_id_of(ids[0]) if len(ids) == 1 else None
    certificates = session.get("x509_pem_cert", [])
    if session.get("transport_security_type") != [b"ssl"] or agent is None or len(certificates) != 1:
        raise Unauthenticated("this call needs an agent's certificate: enrol with a join token first")
    certificate = x509.load_pem_x509_certificate(certificates[0])
    return AgentId(agent), certificate.not_valid_after_utc
