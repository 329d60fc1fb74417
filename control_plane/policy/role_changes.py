"""Who holds which role, as a kind of proposal: a subject and the roles it is to hold -> what it gains and loses by that.

A second person must agree where reviewers, administrators or auditors come or go, where a guarded permission moves, and
where somebody gives more to themselves. The right to give roles, `member:write`, stands in for holding what they hold,
as Kubernetes' `bind` does: an administrator neither reviews nor runs, and seats those who do. `membership` is its user.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.audit_trail import AuditAction
from control_plane.foundation.clock import Clock
from control_plane.foundation.errors import Conflict, Invalid, NotFound
from control_plane.foundation.identifiers import SubjectId, TenantId
from control_plane.foundation.request_headers import ABSENT, check_match
from control_plane.policy.comparing import GUARDED, SEATS, Change, compare_subject, held_before
from control_plane.policy.decide import PLATFORM
from control_plane.policy.index import Base, Snapshot
from control_plane.policy.model import Asker, Grant, Permission
from control_plane.policy.persons import persons
from control_plane.policy.proposal_model import Description, Payload
from control_plane.policy.snapshots import read_snapshot
from control_plane.policy.tables import MemberRow, TenantRow

ADMINISTRATORS: Final = {True: "platform-admin", False: "tenant-admin"}
_MAX_LOGGED: Final = 700  # characters of a subject


@dataclass(frozen=True)
class Membership:
    """One subject in one tenant; no roles: a member no more."""

    tenant: TenantId
    subject: SubjectId
    roles: tuple[str, ...]

    @property
    def etag(self) -> str:
        """Of what the member holds; ABSENT for one who holds nothing."""
        return _digest(self.tenant, self.subject, self.roles) if self.roles else ABSENT


class RoleChange:
    """Kind[Membership]. The payload: `subject`, whole, `roles`, all that it is to hold (none removes the member), and
    `if_match`, the ETag that the author read.
    """

    name: Final = "member"
    permission: Final = Permission.MEMBER_WRITE
    guard: Final = Permission.MEMBER_WRITE
    action: Final = AuditAction.MEMBER_CHANGE

    def __init__(self, base: Base, clock: Clock) -> None:
        self._base = base
        self._clock = clock

    def resource(self, payload: Payload) -> str:
        return f"member/{payload['subject'][:_MAX_LOGGED]}"

    def named(self, payload: Payload) -> str:  # noqa: ARG002 -- roles are given by a permission on all members
        return "*"

    async def describe(self, session: AsyncSession, tenant: TenantId, asker: Asker, payload: Payload) -> Description:
        """Raises Invalid, NotFound, Stale, Conflict: the last administrator stays."""
        subject, roles = SubjectId(payload["subject"]), tuple(sorted(set(payload["roles"])))
        before = await self._snapshot(session, tenant)
        held = before.members.get(subject, ())
        check_match(subject, Membership(tenant, subject, tuple(held)).etag, payload["if_match"])
        if roles:
            check_roles(self._base, tenant, roles)
        elif not held:
            raise NotFound(f"{subject} is not a member of tenant {tenant}")
        keep_an_administrator(tenant, before.members, subject, roles)
        members = (
            {**before.members, subject: roles} if roles else {k: v for k, v in before.members.items() if k != subject}
        )
        changes = compare_subject(before, replace(before, members=members), subject)
        moved = sorted(set(held) ^ set(roles))
        summary = [
            *(f"{subject} {'gains' if role in roles else 'loses'} the role {role}" for role in moved),
            *(change.words() for change in changes),
        ]
        own = await self._is_themselves(session, tenant, asker, subject)
        return Description(
            summary=tuple(summary),
            needs=tuple(dict.fromkeys((*_guarded(moved, changes), *(_own(before, asker, changes) if own else ())))),
            base=_digest(tenant, subject, held),
            not_held=tuple(
                change.words() for change in changes if change.gains and not held_before(before, asker, change)
            ),
            detail={"subject": subject, "before": list(held), "after": list(roles)},
        )

    async def enact(self, session: AsyncSession, grant: Grant, payload: Payload, author: SubjectId) -> Membership:
        return await self.seat(
            session, grant.resource.tenant, SubjectId(payload["subject"]), payload["roles"], added_by=author
        )

    async def seat(
        self, session: AsyncSession, tenant: TenantId, subject: SubjectId, roles: Sequence[str], added_by: str
    ) -> Membership:
        """Write it, and raise the tenant's policy version, by which every replica reads it anew."""
        wanted = tuple(sorted(set(roles)))
        await session.execute(delete(MemberRow).where(MemberRow.tenant == tenant, MemberRow.subject == subject))
        for role in wanted:
            session.add(
                MemberRow(tenant=tenant, subject=subject, role=role, added_at=self._clock.now(), added_by=added_by)
            )
        await session.flush()
        await session.execute(
            update(TenantRow)
            .where(TenantRow.tenant == tenant)
            .values(policy_version=TenantRow.policy_version + 1)
            .execution_options(synchronize_session=False)
        )
        return Membership(tenant, subject, wanted)

    async def _snapshot(self, session: AsyncSession, tenant: TenantId) -> Snapshot:
        version = await session.scalar(
            select(TenantRow.policy_version).where(TenantRow.tenant == tenant).with_for_update()
        )
        return await read_snapshot(session, tenant, version or 0, self._base)

    async def _is_themselves(self, session: AsyncSession, tenant: TenantId, asker: Asker, subject: SubjectId) -> bool:
        person = await persons(session, tenant, (asker.subject, subject))
        return person[asker.subject] == person[subject]


def check_roles(base: Base, tenant: TenantId, roles: Sequence[str]) -> None:
    """Raises Invalid: a role that is not there, not to be held here, or not beside another."""
    if not roles:
        raise Invalid("roles: expected at least one; removing the member takes all of them away")
    for name in roles:
        role = base.book.roles.get(name)
        if role is None:
            raise Invalid(f"there is no role {name!r}; roles are {', '.join(base.book.roles)}")
        if role.platform != (tenant == PLATFORM) and (role.platform or name != "auditor"):
            where = "in the tenant 'platform' only" if role.platform else "not in the tenant 'platform'"
            raise Invalid(f"the role {name} can be held {where}")
        for other in role.excludes:
            if other in roles:
                raise Invalid(f"{name} and {other} exclude each other: two people must hold them")


def keep_an_administrator(
    tenant: TenantId, members: Mapping[str, Sequence[str]], subject: SubjectId, roles: Sequence[str]
) -> None:
    """Raises Conflict when nobody would administer the tenant any more."""
    administrator = ADMINISTRATORS[tenant == PLATFORM]
    holders = {member for member, held in members.items() if administrator in held}
    if administrator not in roles and holders == {subject}:
        raise Conflict(
            f"{subject} is the last {administrator} of tenant {tenant}; name another first",
            code="last_administrator",
        )


def _guarded(moved: Sequence[str], changes: Sequence[Change]) -> list[str]:
    roles = [f"it touches the role {role}" for role in moved if role in SEATS]
    return [*roles, *(f"it touches {change.action}" for change in changes if change.action in GUARDED)]


def _own(before: Snapshot, asker: Asker, changes: Sequence[Change]) -> list[str]:
    return [
        f"it gives {change.action} to the one who asks for it"
        for change in changes
        if change.gains and not held_before(before, asker, change)
    ]


def _digest(tenant: TenantId, subject: SubjectId, roles: Sequence[str]) -> str:
    held = "\x00".join((tenant, subject, *sorted(roles)))
    return "sha256:" + hashlib.sha256(held.encode()).hexdigest()
