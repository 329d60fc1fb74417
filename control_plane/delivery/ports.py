"""What delivery needs of others: a store that carries specs, and two sinks for what agents send back.

`redis_store` is the store. `tracepoints` implements StatusSink, `records` implements BatchSink; `bootstrap` connects
them, since those steps come later than this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

from wire.v1 import gateway_pb2, records_pb2

from control_plane.foundation.identifiers import AgentId, TenantId
from control_plane.signing.model import SealedSpec


class ChangeKind(StrEnum):
    PUBLISHED = "published"
    RETRACTED = "retracted"
    UNKNOWN = "unknown"  # written by another version of the control plane: read everything again


class RetractReason(StrEnum):
    """The words of `Retract.reason`."""

    DELETED = "deleted"
    REVOKED = "revoked"
    LOCKED = "locked"


@dataclass(frozen=True)
class Change:
    """One entry of a tenant's stream: what changed, and where the stream goes on after it. The spec is read apart."""

    position: str
    kind: ChangeKind
    tracepoint_id: str
    reason: str  # of a retraction


class SpecStore(Protocol):
    """Carries sealed specs from whoever publishes to every gateway. It is transport, not truth: nothing in it is believed.

    Every method raises DependencyUnavailable when the store does not answer in time.
    """

    async def publish(self, spec: SealedSpec) -> None:
        """Desired from now on, until its not_after. A spec that is over already is not stored."""
        ...

    async def retract(self, tenant: TenantId, tracepoint_id: str, reason: RetractReason) -> None: ...

    async def desired(self, tenant: TenantId) -> tuple[bytes, ...]:
        """The envelopes of all specs that are published and neither over nor retracted."""
        ...

    async def envelope(self, tenant: TenantId, tracepoint_id: str) -> bytes | None:
        """One of them; None when it is not desired."""
        ...

    async def position(self, tenant: TenantId) -> str:
        """Where the tenant's stream of changes stands now."""
        ...

    async def changes(self, tenant: TenantId, after: str, wait: timedelta) -> tuple[Change, ...]:
        """What came after a position, oldest first; waits for the first one, at most `wait`."""
        ...

    async def alive(self) -> None:
        """Returns when the store answered just now."""
        ...

    async def lost(self) -> bool:
        """Whether the store came up empty since the last `restored`: whoever knows what is desired publishes it again."""
        ...

    async def restored(self) -> None:
        """All that is desired has been published: `lost` is false until the store loses its contents."""
        ...


AgentReport = gateway_pb2.Ack | gateway_pb2.Nack | gateway_pb2.Status


class StatusSink(Protocol):
    async def report_together(self, tenant: TenantId, agent: AgentId, reports: Sequence[AgentReport]) -> None:
        """Take what an agent says about tracepoints, in this order. One may be unknown, or another tenant's: ignore it then.

        Raises AuditUnavailable or DependencyUnavailable when all of it must be said again, which may be told twice then.
        """
        ...


class BatchSink(Protocol):
    async def store_together(
        self, tenant: TenantId, agent: AgentId, batches: Sequence[records_pb2.Batch]
    ) -> tuple[str, ...]:
        """Keep the rows, each (agent, tracepoint, sequence) once. For each "" when kept (or kept before), else why never.

        All or, when it raises, none. Raises DependencyUnavailable when the agent should send them again later.
        """
        ...
