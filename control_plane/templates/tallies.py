"""How many templates a tenant has, by name: for its quota."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.templates.tables import TemplateVersionRow


async def count_templates(session: AsyncSession, tenant: str) -> int:
    names = select(func.count(TemplateVersionRow.name.distinct())).where(TemplateVersionRow.tenant == tenant)
    return await session.scalar(names) or 0
