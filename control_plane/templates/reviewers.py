"""Who may review and who is who, from the members of the tenant and `policy.persons`. Implements Reviewers."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.clock import Clock
from control_plane.foundation.identifiers import SubjectId, TenantId
from control_plane.policy.locks import locked_subjects
from control_plane.policy.model import Permission
from control_plane.policy.persons import persons
from control_plane.policy.roles import RoleBook
from control_plane.policy.tables import MemberRow
from control_plane.templates.counting import Panel


class MemberReviewers:
    def __init__(self, book: RoleBook, clock: Clock) -> None:
        self._book = book
        self._clock = clock

    async def panel(
        self, session: AsyncSession, tenant: TenantId, permission: Permission = Permission.TEMPLATE_REVIEW
    ) -> Panel:
        held: dict[SubjectId, tuple[str, ...]] = {}
        for subject, role in await session.execute(
            select(MemberRow.subject, MemberRow.role).where(MemberRow.tenant == tenant)
        ):
            held[SubjectId(subject)] = (*held.get(SubjectId(subject), ()), role)
        locked = await locked_subjects(
            session, tenant, {who: self._book.closure(r) for who, r in held.items()}, self._clock.now()
        )
        return Panel(
            {
                who: self._book.closure(roles)
                for who, roles in held.items()
                if who not in locked and self._holds(roles, permission)
            }
        )

    async def persons(
        self, session: AsyncSession, tenant: TenantId, subjects: Collection[SubjectId]
    ) -> Mapping[SubjectId, SubjectId]:
        return await persons(session, tenant, subjects)

    def _holds(self, roles: tuple[str, ...], permission: Permission) -> bool:
        allowed = any(permission in self._book.roles[role].allow for role in self._book.closure(roles))
        return allowed and not self._book.denying(roles, permission)
