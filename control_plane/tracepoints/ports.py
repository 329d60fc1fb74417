"""What a request needs of the fleet: which agents there are. `delivery.service.Fleet` is the real one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.delivery.tables import AgentRow
from control_plane.foundation.identifiers import TenantId


class ActiveAgents(Protocol):
    async def active_agents(self, session: AsyncSession, tenant: TenantId) -> Sequence[AgentRow]:
        """The agents of this tenant that can be given a spec now. Raises DependencyUnavailable."""
        ...
