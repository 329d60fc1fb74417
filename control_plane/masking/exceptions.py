"""A tenant's exceptions in the database: which hold now, and the way to ask for one field of one template."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.errors import Invalid
from control_plane.foundation.identifiers import SubjectId, TenantId
from control_plane.masking.tables import MaskingExceptionRow
from language.masking_exceptions import MaskingException, read_exception
from language.masking_rules import Excepted, MaskingRuleError
from language.model import Template

MAX_EXCEPTIONS: Final = 50  # of one tenant: more are a rule that is wrong
LONGEST: Final = timedelta(days=90)  # an exception that is needed for longer is agreed to again


@dataclass(frozen=True)
class ApprovedException:
    """One exception, who asked for it and who agreed."""

    exception: MaskingException
    document: dict[str, Any]
    revision: int
    author: SubjectId
    approved_by: SubjectId
    approved_at: datetime


def read_document(name: str, document: dict[str, Any], now: datetime) -> MaskingException:
    """Raises Invalid with what is wrong, also for one that is over already or would last too long."""
    try:
        found = read_exception(name, document)
    except MaskingRuleError as error:
        raise Invalid(str(error), code="invalid_masking_exception") from error
    if not now < found.expires <= now + LONGEST:
        raise Invalid(
            f"exception {name}: expires: expected a moment within the next {LONGEST.days} days",
            code="invalid_masking_exception",
        )
    return found


async def exceptions_of(session: AsyncSession, tenant: TenantId) -> tuple[ApprovedException, ...]:
    """All that were agreed to, those that are over too."""
    table = MaskingExceptionRow
    rows = await session.scalars(select(table).where(table.tenant == tenant).order_by(table.name))
    return tuple(approved_exception(row) for row in rows)


def approved_exception(row: MaskingExceptionRow) -> ApprovedException:
    document = json.loads(row.document)
    return ApprovedException(
        exception=read_exception(row.name, document),
        document=document,
        revision=row.revision,
        author=SubjectId(row.author),
        approved_by=SubjectId(row.approved_by),
        approved_at=row.approved_at,
    )


def excepted(found: tuple[MaskingException, ...], template: Template, now: datetime) -> Excepted:
    """Which of them holds for a path of this template; the strictest, if several do."""

    def exception(path: tuple[str, ...]) -> MaskingException | None:
        holding = [
            one for one in found if now < one.expires and one.means(template.name, template.target.service, path)
        ]
        return max(holding, key=lambda one: one.treatment.strictness, default=None)

    return exception
