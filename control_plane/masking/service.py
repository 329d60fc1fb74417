"""An approved template -> a plan in which every column has its masking rule, or a refusal that names the column.

    bind        the rules that hold now, strictest first; the key only for columns that need tokens
    preview     the same decisions for a text that nobody approved; mints nothing
    put/delete  a tenant's rule, with the difference in the log; rules can only tighten what the platform demands

A plan that was sealed keeps its rules until it ends; a change holds for the next request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.audited import audited
from control_plane.foundation.clock import Clock
from control_plane.foundation.correlation import current_request_id
from control_plane.foundation.database import Database
from control_plane.foundation.errors import Conflict, Invalid, InvalidTemplate
from control_plane.foundation.identifiers import TenantId
from control_plane.foundation.request_headers import ABSENT, check_match
from control_plane.masking.key_wrapping import KeyWrapper
from control_plane.masking.keys import current_key
from control_plane.masking.model import FieldRule, MaskedPlan, Preview, TenantRule
from control_plane.masking.rules import (
    MAX_TENANT_RULES,
    is_strict,
    read_document,
    rule_set,
    tenant_rule,
    tenant_rule_row,
    tenant_rules,
)
from control_plane.masking.tables import MaskingRuleRow, MaskingSettingsRow
from control_plane.policy.model import Grant
from control_plane.templates.model import ApprovedTemplate
from language import front_end
from language.errors import TemplateError
from language.masking import Action
from language.masking_predicates import refuse_hidden_predicate
from language.masking_rules import BoundRule, HiddenPredicate, RuleSet, UnmaskedField, bind
from language.model import Template


class MaskingService:
    """`platform` is the pack of policies/masking/platform.yaml, as `language.masking_rules.load_rules` read it."""

    def __init__(
        self, database: Database, audit: AuditTrail, clock: Clock, platform: RuleSet, wrapper: KeyWrapper
    ) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        self._platform = platform
        self._wrapper = wrapper

    @property
    def platform(self) -> RuleSet:
        return self._platform

    async def bind(self, session: AsyncSession, grant: Grant, approved: ApprovedTemplate) -> MaskedPlan:
        """The proof, inside the caller's transaction. Raises Invalid: `unmasked_field` or `hidden_predicate`."""
        return MaskedPlan(approved, await self.field_rules(session, grant.resource.tenant, approved.template))

    async def field_rules(self, session: AsyncSession, tenant: TenantId, template: Template) -> tuple[FieldRule, ...]:
        """What agents are told, with keys; no proof of anything. Raises what `bind` raises."""
        rulesets = (self._platform, await rule_set(session, tenant))
        try:
            bound = _decide(template, rulesets)
        except UnmaskedField as error:
            raise Invalid(str(error), code="unmasked_field") from error
        except HiddenPredicate as error:
            raise Invalid(str(error), code="hidden_predicate") from error
        except TemplateError as error:
            raise Invalid(f"the template's masking cannot be decided: {error}", code="unmasked_field") from error
        key = await current_key(session, tenant, self._wrapper, self._clock) if any(map(_makes_tokens, bound)) else None
        return tuple(
            FieldRule(
                column=rule.column,
                action=rule.action,
                rule=rule.rule,
                key=key.key if key and _makes_tokens(rule) else b"",
                key_id=key.key_id if key and _makes_tokens(rule) else "",
                paths=rule.paths,
                argument=rule.argument,
            )
            for rule in bound
        )

    async def preview(self, grant: Grant, source: str) -> tuple[Preview, ...]:
        """What would be decided for each template of a text. Raises InvalidTemplate when it cannot be read."""
        try:
            script = front_end.load(source)
        except TemplateError as error:
            raise InvalidTemplate(str(error)) from error
        async with self._database.transaction(grant.resource.tenant) as session:
            rulesets = (self._platform, await rule_set(session, grant.resource.tenant))
        return tuple(_preview(deployment.template, rulesets) for deployment in script.templates)

    async def rules(self, grant: Grant) -> tuple[TenantRule, ...]:
        async with self._database.transaction(grant.resource.tenant) as session:
            return await tenant_rules(session, grant.resource.tenant)

    async def put(
        self, grant: Grant, name: str, document: Mapping[str, object], if_match: str | None = None
    ) -> TenantRule:
        """Create or replace a rule. Raises Invalid when it or one of its cases is wrong, Stale, Conflict when there are too many."""
        tenant = grant.resource.tenant
        async with self._step(grant, f"masking/{name}") as session:
            rule = read_document({**document, "name": name})
            row = await session.get(MaskingRuleRow, (tenant, rule.name), with_for_update=True)
            check_match("the rule", str(row.revision) if row else ABSENT, if_match)
            if row is None:
                count = await session.scalar(
                    select(func.count()).select_from(MaskingRuleRow).where(MaskingRuleRow.tenant == tenant)
                )
                if (count or 0) >= MAX_TENANT_RULES:
                    raise Conflict(
                        f"a tenant has at most {MAX_TENANT_RULES} masking rules: join some, or delete one",
                        code="too_many_rules",
                    )
                row = MaskingRuleRow(tenant=tenant, name=rule.name, document="{}", revision=0)
                session.add(row)
            before = json.loads(row.document) if row.revision else None
            after = {**document, "name": rule.name}
            row.document = json.dumps(after, sort_keys=True)
            row.revision += 1
            row.changed_by = grant.principal.id
            row.changed_at = self._clock.now()
            await session.flush()
            await self._log(session, grant, f"masking/{rule.name}", {"before": before, "after": after})
            return tenant_rule(row)

    async def delete(self, grant: Grant, name: str, if_match: str | None = None) -> None:
        """Raises NotFound, Stale."""
        async with self._step(grant, f"masking/{name}") as session:
            row = await tenant_rule_row(session, grant.resource.tenant, name)
            check_match("the rule", str(row.revision), if_match)
            await session.delete(row)
            await self._log(session, grant, f"masking/{name}", {"before": json.loads(row.document), "after": None})

    async def strict(self, grant: Grant) -> bool:
        async with self._database.transaction(grant.resource.tenant) as session:
            return await is_strict(session, grant.resource.tenant)

    async def set_strict(self, grant: Grant, *, strict: bool, if_match: str | None = None) -> None:
        """A strict tenant leaves no default: a field that no rule names refuses the plan. Raises Stale."""
        tenant = grant.resource.tenant
        async with self._step(grant, "masking/settings") as session:
            row = await session.get(MaskingSettingsRow, tenant, with_for_update=True)
            before = row is not None and row.strict
            check_match("how strict the tenant is", settings_etag(strict=before), if_match)
            if row is None:
                row = MaskingSettingsRow(tenant=tenant, strict=strict)
                session.add(row)
            row.strict = strict
            details = {"before": {"strict": before}, "after": {"strict": strict}}
            await self._log(session, grant, "masking/settings", details)

    def _step(self, grant: Grant, resource: str) -> AbstractAsyncContextManager[AsyncSession]:
        return audited(
            self._database,
            self._audit,
            grant.resource.tenant,
            grant.principal.id,
            AuditAction.MASKING_CHANGE,
            resource[:100],
        )

    async def _log(self, session: AsyncSession, grant: Grant, resource: str, detail: Mapping[str, object]) -> None:
        event = AuditEvent(
            action=AuditAction.MASKING_CHANGE,
            outcome=Outcome.SUCCESS,
            actor=grant.principal.id,
            resource=resource,
            detail=detail,
            request_id=current_request_id.get(),
        )
        await self._audit.append(session, grant.resource.tenant, event)


def settings_etag(*, strict: bool) -> str:
    return "strict" if strict else "defaults"


def _decide(template: Template, rulesets: tuple[RuleSet, ...]) -> tuple[BoundRule, ...]:
    parameters = [parameter.name for parameter in template.parameters]
    bound = bind(template.probe.captures, template.masking, rulesets, parameters)
    refuse_hidden_predicate(template, bound, rulesets)
    return bound


def _preview(template: Template, rulesets: tuple[RuleSet, ...]) -> Preview:
    try:
        return Preview(template.name, _decide(template, rulesets), "")
    except TemplateError as error:
        return Preview(template.name, (), str(error))


def _makes_tokens(rule: BoundRule) -> bool:
    return Action.TOKEN in {rule.action, *(path.action for path in rule.paths)}
