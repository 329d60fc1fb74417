"""A tenant's own masking rules in the database: JSON documents in, a RuleSet out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.errors import Invalid, NotFound
from control_plane.foundation.identifiers import SubjectId, TenantId
from control_plane.masking.model import TenantRule
from control_plane.masking.tables import MaskingRuleRow, MaskingSettingsRow
from language.masking_rules import MaskingRuleError, Rule, RuleSet, Scope, rule_from

MAX_TENANT_RULES: Final = 100  # each may travel with every column of every spec


def read_document(document: Mapping[str, object]) -> Rule:
    """Raises Invalid with what is wrong, also when one of the rule's own cases fails."""
    try:
        return rule_from(document)
    except MaskingRuleError as error:
        raise Invalid(str(error), code="invalid_masking_rule") from error


async def tenant_rules(session: AsyncSession, tenant: TenantId) -> tuple[TenantRule, ...]:
    rows = await session.scalars(
        select(MaskingRuleRow).where(MaskingRuleRow.tenant == tenant).order_by(MaskingRuleRow.name)
    )
    return tuple(tenant_rule(row) for row in rows)


async def tenant_rule_row(session: AsyncSession, tenant: TenantId, name: str) -> MaskingRuleRow:
    """Raises NotFound."""
    row = await session.get(MaskingRuleRow, (tenant, name), with_for_update=True)
    if row is None:
        raise NotFound(f"there is no masking rule {name[:64]!r} in this tenant; `probegate masking ls` lists them")
    return row


async def is_strict(session: AsyncSession, tenant: TenantId) -> bool:
    row = await session.get(MaskingSettingsRow, tenant)
    return row is not None and row.strict


def settings_etag(*, strict: bool) -> str:
    return "strict" if strict else "defaults"


async def rule_set(session: AsyncSession, tenant: TenantId) -> RuleSet:
    """The tenant's part of what decides, as it is in this transaction."""
    rules = tuple(found.rule for found in await tenant_rules(session, tenant))
    return RuleSet(Scope.TENANT, rules, {}, strict=await is_strict(session, tenant))


def tenant_rule(row: MaskingRuleRow) -> TenantRule:
    document = json.loads(row.document)
    return TenantRule(
        rule=read_document(document),
        document=document,
        revision=row.revision,
        changed_by=SubjectId(row.changed_by),
        changed_at=row.changed_at,
    )
