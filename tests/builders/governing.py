"""Proposals on a real database, in a tenant `acme` that two people administer: `admin`, and `second` who agrees."""

from __future__ import annotations

from dataclasses import dataclass

from control_plane.foundation.audit_trail import AuditTrail
from control_plane.foundation.clock import Clock
from control_plane.foundation.database import Database
from control_plane.foundation.identifiers import TenantId
from control_plane.policy.index import base_of
from control_plane.policy.membership import MembershipService
from control_plane.policy.model import Permission
from control_plane.policy.proposal_model import Applied, Proposal, Proposed
from control_plane.policy.proposals import Proposals
from control_plane.policy.roles import read_roles
from control_plane.policy.service import PolicyService
from tests.builders.principals import ISSUER, grant


@dataclass(frozen=True)
class Governing:
    policy: PolicyService
    proposals: Proposals
    membership: MembershipService

    async def seat(self, tenant: str) -> None:
        """Another tenant that the two administer."""
        await self.membership.unsafe_create_tenant(tenant, "", "admin")
        await self.membership.unsafe_put_member(TenantId(tenant), "second", ["tenant-admin"])

    async def agreed(self, outcome: Applied[object] | Proposed, tenant: str = "acme") -> Proposal:
        """`second` says yes to what waits."""
        assert isinstance(outcome, Proposed), "nobody had to agree"
        waiting = outcome.proposal
        decides = grant(Permission.PROPOSAL_DECIDE, by="second", tenant=tenant)
        return await self.proposals.approve(decides, waiting.id, waiting.digest)


async def governing(database: Database, trail: AuditTrail, clock: Clock) -> Governing:
    made = ungoverned(database, trail, clock)
    await made.seat("acme")
    return made


def ungoverned(database: Database, trail: AuditTrail, clock: Clock) -> Governing:
    """The services alone, without any tenant."""
    policy = PolicyService(database, trail, read_roles(), clock)
    proposals = Proposals(database, trail, clock, policy)
    membership = MembershipService(database, trail, base_of(read_roles()), clock, ISSUER, proposals)
    return Governing(policy, proposals, membership)
