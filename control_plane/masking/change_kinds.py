"""The kinds of change to masking: what each would do to the templates that may run, and whether it must wait.

    RuleChange        set or removed; waits where it hides less, by itself or in an approved template
    SettingsChange    `strict` on at once; off waits
    ExceptionChange   set: always waits; removed at once
    KeyRotation       always waits: nothing joins with what came before

`changing` proposes them; `policy.proposals` asks, keeps, and writes the log.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.audit_trail import AuditAction
from control_plane.foundation.clock import Clock
from control_plane.foundation.errors import Conflict, Invalid, NotFound
from control_plane.foundation.identifiers import SubjectId, TenantId
from control_plane.foundation.request_headers import ABSENT, check_match
from control_plane.masking.bound import judgement
from control_plane.masking.comparing import Difference, differences
from control_plane.masking.exceptions import MAX_EXCEPTIONS, ApprovedException, approved_exception
from control_plane.masking.exceptions import read_document as read_exception_document
from control_plane.masking.key_wrapping import KeyWrapper
from control_plane.masking.keys import epochs, next_key
from control_plane.masking.model import TenantRule
from control_plane.masking.rules import MAX_TENANT_RULES, is_strict, read_document, settings_etag, tenant_rule
from control_plane.masking.tables import MaskingExceptionRow, MaskingRuleRow, MaskingSettingsRow
from control_plane.policy.model import Asker, Grant, Permission
from control_plane.policy.proposal_model import Description, Payload
from control_plane.templates.lifecycle import RUNNABLE
from control_plane.templates.tables import TemplateVersionRow
from language import canonical
from language.masking_names import WordsPattern
from language.masking_rule_files import refuse_too_many_patterns
from language.masking_rules import MaskingRuleError, Rule, RuleSet
from language.model import Template

MAX_COMPARED: Final = 500  # approved versions that one change is held against, the newest first


class RuleChange:
    """Kind[TenantRule | None]. The payload: `name`, `document`, None to remove it, and `if_match`."""

    name: Final = "masking-rule"
    permission: Final = Permission.MASKING_WRITE
    guard: Final = Permission.MASKING_WRITE
    action: Final = AuditAction.MASKING_CHANGE

    def __init__(self, clock: Clock, platform: RuleSet) -> None:
        self._clock = clock
        self._platform = platform

    def resource(self, payload: Payload) -> str:
        return f"masking/{payload['name']}"[:100]

    def named(self, payload: Payload) -> str:
        return str(payload["name"])

    async def describe(self, session: AsyncSession, tenant: TenantId, asker: Asker, payload: Payload) -> Description:  # noqa: ARG002 -- the same for whoever asks
        """Raises Invalid, NotFound, Stale, Conflict when there are too many."""
        name, document = payload["name"], payload["document"]
        row = await session.get(MaskingRuleRow, (tenant, name), with_for_update=True)
        check_match("the rule", str(row.revision) if row else ABSENT, payload["if_match"])
        if row is None and document is None:
            raise NotFound(
                f"there is no masking rule {name[:64]!r} in this tenant; `probegate masking rules` lists them"
            )
        after = None if document is None else read_document(document)
        before = None if row is None else tenant_rule(row).rule
        if row is None:
            await _room(session, tenant, MaskingRuleRow, MAX_TENANT_RULES, "masking rules", "too_many_rules")
        judged = await judgement(session, tenant, self._platform, self._clock.now())
        kept = tuple(rule for rule in judged.tenant.rules if rule.name != name)
        rules = (*kept, after) if after else kept
        _refuse_own_detector(after, rules, self._platform)
        changed = replace(judged, tenant=replace(judged.tenant, rules=rules))
        found = differences(await approved_templates(session, tenant), judged.decide, changed.decide)
        weaker = (f"it hides less than the rule {name} does",) if _is_weaker(before, after) else ()
        held = None if row is None else json.loads(row.document)
        detail = {"before": held, "after": None if document is None else dict(document)}
        return _described(_words(name, before, after), found, weaker, held, detail)

    async def enact(
        self, session: AsyncSession, grant: Grant, payload: Payload, author: SubjectId
    ) -> TenantRule | None:
        tenant, name = grant.resource.tenant, payload["name"]
        row = await session.get(MaskingRuleRow, (tenant, name), with_for_update=True)
        if payload["document"] is None:
            if row is not None:
                await session.delete(row)
            return None
        if row is None:
            row = MaskingRuleRow(tenant=tenant, name=name, document="{}", revision=0)
            session.add(row)
        row.document = json.dumps(dict(payload["document"]), sort_keys=True)
        row.revision += 1
        row.changed_by = author
        row.changed_at = self._clock.now()
        await session.flush()
        return tenant_rule(row)


class SettingsChange:
    """Kind[bool]. The payload: `strict` and `if_match`."""

    name: Final = "masking-settings"
    permission: Final = Permission.MASKING_WRITE
    guard: Final = Permission.MASKING_WRITE
    action: Final = AuditAction.MASKING_CHANGE

    def __init__(self, clock: Clock, platform: RuleSet) -> None:
        self._clock = clock
        self._platform = platform

    def resource(self, payload: Payload) -> str:  # noqa: ARG002 -- there is one
        return "masking/settings"

    def named(self, payload: Payload) -> str:  # noqa: ARG002 -- the route asks without a name
        return "*"

    async def describe(self, session: AsyncSession, tenant: TenantId, asker: Asker, payload: Payload) -> Description:  # noqa: ARG002 -- the same for whoever asks
        before, after = await is_strict(session, tenant), bool(payload["strict"])
        check_match("how strict the tenant is", settings_etag(strict=before), payload["if_match"])
        judged = await judgement(session, tenant, self._platform, self._clock.now())
        changed = replace(judged, tenant=replace(judged.tenant, strict=after))
        found = differences(await approved_templates(session, tenant), judged.decide, changed.decide)
        weaker = ("a field that no rule names would get the platform's default",) if before and not after else ()
        detail = {"before": {"strict": before}, "after": {"strict": after}}
        return _described(f"strict: {before} -> {after}", found, weaker, before, detail)

    async def enact(self, session: AsyncSession, grant: Grant, payload: Payload, author: SubjectId) -> bool:  # noqa: ARG002 -- the row keeps no author
        await session.merge(MaskingSettingsRow(tenant=grant.resource.tenant, strict=bool(payload["strict"])))
        return bool(payload["strict"])


class ExceptionChange:
    """Kind[ApprovedException | None]. The payload: `name`, `document`, None to remove it, and `if_match`."""

    name: Final = "masking-exception"
    permission: Final = Permission.MASKING_WRITE
    guard: Final = Permission.MASKING_WRITE
    action: Final = AuditAction.MASKING_CHANGE

    def __init__(self, clock: Clock, platform: RuleSet) -> None:
        self._clock = clock
        self._platform = platform

    def resource(self, payload: Payload) -> str:
        return f"masking/exception/{payload['name']}"[:100]

    def named(self, payload: Payload) -> str:
        return str(payload["name"])

    async def describe(self, session: AsyncSession, tenant: TenantId, asker: Asker, payload: Payload) -> Description:  # noqa: ARG002 -- the same for whoever asks
        """Raises Invalid, NotFound, Stale, Conflict when there are too many."""
        name, document = payload["name"], payload["document"]
        row = await session.get(MaskingExceptionRow, (tenant, name), with_for_update=True)
        check_match("the exception", str(row.revision) if row else ABSENT, payload["if_match"])
        if row is None and document is None:
            raise NotFound(
                f"there is no exception {name[:64]!r} in this tenant; `probegate masking exceptions` lists them"
            )
        now = self._clock.now()
        after = None if document is None else read_exception_document(name, dict(document), now)
        if row is None:
            what = "masking exceptions"
            await _room(session, tenant, MaskingExceptionRow, MAX_EXCEPTIONS, what, "too_many_exceptions")
        judged = await judgement(session, tenant, self._platform, now)
        kept = tuple(one for one in judged.exceptions if one.name != name)
        changed = replace(judged, exceptions=(*kept, after) if after else kept)
        found = differences(await approved_templates(session, tenant), judged.decide, changed.decide)
        needs = ("an exception shows what a rule hides",) if after else ()
        held = None if row is None else json.loads(row.document)
        what = f"the exception {name} goes" if after is None else (
            f"an exception {name}: {'.'.join(after.field.segments)} of {after.template}"
            f"{' in ' + after.service if after.service else ''} gets {after.treatment} until {after.expires.isoformat()}: "
            f"{after.reason}"
        )  # fmt: skip
        return _described(what, found, needs, held, {"before": held, "after": document and dict(document)})

    async def enact(
        self, session: AsyncSession, grant: Grant, payload: Payload, author: SubjectId
    ) -> ApprovedException | None:
        tenant, name = grant.resource.tenant, payload["name"]
        row = await session.get(MaskingExceptionRow, (tenant, name), with_for_update=True)
        if payload["document"] is None:
            if row is not None:
                await session.delete(row)
            return None
        if row is None:
            row = MaskingExceptionRow(tenant=tenant, name=name, document="{}", revision=0)
            session.add(row)
        row.document = json.dumps(dict(payload["document"]), sort_keys=True)
        row.revision += 1
        row.author, row.approved_by, row.approved_at = author, grant.principal.id, self._clock.now()
        await session.flush()
        return approved_exception(row)


class KeyRotation:
    """Kind[str]: the new key's id. The payload is empty."""

    name: Final = "masking-key"
    permission: Final = Permission.MASKING_WRITE
    guard: Final = Permission.MASKING_WRITE
    action: Final = AuditAction.MASKING_CHANGE

    def __init__(self, clock: Clock, wrapper: KeyWrapper) -> None:
        self._clock = clock
        self._wrapper = wrapper

    def resource(self, payload: Payload) -> str:  # noqa: ARG002 -- there is one
        return "masking/key"

    def named(self, payload: Payload) -> str:  # noqa: ARG002 -- the route asks without a name
        return "*"

    async def describe(self, session: AsyncSession, tenant: TenantId, asker: Asker, payload: Payload) -> Description:  # noqa: ARG002 -- the same for whoever asks
        known = await epochs(session, tenant)
        newest = known[0][0] if known else 0
        what = f"tokens get the key e{newest + 1}: what is captured from then on joins with nothing that was captured before"
        needs = ("tokens of one value would no longer be equal across the rotation",)
        detail: Mapping[str, Any] = {"before": f"e{newest}" if newest else None, "after": f"e{newest + 1}"}
        return _described(what, (), needs, newest, detail)

    async def enact(self, session: AsyncSession, grant: Grant, payload: Payload, author: SubjectId) -> str:  # noqa: ARG002 -- the log has both
        return await next_key(session, grant.resource.tenant, self._wrapper, self._clock)


async def approved_templates(session: AsyncSession, tenant: TenantId) -> tuple[Template, ...]:
    """Every version that runs may run on."""
    table = TemplateVersionRow
    rows = await session.scalars(
        select(table.canonical)
        .where(table.tenant == tenant, table.state.in_([state.value for state in RUNNABLE]))
        .order_by(table.created_at.desc())
        .limit(MAX_COMPARED)
    )
    return tuple(canonical.from_bytes(row) for row in rows)


async def _room(
    session: AsyncSession,
    tenant: TenantId,
    table: type[MaskingRuleRow | MaskingExceptionRow],
    most: int,
    what: str,
    code: str,
) -> None:
    count = await session.scalar(select(func.count()).select_from(table).where(table.tenant == tenant))
    if (count or 0) >= most:
        raise Conflict(f"a tenant has at most {most} {what}: join some, or remove one", code=code)


def _is_weaker(before: Rule | None, after: Rule | None) -> bool:
    """Whether some value could be hidden less. Of words more mean more; other patterns are compared as texts."""
    if before is None:
        return False
    if after is None:
        return True
    if isinstance(before.path, WordsPattern) and isinstance(after.path, WordsPattern):
        narrower = not set(before.path.phrases) <= set(after.path.phrases)
    else:
        narrower = (before.path, before.type, before.regex) != (after.path, after.type, after.regex)
    return narrower or after.treatment.strictness < before.treatment.strictness


def _words(name: str, before: Rule | None, after: Rule | None) -> str:
    said = ["nothing" if rule is None else f"{rule.treatment} for {_subject(rule)}" for rule in (before, after)]
    return f"the rule {name}: {said[0]} -> {said[1]}"


def _subject(rule: Rule) -> str:
    return rule.path.text() if rule.path else rule.type or f"values like /{rule.regex}/"


def _refuse_own_detector(after: Rule | None, rules: tuple[Rule, ...], platform: RuleSet) -> None:
    """One more than a host looks for, or under a name that people would take for the platform's."""
    if after is None or not after.regex:
        return
    if after.name in {rule.name for rule in platform.rules}:
        raise Invalid(
            f"the platform has a rule {after.name}, and what the regex finds would be shown under that name: take another",
            code="invalid_masking_rule",
        )
    try:
        refuse_too_many_patterns(rules)
    except MaskingRuleError as error:
        raise Conflict(str(error), code="too_many_rules") from error


def _described(
    what: str, changed: tuple[Difference, ...], needs: tuple[str, ...], base: object, detail: Mapping[str, object]
) -> Description:
    less = tuple(f"less is hidden in approved templates: {each}" for each in changed if each.less)
    return Description(
        summary=(what, *map(str, changed)),
        needs=(*needs, *less),
        base="sha256:" + hashlib.sha256(json.dumps(base, sort_keys=True).encode()).hexdigest(),
        detail=detail,
    )
