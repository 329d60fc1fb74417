"""A grant and a period -> what masking covers in a tenant: every captured field, and every rule that holds now.

    fields    by template, table and column: rows, what each rule did, what was sent as it is, what could not be looked at
    rules     of the platform and of the tenant, with those that never decided about a field

Both from the receipts that came with the batches (`coverage_reading`); a captured value is not looked at. Every read is in
the log, in the transaction that reads.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.audited import audited
from control_plane.foundation.clock import Clock
from control_plane.foundation.correlation import current_request_id
from control_plane.foundation.database import Database
from control_plane.foundation.errors import Invalid
from control_plane.foundation.identifiers import SubjectId, TenantId
from control_plane.masking.rules import tenant_rules
from control_plane.policy.model import Grant
from control_plane.records.coverage_reading import (
    Key,
    Line,
    RuleSums,
    fields_of,
    lines_of,
    rows_of,
    rule_sums,
    types_of,
)
from language.masking import Action, Treatment
from language.masking_rules import RuleSet, Scope

PERIOD: Final = timedelta(days=30)
MAX_PERIOD: Final = timedelta(days=366)  # a year and its leap day: what an audit looks back on
MAX_PAGE: Final = 200
MAX_CURSOR: Final = 2000  # characters: three names, as JSON may escape them, in base64
RESOURCE: Final = "masking/coverage"
_NONE: Final = RuleSums(0, 0, 0)


class Shown(StrEnum):
    """Whether a field's values left their host as they are."""

    ALWAYS = "always"
    SOMETIMES = "sometimes"
    NEVER = "never"
    NOTHING = "nothing"  # no value came: it is never read, or was absent each time


class Firing(StrEnum):
    """Whether a rule decided about a value."""

    FIRED = "fired"
    NEVER = "never"
    UNSEEN = "unseen"  # it drops: what is never read inside a value is in no receipt


@dataclass(frozen=True)
class FieldCoverage:
    """`lines` may count one value twice: for the rule that decided, and for what was found in it or could not be scanned.

    `in_clear` never does. `more_lines` rules hid less than those listed. `type` is Arrow's, empty where none is known.
    """

    template: str
    table: str
    column: str
    type: str
    rows: int
    in_clear: int
    unscanned: int
    shown: Shown
    lines: tuple[Line, ...]
    more_lines: int


@dataclass(frozen=True)
class FieldPage:
    since: datetime
    items: tuple[FieldCoverage, ...]
    next: str | None


@dataclass(frozen=True)
class RuleCoverage:
    """`in_force_since` is known of a tenant's own rules: when they were last changed."""

    rule: str
    scope: Scope
    action: str
    fields: int
    values: int
    hidden: int
    firing: Firing
    in_force_since: datetime | None


class MaskingCoverage:
    """`platform` is the pack of policies/masking/platform.yaml."""

    def __init__(self, database: Database, audit: AuditTrail, clock: Clock, platform: RuleSet) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        self._platform = platform

    async def fields(
        self, grant: Grant, since: datetime | None = None, limit: int = 100, cursor: str = ""
    ) -> FieldPage:
        """What was captured, by name. Raises Invalid."""
        tenant, begin = grant.resource.tenant, self._begin(since)
        after = _opened(cursor) if cursor else None
        limit = max(1, min(limit, MAX_PAGE))
        async with audited(*self._read(grant)) as session:
            found = await fields_of(session, tenant, begin, after, limit + 1)
            page = found[:limit]
            lines = await lines_of(session, tenant, begin, [sums.key for sums in page])
            rows = await rows_of(session, tenant, begin, {sums.key[0] for sums in page})
            types = await types_of(session, tenant, {(sums.key[1], sums.table_version) for sums in page})
            await self._log(session, grant, {"what": "fields", "since": begin.isoformat(), "fields": len(page)})
        items = []
        for sums in page:
            template, table, column = sums.key
            listed = lines.get(sums.key, ())
            items.append(
                FieldCoverage(
                    template=template,
                    table=table,
                    column=column,
                    type=types.get((table, sums.table_version, column), ""),
                    rows=rows.get((template, table), 0),
                    in_clear=sums.shown,
                    unscanned=sums.unscanned,
                    shown=_shown(sums.shown, sums.hidden),
                    lines=listed,
                    more_lines=sums.lines - len(listed),
                )
            )
        return FieldPage(begin, tuple(items), _sealed(page[-1].key) if len(found) > limit else None)

    async def rules(self, grant: Grant, since: datetime | None = None) -> tuple[RuleCoverage, ...]:
        """Every rule that holds in the tenant now, the platform's first. Raises Invalid."""
        tenant, begin = grant.resource.tenant, self._begin(since)
        async with audited(*self._read(grant)) as session:
            held = [*_labelled(self._platform)]
            own = RuleSet(Scope.TENANT)
            held += [
                (own.label(found.rule.name), Scope.TENANT, found.rule.treatment, found.changed_at)
                for found in await tenant_rules(session, tenant)
            ]
            sums = await rule_sums(session, tenant, begin, {label for label, *_ in held})
            await self._log(session, grant, {"what": "rules", "since": begin.isoformat()})
        return tuple(
            _covered(label, scope, treatment, changed, sums.get(label, _NONE))
            for label, scope, treatment, changed in held
        )

    def _begin(self, since: datetime | None) -> datetime:
        now = self._clock.now()
        if since is None:
            return now - PERIOD
        if not now - MAX_PERIOD <= since <= now:
            raise Invalid(f"since is {since.isoformat()}: a time of the last {MAX_PERIOD.days} days is expected")
        return since

    def _read(self, grant: Grant) -> tuple[Database, AuditTrail, TenantId, SubjectId, AuditAction, str]:
        who = grant.principal.id
        return self._database, self._audit, grant.resource.tenant, who, AuditAction.MASKING_READ, RESOURCE

    async def _log(self, session: AsyncSession, grant: Grant, detail: dict[str, object]) -> None:
        event = AuditEvent(
            action=AuditAction.MASKING_READ,
            outcome=Outcome.SUCCESS,
            actor=grant.principal.id,
            resource=RESOURCE,
            detail=detail,
            request_id=current_request_id.get(),
        )
        await self._audit.append(session, grant.resource.tenant, event)


def _labelled(rules: RuleSet) -> Iterator[tuple[str, Scope, Treatment, datetime | None]]:
    for rule in rules.rules:
        yield rules.label(rule.name), rules.scope, rule.treatment, None
    for kind, action in rules.defaults.items():
        yield rules.label(f"default.{kind}"), rules.scope, Treatment(action), None


def _covered(label: str, scope: Scope, treatment: Treatment, changed: datetime | None, sums: RuleSums) -> RuleCoverage:
    firing = Firing.FIRED if sums.values else Firing.NEVER
    if treatment.action is Action.DROP:
        firing = Firing.FIRED if sums.fields else Firing.UNSEEN
    return RuleCoverage(label, scope, str(treatment), sums.fields, sums.values, sums.hidden, firing, changed)


def _shown(in_clear: int, hidden: int) -> Shown:
    if in_clear:
        return Shown.SOMETIMES if hidden else Shown.ALWAYS
    return Shown.NEVER if hidden else Shown.NOTHING


def _sealed(key: Key) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def _opened(cursor: str) -> Key:
    try:
        parts = json.loads(base64.urlsafe_b64decode(cursor[:MAX_CURSOR]))
    except (binascii.Error, ValueError):
        parts = None
    match parts:
        case [str(template), str(table), str(column)] if all(map(str.isprintable, parts)):
            return template, table, column
        case _:
            raise Invalid("the cursor is not one of ours: take `next` of the page before, as it is")
