from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

import control_plane.identity.tables
import control_plane.policy.tables  # noqa: F401 - their tables must exist
from control_plane.audit.recorded_decisions import LoggedDecisions
from control_plane.foundation.clock import ManualClock
from control_plane.foundation.database import Database
from control_plane.foundation.identifiers import TenantId
from control_plane.policy.changing import PolicyChanges
from control_plane.policy.index import base_of
from control_plane.policy.membership import MembershipService
from control_plane.policy.model import Permission, Resource
from control_plane.policy.proposals import Proposals
from control_plane.policy.questions import PolicyQuestions
from control_plane.policy.roles import read_roles
from control_plane.policy.service import PolicyService
from tests.builders.audit_trail import BreakableTrail
from tests.builders.principals import ISSUER, principal

ACME = TenantId("acme")


@dataclass
class World:
    """A tenant `acme` that alice administers, on a real database with the real log."""

    database: Database
    trail: BreakableTrail
    clock: ManualClock
    policy: PolicyService
    membership: MembershipService
    changes: PolicyChanges
    proposals: Proposals
    questions: PolicyQuestions

    async def ask(self, who: str, permission: Permission, tenant: str = "acme", name: str = "*"):
        resource = Resource(TenantId(tenant), permission.partition(":")[0], name)
        return await self.policy.require(principal(who), permission, resource)


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    clock = ManualClock(datetime(2026, 11, 24, 12, tzinfo=UTC))
    trail = BreakableTrail(database, clock)
    book = read_roles()
    policy = PolicyService(database, trail, book, clock)
    proposals = Proposals(database, trail, clock, policy)
    membership = MembershipService(database, trail, base_of(book), clock, ISSUER, proposals)
    await membership.unsafe_create_tenant("acme", "", "alice")
    changes = PolicyChanges(database, base_of(book), clock, proposals)
    questions = PolicyQuestions(database, base_of(book), clock, LoggedDecisions())
    yield World(database, trail, clock, policy, membership, changes, proposals, questions)
