"""What masking decides for a template's columns as the rules stand now, for those who judge its risk. Mints no proof.

Implements `templates.ports.Masks`: templates come before masking, so the reviewers' step asks through a port.
"""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.identifiers import TenantId
from control_plane.masking.rules import rule_set
from language.errors import TemplateError
from language.masking_rules import BoundRule, RuleSet, bind
from language.model import Template


class PackMasks:
    """`platform` is the pack of policies/masking/platform.yaml."""

    def __init__(self, platform: RuleSet) -> None:
        self._platform = platform

    async def bound(self, session: AsyncSession, tenant: TenantId, template: Template) -> tuple[BoundRule, ...]:
        parameters = [parameter.name for parameter in template.parameters]
        # A strict tenant refuses what no rule names; what can be shown is the same without that.
        rulesets = (self._platform, replace(await rule_set(session, tenant), strict=False))
        try:
            return bind(template.probe.captures, template.masking, rulesets, parameters)
        except TemplateError:
            return ()  # the request will be refused; until then nothing vouches for any column
