"""What one transaction put into the spec store, so that it can be taken back when the transaction does not commit."""

from __future__ import annotations

from contextlib import suppress

from control_plane.delivery.ports import RetractReason, SpecStore
from control_plane.foundation.errors import DependencyUnavailable
from control_plane.foundation.identifiers import TenantId
from control_plane.signing.model import SealedSpec


class Publications:
    """Lives as long as the transaction. Taking back ends a probe that the log knows nothing of: the safe side."""

    def __init__(self, store: SpecStore) -> None:
        self._store = store
        self._published: list[tuple[TenantId, str]] = []
        self._later: list[tuple[TenantId, str]] = []

    async def publish(self, spec: SealedSpec) -> None:
        """Raises DependencyUnavailable; the store may have taken it all the same."""
        self._published.append((spec.tenant, spec.tracepoint_id))
        await self._store.publish(spec)

    async def retract(self, tenant: TenantId, tracepoint_id: str) -> None:
        """Raises DependencyUnavailable."""
        await self._store.retract(tenant, tracepoint_id, RetractReason.DELETED)

    def retract_later(self, tenant: TenantId, tracepoint_id: str) -> None:
        """Once the one that takes its place is published: a failure in between leaves the old one."""
        self._later.append((tenant, tracepoint_id))

    async def retract_replaced(self) -> None:
        """Raises DependencyUnavailable."""
        for tenant, tracepoint_id in self._later:
            await self.retract(tenant, tracepoint_id)

    async def take_back(self) -> None:
        """As far as the store answers; a spec that cannot be taken back ends with its TTL."""
        for tenant, tracepoint_id in self._published:
            with suppress(DependencyUnavailable):
                await self._store.retract(tenant, tracepoint_id, RetractReason.REVOKED)
