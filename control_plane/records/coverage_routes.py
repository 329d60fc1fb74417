"""What masking covers in a tenant, over HTTP. `masking:read`: it says what is hidden, and shows no value."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, BaseModel

from control_plane.foundation.provision import provided
from control_plane.policy.asking import Granted, requires
from control_plane.policy.model import Permission
from control_plane.records.coverage import (
    MAX_CURSOR,
    MAX_PAGE,
    FieldCoverage,
    Firing,
    MaskingCoverage,
    RuleCoverage,
    Shown,
)
from language.masking_rules import Scope

router = APIRouter(tags=["masking"])
Coverage = Annotated[MaskingCoverage, Depends(provided(MaskingCoverage))]
_Since = Annotated[
    AwareDatetime | None,
    Query(description="Tracepoints that ended before it do not count; else those of 30 days, of 366 at most."),
]


class DidOut(BaseModel):
    """What one rule did to one field: values it looked at, values it hid."""

    rule: str
    action: str
    values: int
    hidden: int


class FieldOut(BaseModel):
    """A captured field. `in_clear` values left their host as they are, `unscanned` ones were hidden unseen.

    `rows` are those of its template and table. A value stands in two of `rules` where a detector of the tenant's own
    found something in it, or where it could not be scanned; `more_rules` are not listed.
    """

    template: str
    table: str
    column: str
    type: str
    rows: int
    in_clear: int
    unscanned: int
    shown: Shown
    rules: list[DidOut]
    more_rules: int

    @classmethod
    def of(cls, field: FieldCoverage) -> FieldOut:
        return cls(
            template=field.template,
            table=field.table,
            column=field.column,
            type=field.type,
            rows=field.rows,
            in_clear=field.in_clear,
            unscanned=field.unscanned,
            shown=field.shown,
            rules=[
                DidOut(rule=line.rule, action=line.action, values=line.values, hidden=line.hidden)
                for line in field.lines
            ],
            more_rules=field.more_lines,
        )


class FieldsOut(BaseModel):
    since: datetime
    items: list[FieldOut]
    next: str | None


class RuleCoverageOut(BaseModel):
    """A rule that holds now. `unseen`: it drops, and what is never read inside a value is in no receipt."""

    rule: str
    scope: Scope
    action: str
    fields: int
    values: int
    hidden: int
    firing: Firing
    in_force_since: datetime | None

    @classmethod
    def of(cls, rule: RuleCoverage) -> RuleCoverageOut:
        return cls(
            rule=rule.rule,
            scope=rule.scope,
            action=rule.action,
            fields=rule.fields,
            values=rule.values,
            hidden=rule.hidden,
            firing=rule.firing,
            in_force_since=rule.in_force_since,
        )


class RuleCoveragesOut(BaseModel):
    items: list[RuleCoverageOut]
    next: None = None


@router.get("/v1/tenants/{tenant}/masking/coverage")
@requires(Permission.MASKING_READ)
async def fields(
    grant: Granted,
    coverage: Coverage,
    since: _Since = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
    cursor: Annotated[str, Query(max_length=MAX_CURSOR)] = "",
) -> FieldsOut:
    """Every field that was captured, what each rule did to it, and which of its values were shown as they are."""
    page = await coverage.fields(grant, since, limit, cursor)
    return FieldsOut(since=page.since, items=[FieldOut.of(item) for item in page.items], next=page.next)


@router.get("/v1/tenants/{tenant}/masking/coverage/rules")
@requires(Permission.MASKING_READ)
async def rules(grant: Granted, coverage: Coverage, since: _Since = None) -> RuleCoveragesOut:
    """Every rule of the platform and the tenant that holds now, and whether it ever decided about a value."""
    return RuleCoveragesOut(items=[RuleCoverageOut.of(rule) for rule in await coverage.rules(grant, since)])
