"""How many processes a request would probe, as the agents say just now: what the fleet guard is held against.

Asked before the request's transaction, which must not wait for hosts. An agent that does not answer, or is connected to
another replica, counts as much as the busiest that did: a guess, and so it is not the only guard. What was let through as
small and turns out large on the hosts is stopped by `enforcement`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from wire.v1 import gateway_pb2

from control_plane.foundation.identifiers import TenantId
from control_plane.tracepoints.ports import ActiveAgents
from language.model import TargetSpec


@dataclass(frozen=True)
class Reach:
    """Processes of each agent; None where it could not be learnt."""

    counts: Mapping[str, int | None] = field(default_factory=dict)

    @property
    def filled(self) -> Mapping[str, int]:
        known = [count for count in self.counts.values() if count is not None]
        guess = max([1, *known])
        return {agent: guess if count is None else count for agent, count in self.counts.items()}

    @property
    def total(self) -> int:
        return sum(self.filled.values())


async def reach_of(
    fleet: ActiveAgents, tenant: TenantId, canonical: bytes, target: TargetSpec, agents: tuple[str, ...]
) -> Reach:
    """The question narrows by service and pids only, so it never counts too few."""
    question = gateway_pb2.ExplainQuestion(
        template=canonical, service=target.service or "", pids=target.pids, count_only=True
    )
    found: dict[str, int | None] = dict.fromkeys(agents)
    found |= {str(agent): count for agent, count in (await fleet.counts(tenant, question)).items()}
    return Reach({agent: found[agent] for agent in agents})
