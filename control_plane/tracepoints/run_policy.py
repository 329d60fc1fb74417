"""How one tenant lets things run: its fleet guard, and where a version that nobody approved yet may be tried on live calls.

The guard is the platform's (policies/approvals.yaml) made stricter, never laxer. Dry runs are off until the tenant names
the environments in which they may happen; the host has to allow them besides (`agents.admission`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.audited import audited
from control_plane.foundation.clock import Clock
from control_plane.foundation.correlation import current_request_id
from control_plane.foundation.database import Database
from control_plane.foundation.errors import Invalid
from control_plane.foundation.identifiers import TenantId
from control_plane.foundation.request_headers import check_match
from control_plane.policy.model import Grant
from control_plane.templates.requirements import BadApprovals, FleetGuard, fleet_guard
from control_plane.tracepoints.tables import RunPolicyRow
from language.durations import render

MAX_ENVIRONMENTS: Final = 20
_ENVIRONMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)


@dataclass(frozen=True)
class RunPolicy:
    """`guard` is what holds: the stricter of platform and tenant. `revision` 0: the tenant has said nothing."""

    guard: FleetGuard
    dry_run_environments: tuple[str, ...]
    revision: int
    changed_by: str = ""
    changed_at: datetime | None = None
    own_guard: bool = False  # the tenant has one of its own


class RunPolicies:
    def __init__(self, database: Database, audit: AuditTrail, clock: Clock, platform: FleetGuard) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        self._platform = platform

    async def guard(self, session: AsyncSession, tenant: TenantId) -> FleetGuard:
        return (await self.of(session, tenant)).guard

    async def of(self, session: AsyncSession, tenant: TenantId) -> RunPolicy:
        row = await session.get(RunPolicyRow, tenant)
        if row is None:
            return RunPolicy(self._platform, (), 0)
        own = row.document.get("fleetGuard")
        guard = self._platform.joined(fleet_guard(own)) if own else self._platform
        environments = tuple(row.document.get("dryRun", {}).get("environments", ()))
        return RunPolicy(guard, environments, row.revision, row.changed_by, row.changed_at, bool(own))

    async def show(self, grant: Grant) -> RunPolicy:
        tenant = grant.resource.tenant
        async with self._database.transaction(tenant) as session:
            return await self.of(session, tenant)

    async def put(self, grant: Grant, document: Mapping[str, Any], if_match: str | None = None) -> RunPolicy:
        """All of it; what is left out is as the platform has it. Raises Invalid, Stale."""
        tenant = grant.resource.tenant
        async with audited(
            self._database, self._audit, tenant, grant.principal.id, AuditAction.RUN_POLICY, "run-policy"
        ) as session:
            self._check(document)
            row = await session.get(RunPolicyRow, tenant, with_for_update=True)
            revision = row.revision if row is not None else 0
            check_match("the run policy", str(revision), if_match)
            before = row.document if row is not None else {}
            if row is None:
                row = RunPolicyRow(tenant=tenant, document={}, revision=0)
                session.add(row)
            row.document, row.revision = dict(document), revision + 1
            row.changed_by, row.changed_at = grant.principal.id, self._clock.now()
            await session.flush()
            event = AuditEvent(
                AuditAction.RUN_POLICY,
                Outcome.SUCCESS,
                grant.principal.id,
                "run-policy",
                {"before": before, "after": row.document},
                current_request_id.get(),
            )
            await self._audit.append(session, tenant, event)
            return await self.of(session, tenant)

    def _check(self, document: Mapping[str, Any]) -> None:
        if own := document.get("fleetGuard"):
            try:
                guard = fleet_guard(own)
            except BadApprovals as error:
                raise Invalid(str(error), code="invalid_run_policy") from error
            if self._platform.joined(guard) != guard:
                raise Invalid(
                    f"the platform's fleet guard is {_words(self._platform)}; a tenant makes it stricter, not laxer",
                    code="invalid_run_policy",
                )
        environments = document.get("dryRun", {}).get("environments", [])
        if len(environments) > MAX_ENVIRONMENTS or not all(_ENVIRONMENT.fullmatch(name) for name in environments):
            raise Invalid(f"dryRun.environments: at most {MAX_ENVIRONMENTS} names", code="invalid_run_policy")


def _words(guard: FleetGuard) -> str:
    return f"{guard.processes} processes, {guard.approvals} more approvals, {render(guard.soak)} between two stages"
