"""A tenant's own policy as an administrator works with it: show, versions, plan, apply, roll back.

    1. document     read strictly                            or BadPolicy
    2. planning     who gains, who loses; lint; own tests    or Invalid: a serious finding, a test that fails
    3. proposals    nobody grants what they do not hold; reviewers, administrators, masking: a second person agrees
    4. policy_kind  the version before is superseded, the tenant's policy version rises by one, all in one transaction

The raised version is what every replica reads at its next decision, in that decision's own transaction: a change holds
everywhere at once, and a replica that cannot read it answers 503 and decides nothing.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import select

from control_plane.foundation.clock import Clock
from control_plane.foundation.database import Database
from control_plane.foundation.errors import NotFound
from control_plane.policy.document import load_policy
from control_plane.policy.index import Base
from control_plane.policy.model import Asker, Grant
from control_plane.policy.planning import Plan, digest_of, planned
from control_plane.policy.policy_kind import PolicyText, PolicyVersion, in_force
from control_plane.policy.proposal_model import Applied, Proposed
from control_plane.policy.proposals import Proposals
from control_plane.policy.rule_tables import PolicyVersionRow

MAX_VERSIONS: Final = 200


class PolicyChanges:
    def __init__(self, database: Database, base: Base, clock: Clock, proposals: Proposals) -> None:
        self._database = database
        self._base = base
        self._clock = clock
        self._proposals = proposals
        self._kind = PolicyText(base, clock)
        proposals.register(self._kind)

    async def show(self, grant: Grant) -> PolicyVersion | None:
        """The version in force; None while the tenant has none of its own."""
        async with self._database.transaction(grant.resource.tenant) as session:
            row = await in_force(session, grant.resource.tenant)
            return None if row is None else PolicyVersion.of(row)

    async def versions(self, grant: Grant) -> tuple[PolicyVersion, ...]:
        """All that is or was in force, the newest first."""
        table, tenant = PolicyVersionRow, grant.resource.tenant
        async with self._database.transaction(tenant) as session:
            rows = await session.scalars(
                select(table).where(table.tenant == tenant).order_by(table.version.desc()).limit(MAX_VERSIONS)
            )
            return tuple(PolicyVersion.of(row) for row in rows)

    async def plan(self, grant: Grant, source: str) -> Plan:
        """Nothing changes. Raises BadPolicy."""
        document = load_policy(source, self._base.book)
        async with self._database.transaction(grant.resource.tenant) as session:
            snapshot = await self._kind.snapshot(session, grant.resource.tenant)
        return planned(snapshot, document, source, Asker.of(grant.principal), self._clock.now())

    async def apply(
        self, grant: Grant, source: str, message: str, if_match: int | None = None
    ) -> Applied[PolicyVersion] | Proposed:
        """In force, or proposed where a second person must agree. Raises BadPolicy, Invalid, Denied, Stale, Conflict."""
        current = await self.show(grant)
        if current is not None and current.digest == digest_of(source) and if_match in {None, current.version}:
            return Applied(current, ())
        payload = {"source": source, "message": message, "based_on": if_match}
        return await self._proposals.propose(grant, self._kind, payload, message)

    async def rollback(self, grant: Grant, version: int) -> Applied[PolicyVersion] | Proposed:
        """A new version with an old one's text, by the same rules as any other. Raises NotFound and what `apply` raises."""
        async with self._database.transaction(grant.resource.tenant) as session:
            row = await session.get(PolicyVersionRow, (grant.resource.tenant, version))
        if row is None:
            raise NotFound(f"policy version {version} was never in force; `probegate policy versions` lists them")
        return await self.apply(grant, row.source, f"back to version {version}")
