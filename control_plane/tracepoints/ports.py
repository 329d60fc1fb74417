"""What a request needs of others: which agents there are and what they would probe; may somebody still, who asked before.

`delivery.service.Fleet` is the first. `deciding.Requesters` is the second, on policy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncSession
from wire.v1 import gateway_pb2

from control_plane.delivery.tables import AgentRow
from control_plane.foundation.identifiers import AgentId, TenantId
from control_plane.policy.decide import Decision
from control_plane.policy.model import Grant
from control_plane.tracepoints.tables import TracepointRow


class ActiveAgents(Protocol):
    async def active_agents(self, session: AsyncSession, tenant: TenantId) -> Sequence[AgentRow]:
        """The agents of this tenant that can be given a spec now. Raises DependencyUnavailable."""
        ...

    async def counts(self, tenant: TenantId, question: gateway_pb2.ExplainQuestion) -> Mapping[AgentId, int]:
        """How many processes it would probe on each agent that answers within seconds."""
        ...


class Deciding(Protocol):
    async def requester(self, row: TracepointRow) -> Grant:
        """The proof that who asked for it may still, as of now. Raises Denied, NotFound."""
        ...

    async def may_stop_any(self, session: AsyncSession, grant: Grant, name: str) -> Decision:
        """May who holds this grant end what somebody else asked for under this name. Raises NotFound."""
        ...
