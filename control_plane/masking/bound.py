"""What masking decides for a template as rules and exceptions stand now. Mints no proof: `service` does.

`PackMasks` implements `templates.ports.Masks`: templates come before masking, so the reviewers' step asks through a port.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.clock import Clock, SystemClock
from control_plane.foundation.identifiers import TenantId
from control_plane.masking.exceptions import excepted, exceptions_of
from control_plane.masking.rules import rule_set
from language.errors import TemplateError
from language.masking_exceptions import MaskingException
from language.masking_predicates import refuse_hidden_predicate
from language.masking_rules import BoundRule, RuleSet, bind
from language.model import Template


@dataclass(frozen=True)
class Judgement:
    """All that decides in one tenant at one moment."""

    platform: RuleSet
    tenant: RuleSet
    exceptions: tuple[MaskingException, ...]
    now: datetime

    def decide(self, template: Template) -> tuple[BoundRule, ...]:
        """One rule for each capture. Raises UnmaskedField, HiddenPredicate, TemplateError."""
        bound = self.bound(template)
        refuse_hidden_predicate(template, bound, self._rulesets)
        return bound

    def bound(self, template: Template) -> tuple[BoundRule, ...]:
        """Whatever its condition asks about. Raises UnmaskedField, TemplateError."""
        parameters = [parameter.name for parameter in template.parameters]
        held = excepted(self.exceptions, template, self.now)
        return bind(template.probe.captures, template.masking, self._rulesets, parameters, held)

    @property
    def _rulesets(self) -> tuple[RuleSet, RuleSet]:
        return (self.platform, self.tenant)


async def judgement(session: AsyncSession, tenant: TenantId, platform: RuleSet, now: datetime) -> Judgement:
    """As the tenant's rules and exceptions are in this transaction."""
    exceptions = tuple(found.exception for found in await exceptions_of(session, tenant))
    return Judgement(platform, await rule_set(session, tenant), exceptions, now)


class PackMasks:
    """`platform` is the pack of policies/masking/platform.yaml."""

    def __init__(self, platform: RuleSet, clock: Clock | None = None) -> None:
        self._platform = platform
        self._clock = clock or SystemClock()

    async def bound(self, session: AsyncSession, tenant: TenantId, template: Template) -> tuple[BoundRule, ...]:
        judged = await judgement(session, tenant, self._platform, self._clock.now())
        try:
            # A strict tenant refuses what no rule names; what can be shown is the same without that.
            return replace(judged, tenant=replace(judged.tenant, strict=False)).bound(template)
        except TemplateError:
            return ()  # the request will be refused; until then nothing vouches for any column
