"""May they? Principal, Permission, Resource -> Grant, or Denied with the reason, or NotFound.

    1. the tenant and its policy version    absent             -> NotFound
    2. the snapshot of that version         not a member       -> NotFound, in the same words
    3. decide                               no                 -> Denied: the rule, what is missing, the smallest change
    4. the credential                       a program, a token -> Denied: what takes a person; what the token is not for
    5. the log                              cannot be written  -> AuditUnavailable, so no grant

Every answer is an entry in the log, yes and no, mutation and read alike: DESIGN.md's table has no exception, and who
looked at what is part of the record. A decision is one short transaction; only then does the route's own begin.
The answer to a non-member goes to the platform's log: whether the tenant exists at all is nobody's business.
"""

from __future__ import annotations

import logging
from typing import Final, NoReturn

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.clock import Clock
from control_plane.foundation.correlation import current_request_id
from control_plane.foundation.database import Database
from control_plane.foundation.errors import Denied, NotFound
from control_plane.foundation.identifiers import SubjectId, TenantId
from control_plane.identity.model import Principal, PrincipalKind
from control_plane.identity.service import unsafe_operator
from control_plane.policy.conditions import Facts
from control_plane.policy.decide import PLATFORM, TENANT_PATTERN, Decision, decide
from control_plane.policy.index import Snapshot, base_of
from control_plane.policy.model import Asker, Grant, Permission, Resource, Terms
from control_plane.policy.persons import persons
from control_plane.policy.roles import RoleBook
from control_plane.policy.rules import SUPPLIED
from control_plane.policy.snapshots import read_snapshot
from control_plane.policy.tables import TenantRow
from control_plane.policy.tenant_states import GONE

PLATFORM_TENANT: Final = TenantId(PLATFORM)
MAX_SNAPSHOTS: Final = 4096  # tenants kept compiled; each is some tens of KiB
# What takes somebody who signed in themselves: neither a service account, nor a token that acts for a person.
IN_PERSON: Final = frozenset(
    {
        Permission.TEMPLATE_REVIEW,
        Permission.TRACEPOINT_APPROVE,
        Permission.TRACEPOINT_BREAK_GLASS,
        Permission.PROPOSAL_DECIDE,
        Permission.ACCOUNT_WRITE,
        Permission.TOKEN_WRITE,
    }
)
MAX_GROUPS_LOGGED: Final = 50  # of one asker: what a tenant maps is fewer, and each decision is an entry
_log = logging.getLogger(__name__)
_MAX_LOGGED: Final = 100  # characters of a name that nobody vouched for


class PolicyService:
    def __init__(self, database: Database, audit: AuditTrail, book: RoleBook, clock: Clock) -> None:
        self._database = database
        self._audit = audit
        self._base = base_of(book)
        self._clock = clock
        self._snapshots: dict[str, Snapshot] = {}

    async def require(self, principal: Principal, permission: Permission, resource: Resource) -> Grant:
        """The proof of a yes. Raises Denied, NotFound, AuditUnavailable."""
        decision = None
        async with self._database.transaction(resource.tenant) as session:
            snapshot = await self._snapshot(session, resource.tenant)
            if snapshot is not None and _is_known(snapshot, principal):
                decision = self._decide(snapshot, principal, permission, resource.name)
                await self._write(session, resource.tenant, principal, permission, resource, decision)
        if decision is None:
            async with self._database.transaction(PLATFORM_TENANT) as session:
                await self._write(session, PLATFORM_TENANT, principal, permission, resource, None)
            raise no_such_tenant(resource.tenant)
        if not decision.allowed:
            _refuse(decision, permission, resource)
        return Grant(principal, permission, resource, decision.rule, Terms(decision.terms) if decision.terms else None)

    async def can(self, principal: Principal, permission: str, tenant: TenantId, name: str) -> Decision:
        """The same answer without asking for anything: `can-i`. Mints nothing. Raises NotFound like `require`."""
        async with self._database.transaction(tenant) as session:
            snapshot = await self._snapshot(session, tenant)
        if snapshot is None or not _is_known(snapshot, principal):
            raise no_such_tenant(tenant)
        return self._decide(snapshot, principal, permission, name)

    async def decided(
        self, session: AsyncSession, principal: Principal, permission: Permission, tenant: TenantId, name: str
    ) -> Decision:
        """A second question within a step, about somebody who holds a grant for the first; the step's entry tells it."""
        snapshot = await self._snapshot(session, tenant)
        if snapshot is None or not _is_known(snapshot, principal):
            raise no_such_tenant(tenant)
        return self._decide(snapshot, principal, permission, name)

    async def holds(
        self, session: AsyncSession, tenant: TenantId, asker: Asker, permission: Permission, name: str = "*"
    ) -> bool:
        """Whether they may, as of this transaction; asks for nothing and writes nothing."""
        snapshot = await self._snapshot(session, tenant)
        if snapshot is None:
            return False
        facts = Facts(self._clock.now(), pending=SUPPLIED.get(permission, frozenset()))
        return decide(snapshot, asker.subject, permission, name, facts, asker.groups, explain=False).allowed

    async def holders(
        self, session: AsyncSession, tenant: TenantId, permission: Permission, name: str, other_than: SubjectId
    ) -> tuple[SubjectId, ...]:
        """Members who may by what stands here, without the logins of one person."""
        snapshot = await self._snapshot(session, tenant)
        members = [SubjectId(member) for member in sorted(snapshot.members)] if snapshot else []
        person = await persons(session, tenant, (other_than, *members))
        others = [Asker(member) for member in members if person[member] != person[other_than]]
        found = [asker.subject for asker in others if await self.holds(session, tenant, asker, permission, name)]
        return tuple(found)

    async def unsafe_operator_grant(self, permission: Permission, resource: Resource) -> Grant:
        """For the person at the server's own shell, who holds the state directory and so every key already.

        Asks no rule; the entry in the log says so. Raises NotFound, AuditUnavailable.
        """
        principal = unsafe_operator()
        decision = Decision(True, "operator-shell", "")
        async with self._database.transaction(resource.tenant) as session:
            row = await session.get(TenantRow, resource.tenant)
            known = row is not None and row.state not in GONE
            if known:
                await self._write(session, resource.tenant, principal, permission, resource, decision)
        if not known:
            raise no_such_tenant(resource.tenant)
        return Grant(principal, permission, resource, decision.rule)

    def _decide(self, snapshot: Snapshot, principal: Principal, permission: str, name: str) -> Decision:
        facts = Facts(self._clock.now(), pending=SUPPLIED.get(permission, frozenset()))
        decision = decide(snapshot, principal.id, permission, name, facts, principal.groups)
        if not decision.allowed:
            return decision
        if permission in IN_PERSON and not principal.in_person:
            who = "a service account" if principal.kind is PrincipalKind.SERVICE else "a token"
            reason = f"you are {who}; {permission} takes a person who signed in themselves"
            change = "a person who may signs in and does it"
            return Decision(False, "in-person", reason, decision.roles, change=change)
        if principal.limits is not None and permission not in principal.limits.permissions:
            reason = f"your roles allow {permission}, your token is not for it"
            change = f"use a token with {permission}, or sign in yourself"
            return Decision(False, "token-scope", reason, decision.roles, change=change)
        return decision

    async def _snapshot(self, session: AsyncSession, tenant: TenantId) -> Snapshot | None:
        """The tenant's rules as of this transaction: the version is read each time, the rest when it has changed."""
        if not TENANT_PATTERN.fullmatch(tenant):
            return None
        wanted = select(TenantRow.policy_version).where(TenantRow.tenant == tenant, TenantRow.state.not_in(GONE))
        version = await session.scalar(wanted)
        if version is None:
            return None
        known = self._snapshots.get(tenant)
        if known is None or known.version != version:
            known = await read_snapshot(session, tenant, version, self._base)
            if len(self._snapshots) >= MAX_SNAPSHOTS:
                self._snapshots.pop(next(iter(self._snapshots)))
            self._snapshots[tenant] = known
        return known

    async def _write(
        self,
        session: AsyncSession,
        log: TenantId,
        principal: Principal,
        permission: Permission,
        resource: Resource,
        decision: Decision | None,
    ) -> None:
        allowed = decision is not None and decision.allowed
        event = AuditEvent(
            action=AuditAction.POLICY_ALLOW if allowed else AuditAction.POLICY_DENY,
            outcome=Outcome.SUCCESS if allowed else Outcome.REFUSED,
            actor=principal.id,
            resource=f"{resource.kind}/{resource.name[:_MAX_LOGGED]}",
            detail={
                "permission": permission.value,
                "rule": decision.rule if decision else "not-a-member",
                **({} if decision else {"tenant": resource.tenant[:_MAX_LOGGED]}),
                **({"reason": decision.reason} if decision and decision.reason else {}),
                **({"groups": sorted(principal.groups)[:MAX_GROUPS_LOGGED]} if principal.groups else {}),
                **({} if principal.kind is PrincipalKind.PERSON else {"kind": principal.kind.value}),
            },
            request_id=current_request_id.get(),
        )
        await self._audit.append(session, log, event)


def _is_known(snapshot: Snapshot, principal: Principal) -> bool:
    """A member, by a credential that is good in this tenant: for another one the tenant is not there."""
    elsewhere = principal.limits is not None and principal.limits.tenant not in {"", snapshot.tenant}
    return not elsewhere and bool(snapshot.roles_of(principal.id, principal.groups))


def no_such_tenant(tenant: str) -> NotFound:
    """The one answer for a tenant that is absent and for one that is not yours."""
    return NotFound(
        f"there is no tenant {tenant[:_MAX_LOGGED]!r} that you are a member of; `probegate whoami` lists yours"
    )


def _refuse(decision: Decision, permission: Permission, resource: Resource) -> NoReturn:
    raise Denied(
        f"{permission} on {resource.kind}/{resource.name} is denied: {decision.reason}.",
        extra={
            "permission": permission.value,
            "resource": f"{resource.kind}/{resource.name}",
            "rule": decision.rule,
            "roles_held": list(decision.roles),
            "roles_that_allow": list(decision.would_allow),
            "missing": list(decision.missing),
            "smallest_change": decision.change,
        },
    )
