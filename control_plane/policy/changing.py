"""Change a tenant's own policy: text -> plan -> applied version, or a proposal that waits for a second person.

    1. document     read strictly                            or BadPolicy
    2. comparing    who gains, who loses; lint; own tests    or Invalid: a serious finding, a test that fails
    3. escalation   nobody grants what they do not hold      or Denied
    4. guarded      reviewers, administrators, masking       -> proposed, until somebody else agrees
    5. applied      the version before is superseded, the tenant's policy version rises by one, all in one transaction

The raised version is what every replica reads at its next decision, in that decision's own transaction: a change holds
everywhere at once, and a replica that cannot read it answers 503 and decides nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.audited import audited
from control_plane.foundation.clock import Clock
from control_plane.foundation.correlation import current_request_id
from control_plane.foundation.database import Database
from control_plane.foundation.errors import Conflict, Denied, Invalid, NotFound, Stale
from control_plane.foundation.identifiers import TenantId
from control_plane.policy.comparing import Change, Finding, compare, failed_tests, guarded, lint, ways
from control_plane.policy.conditions import Facts
from control_plane.policy.document import PolicyDocument, load_policy
from control_plane.policy.index import Snapshot, base_of
from control_plane.policy.model import Grant, Permission
from control_plane.policy.roles import RoleBook
from control_plane.policy.rule_tables import PolicyVersionRow
from control_plane.policy.rules import SUPPLIED
from control_plane.policy.snapshots import read_snapshot
from control_plane.policy.tables import TenantRow

MAX_SIMULATED: Final = 10_000  # recorded decisions of one simulation: some seconds of reading
MAX_MESSAGE: Final = 1000


class VersionState(StrEnum):
    PROPOSED = "proposed"
    APPLIED = "applied"
    SUPERSEDED = "superseded"
    REJECTED = "rejected"


@dataclass(frozen=True)
class PolicyVersion:
    version: int
    digest: str
    state: VersionState
    source: str
    message: str
    author: str
    created_at: datetime
    decided_by: str
    decided_at: datetime | None


@dataclass(frozen=True)
class Plan:
    """What an apply would do. `needs` says why a second person must agree; empty when nobody must."""

    digest: str
    changes: tuple[Change, ...]
    findings: tuple[Finding, ...]
    failed_tests: tuple[str, ...]
    not_held: tuple[str, ...]
    needs: tuple[str, ...]


@dataclass(frozen=True)
class RecordedDecision:
    at: datetime
    actor: str
    permission: str
    name: str
    allowed: bool


@dataclass(frozen=True)
class Flip:
    decision: RecordedDecision
    rule: str


class RecordedDecisions(Protocol):
    async def recorded(self, session: AsyncSession, tenant: TenantId, limit: int) -> Sequence[RecordedDecision]:
        """The newest decisions in the tenant's log, the newest first."""
        ...


class PolicyChanges:
    def __init__(
        self, database: Database, audit: AuditTrail, book: RoleBook, clock: Clock, log: RecordedDecisions
    ) -> None:
        self._database = database
        self._audit = audit
        self._base = base_of(book)
        self._clock = clock
        self._log = log

    async def show(self, grant: Grant) -> PolicyVersion | None:
        """The version in force; None while the tenant has none of its own."""
        async with self._database.transaction(grant.resource.tenant) as session:
            row = await self._applied(session, grant.resource.tenant)
            return None if row is None else _version(row)

    async def versions(self, grant: Grant) -> tuple[PolicyVersion, ...]:
        """The newest first."""
        table = PolicyVersionRow
        async with self._database.transaction(grant.resource.tenant) as session:
            rows = await session.scalars(
                select(table).where(table.tenant == grant.resource.tenant).order_by(table.version.desc()).limit(200)
            )
            return tuple(_version(row) for row in rows)

    async def plan(self, grant: Grant, source: str) -> Plan:
        """Nothing changes. Raises BadPolicy."""
        document = load_policy(source, self._base.book)
        async with self._database.transaction(grant.resource.tenant) as session:
            return self._plan(await self._snapshot(session, grant.resource.tenant), document, source, grant)

    async def apply(self, grant: Grant, source: str, message: str, if_match: int | None = None) -> PolicyVersion:
        """In force, or proposed where a second person must agree. Raises BadPolicy, Invalid, Denied, Stale, Conflict."""
        tenant = grant.resource.tenant
        async with self._step(grant, AuditAction.POLICY_APPLY, "policy/new") as session:
            document = load_policy(source, self._base.book)
            snapshot = await self._snapshot(session, tenant, lock=True)
            current = await self._applied(session, tenant)
            based_on = current.version if current else 0
            if if_match is not None and if_match != based_on:
                raise Stale(
                    f"policy version {based_on} is in force, yours was made from {if_match}: `probegate policy plan` again"
                )
            if current is not None and current.digest == _digest(source):
                return _version(current)
            plan = self._plan(snapshot, document, source, grant)
            _refuse_bad(plan)
            row = await self._added(session, grant, source, message, based_on)
            if plan.needs:
                await self._write(session, grant, AuditAction.POLICY_PROPOSE, row, plan)
            else:
                await self._enact(session, grant, row, plan)
            return _version(row)

    async def approve(self, grant: Grant, version: int, digest: str) -> PolicyVersion:
        """A second person agrees, and it comes into force. Raises NotFound, Denied, Conflict, Stale."""
        async with self._step(grant, AuditAction.POLICY_APPLY, f"policy/{version}") as session:
            snapshot = await self._snapshot(session, grant.resource.tenant, lock=True)
            row = await self._proposed(session, grant, version)
            if row.author == grant.principal.id:
                raise Denied(
                    f"you proposed policy version {version}: somebody else with {Permission.POLICY_WRITE} agrees, or nobody",
                    code="own_proposal",
                    extra={"smallest_change": f"another person runs `probegate policy approve {version}`"},
                )
            if row.digest != digest:
                raise Conflict(f"policy version {version} has the digest {row.digest}: look at it again", code="digest")
            current = await self._applied(session, grant.resource.tenant)
            if row.based_on != (current.version if current else 0):
                raise Stale(
                    f"another policy came into force since version {version} was proposed: plan and propose it again"
                )
            plan = self._plan(snapshot, load_policy(row.source, self._base.book), row.source, grant)
            _refuse_bad(replace(plan, not_held=()))  # who proposed it had to hold it
            await self._enact(session, grant, row, plan)
            return _version(row)

    async def reject(self, grant: Grant, version: int) -> PolicyVersion:
        """Raises NotFound, Conflict."""
        async with self._step(grant, AuditAction.POLICY_REJECT, f"policy/{version}") as session:
            row = await self._proposed(session, grant, version)
            self._decide(row, grant, VersionState.REJECTED)
            await self._write(session, grant, AuditAction.POLICY_REJECT, row, None)
            return _version(row)

    async def rollback(self, grant: Grant, version: int) -> PolicyVersion:
        """A new version with an old one's text, by the same rules as any other. Raises NotFound and what `apply` raises."""
        async with self._database.transaction(grant.resource.tenant) as session:
            row = await session.get(PolicyVersionRow, (grant.resource.tenant, version))
        if row is None or row.state not in {VersionState.SUPERSEDED, VersionState.APPLIED}:
            raise NotFound(f"policy version {version} was never in force; `probegate policy versions` lists them")
        return await self.apply(grant, row.source, f"back to version {version}")

    async def who_can(self, grant: Grant, permission: str, name: str) -> dict[str, str]:
        """Members who may, and by which rule; conditions are told, not judged."""
        asked = _permission(permission)
        async with self._database.transaction(grant.resource.tenant) as session:
            snapshot = await self._snapshot(session, grant.resource.tenant)
        may = {}
        for subject in sorted(snapshot.members):
            ruling = snapshot.rule(subject, asked.value, name, Facts(self._clock.now()))
            under = ways(snapshot, subject, asked, name)
            if ruling.allowed and ruling.rule:
                may[subject] = ruling.rule.row(snapshot.tenant)
            elif under:
                may[subject] = "when " + " or ".join(sorted(under))
        return may

    async def simulate(self, grant: Grant, source: str) -> tuple[int, tuple[Flip, ...]]:
        """How many recorded decisions were asked again, and those that would come out otherwise. Raises BadPolicy."""
        document = load_policy(source, self._base.book)
        tenant = grant.resource.tenant
        async with self._database.transaction(tenant) as session:
            snapshot = _with(await self._snapshot(session, tenant), document)
            decisions = await self._log.recorded(session, tenant, MAX_SIMULATED)
        flips = []
        for decision in decisions:
            ruling = snapshot.rule(decision.actor, decision.permission, decision.name, _as_then(decision))
            if ruling.allowed is not decision.allowed:
                flips.append(Flip(decision, ruling.rule.row(tenant) if ruling.rule else "no rule allows it"))
        return len(decisions), tuple(flips)

    def _plan(self, snapshot: Snapshot, document: PolicyDocument, source: str, grant: Grant) -> Plan:
        after = _with(snapshot, document)
        changes = compare(snapshot, after)
        not_held = tuple(
            change.words()
            for change in changes
            if change.gains
            and not _holds(snapshot, grant.principal.id, change)
            and not _is_the_roles_own(_with(snapshot, PolicyDocument()), change)
        )
        return Plan(
            _digest(source),
            changes,
            lint(document, after),
            failed_tests(document, after, self._clock.now()),
            not_held,
            guarded(changes),
        )

    async def _snapshot(self, session: AsyncSession, tenant: TenantId, *, lock: bool = False) -> Snapshot:
        wanted = select(TenantRow.policy_version).where(TenantRow.tenant == tenant)
        version = await session.scalar(wanted.with_for_update() if lock else wanted)
        return await read_snapshot(session, tenant, version or 0, self._base)

    async def _applied(self, session: AsyncSession, tenant: TenantId) -> PolicyVersionRow | None:
        table = PolicyVersionRow
        found: PolicyVersionRow | None = await session.scalar(
            select(table).where(table.tenant == tenant, table.state == VersionState.APPLIED)
        )
        return found

    async def _proposed(self, session: AsyncSession, grant: Grant, version: int) -> PolicyVersionRow:
        row = await session.get(PolicyVersionRow, (grant.resource.tenant, version), with_for_update=True)
        if row is None:
            raise NotFound(f"there is no policy version {version}; `probegate policy versions` lists them")
        if row.state != VersionState.PROPOSED:
            raise Conflict(f"policy version {version} is {row.state}, not proposed", code="wrong_state")
        return row

    async def _added(
        self, session: AsyncSession, grant: Grant, source: str, message: str, based_on: int
    ) -> PolicyVersionRow:
        tenant, table = grant.resource.tenant, PolicyVersionRow
        newest = await session.scalar(select(func.max(table.version)).where(table.tenant == tenant)) or 0
        row = PolicyVersionRow(
            tenant=tenant,
            version=newest + 1,
            source=source,
            digest=_digest(source),
            state=VersionState.PROPOSED.value,
            based_on=based_on,
            message=message[:MAX_MESSAGE],
            author=grant.principal.id,
            created_at=self._clock.now(),
            decided_by="",
            decided_at=None,
        )
        session.add(row)
        await session.flush()
        return row

    async def _enact(self, session: AsyncSession, grant: Grant, row: PolicyVersionRow, plan: Plan) -> None:
        tenant, table = grant.resource.tenant, PolicyVersionRow
        await session.execute(
            update(table)
            .where(table.tenant == tenant, table.state == VersionState.APPLIED)
            .values(state=VersionState.SUPERSEDED.value)
        )
        self._decide(row, grant, VersionState.APPLIED)
        await session.execute(
            update(TenantRow)
            .where(TenantRow.tenant == tenant)
            .values(policy_version=TenantRow.policy_version + 1)
            .execution_options(synchronize_session=False)
        )
        await self._write(session, grant, AuditAction.POLICY_APPLY, row, plan)

    def _decide(self, row: PolicyVersionRow, grant: Grant, state: VersionState) -> None:
        row.state, row.decided_by, row.decided_at = state.value, grant.principal.id, self._clock.now()

    def _step(self, grant: Grant, action: AuditAction, resource: str) -> AbstractAsyncContextManager[AsyncSession]:
        return audited(self._database, self._audit, grant.resource.tenant, grant.principal.id, action, resource)

    async def _write(
        self, session: AsyncSession, grant: Grant, action: AuditAction, row: PolicyVersionRow, plan: Plan | None
    ) -> None:
        detail: dict[str, object] = {"digest": row.digest, "author": row.author}
        if plan is not None:
            detail |= {"changes": [change.words() for change in plan.changes[:100]], "needs": list(plan.needs)}
        event = AuditEvent(
            action, Outcome.SUCCESS, grant.principal.id, f"policy/{row.version}", detail, current_request_id.get()
        )
        await self._audit.append(session, grant.resource.tenant, event)


def _as_then(decision: RecordedDecision) -> Facts:
    """What the route knew when it decided."""
    return Facts(decision.at, pending=SUPPLIED.get(decision.permission, frozenset()))


def _with(snapshot: Snapshot, document: PolicyDocument) -> Snapshot:
    return Snapshot(
        snapshot.tenant, snapshot.version, snapshot.members, snapshot.base, document.rules, document.group_roles()
    )


def _holds(snapshot: Snapshot, subject: str, change: Change) -> bool:
    """Whether the one who grants it has it, always or under the same conditions. Roles are given by member:write."""
    if change.action.startswith("role "):
        return snapshot.rule(subject, Permission.MEMBER_WRITE, "*").allowed
    own = ways(snapshot, subject, Permission(change.action), change.name)
    return "" in own or change.when in own


def _is_the_roles_own(bare: Snapshot, change: Change) -> bool:
    """Whether policies/roles.yaml gives it anyway: lifting what a tenant's own deny took away grants nothing new."""
    if change.action.startswith("role ") or not change.who.startswith("role:"):
        return False
    return change.when in ways(bare, change.who, Permission(change.action), change.name)


def _refuse_bad(plan: Plan) -> None:
    serious = [finding.text for finding in plan.findings if finding.serious]
    if serious:
        raise Invalid("the policy cannot be applied: " + "; ".join(serious), code="bad_policy")
    if plan.failed_tests:
        raise Invalid("the policy's own tests fail: " + "; ".join(plan.failed_tests), code="policy_tests_failed")
    if plan.not_held:
        raise Denied(
            f"nobody grants what they do not hold themselves: {'; '.join(plan.not_held[:10])}. Somebody who holds it "
            "applies this, or it is left out",
            code="escalation",
            extra={"missing": list(plan.not_held[:10]), "smallest_change": "somebody who holds it applies the policy"},
        )


def _permission(word: str) -> Permission:
    try:
        return Permission(word)
    except ValueError as error:
        raise Invalid(f"there is no permission {word[:64]!r}") from error


def _digest(source: str) -> str:
    return "sha256:" + hashlib.sha256(source.encode()).hexdigest()


def _version(row: PolicyVersionRow) -> PolicyVersion:
    return PolicyVersion(
        row.version,
        row.digest,
        VersionState(row.state),
        row.source,
        row.message,
        row.author,
        row.created_at,
        row.decided_by,
        row.decided_at,
    )
