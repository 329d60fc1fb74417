"""What records must know of tracepoints; `tracepoints` implements it, `bootstrap` connects them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.identifiers import TenantId
from control_plane.records.model import Source, TracepointFacts


class TracepointDirectory(Protocol):
    async def facts(self, session: AsyncSession, tenant: TenantId, tracepoint_id: str) -> TracepointFacts | None:
        """None for a tracepoint that this tenant does not have, also when another one has it."""
        ...

    async def sources(self, session: AsyncSession, tenant: TenantId, table: str) -> Sequence[Source]:
        """Every tracepoint that writes, or wrote, into a table."""
        ...
