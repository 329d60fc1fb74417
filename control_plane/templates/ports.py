"""What a review needs of others: who may review, which logins are one person, and what masking will do."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.identifiers import SubjectId, TenantId
from control_plane.policy.model import Permission
from control_plane.templates.counting import Panel
from language.masking_model import BoundRule
from language.model import Template


class Reviewers(Protocol):
    async def panel(
        self, session: AsyncSession, tenant: TenantId, permission: Permission = Permission.TEMPLATE_REVIEW
    ) -> Panel:
        """Everybody who may review in this tenant now; who is locked is not on it.

        With TRACEPOINT_APPROVE: who may say yes to a single request.
        """
        ...

    async def persons(
        self, session: AsyncSession, tenant: TenantId, subjects: Collection[SubjectId]
    ) -> Mapping[SubjectId, SubjectId]:
        """The person behind each login: second logins and service accounts lead to their owner, others to themselves."""
        ...


class Masks(Protocol):
    async def bound(self, session: AsyncSession, tenant: TenantId, template: Template) -> tuple[BoundRule, ...]:
        """The rules that hold now for each column; empty when masking refuses the template."""
        ...
