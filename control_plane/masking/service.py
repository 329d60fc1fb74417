"""An approved template -> a plan in which every column has its masking rule, or a refusal that names the column.

    bind        the rules that hold now, strictest first; the key only for columns that need tokens
    preview     the same decisions for a text that nobody approved; mints nothing
    rules ...   what holds in a tenant; `changing` is how that changes

A plan that was sealed keeps its rules until it ends; a change holds for the next request.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.clock import Clock
from control_plane.foundation.database import Database
from control_plane.foundation.errors import Invalid, InvalidTemplate
from control_plane.foundation.identifiers import TenantId
from control_plane.masking.bound import Judgement, judgement
from control_plane.masking.exceptions import ApprovedException, exceptions_of
from control_plane.masking.key_wrapping import KeyWrapper
from control_plane.masking.keys import current_key, epochs
from control_plane.masking.model import Decided, FieldRule, MaskedPlan, Preview, TenantRule
from control_plane.masking.rules import is_strict, tenant_rules
from control_plane.policy.model import Grant
from control_plane.templates.model import ApprovedTemplate
from language import front_end
from language.errors import TemplateError
from language.masking import Action
from language.masking_rules import BoundRule, HiddenPredicate, RuleSet, UnmaskedField
from language.model import Template


class MaskingService:
    """`platform` is the pack of policies/masking/platform.yaml, as `language.masking_rules.load_rules` read it."""

    def __init__(self, database: Database, clock: Clock, platform: RuleSet, wrapper: KeyWrapper) -> None:
        self._database = database
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
        judged = await self._judgement(session, tenant)
        try:
            bound = judged.decide(template)
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
                patterns=rule.patterns,
            )
            for rule in bound
        )

    async def preview(self, grant: Grant, source: str) -> tuple[Preview, ...]:
        """What would be decided for each template of a text. Raises InvalidTemplate when it cannot be read."""
        templates = _templates(source)
        async with self._database.transaction(grant.resource.tenant) as session:
            judged = await self._judgement(session, grant.resource.tenant)
        return tuple(_preview(template, judged) for template in templates)

    async def decided(self, grant: Grant, source: str) -> Decided:
        """The same for a text with one template. Raises InvalidTemplate, Invalid when it would be refused."""
        templates = _templates(source)
        if len(templates) != 1:
            raise Invalid(f"rows belong to one template; this text has {len(templates)}")
        async with self._database.transaction(grant.resource.tenant) as session:
            judged = await self._judgement(session, grant.resource.tenant)
        found = _preview(templates[0], judged)
        if found.refusal:
            raise Invalid(found.refusal, code="unmasked_field")
        return Decided(templates[0], found.columns)

    async def rules(self, grant: Grant) -> tuple[TenantRule, ...]:
        async with self._database.transaction(grant.resource.tenant) as session:
            return await tenant_rules(session, grant.resource.tenant)

    async def exceptions(self, grant: Grant) -> tuple[ApprovedException, ...]:
        """Those that are over too: `expires` says so."""
        async with self._database.transaction(grant.resource.tenant) as session:
            return await exceptions_of(session, grant.resource.tenant)

    async def epochs(self, grant: Grant) -> tuple[tuple[int, datetime], ...]:
        """Of the tenant's key, the newest first; empty while nothing needed one."""
        async with self._database.transaction(grant.resource.tenant) as session:
            return await epochs(session, grant.resource.tenant)

    async def strict(self, grant: Grant) -> bool:
        async with self._database.transaction(grant.resource.tenant) as session:
            return await is_strict(session, grant.resource.tenant)

    async def _judgement(self, session: AsyncSession, tenant: TenantId) -> Judgement:
        return await judgement(session, tenant, self._platform, self._clock.now())


def _templates(source: str) -> tuple[Template, ...]:
    try:
        return tuple(deployment.template for deployment in front_end.load(source).templates)
    except TemplateError as error:
        raise InvalidTemplate(str(error)) from error


def _preview(template: Template, judged: Judgement) -> Preview:
    try:
        return Preview(template.name, judged.decide(template), "")
    except TemplateError as error:
        return Preview(template.name, (), str(error))


def _makes_tokens(rule: BoundRule) -> bool:
    return Action.TOKEN in {rule.action, *(path.action for path in rule.paths)}
