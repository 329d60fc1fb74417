"""Change what masking does in a tenant: tighter at once, looser when a second person agrees.

Each change is a kind of proposal (`change_kinds`): the log has which fields of which approved templates are hidden less
or more by it. What is changed holds for the next request; a probe that runs keeps its rules until it ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from control_plane.foundation.clock import Clock
from control_plane.foundation.database import Database
from control_plane.masking.change_kinds import ExceptionChange, KeyRotation, RuleChange, SettingsChange
from control_plane.masking.exceptions import ApprovedException
from control_plane.masking.key_wrapping import KeyWrapper
from control_plane.masking.model import TenantRule
from control_plane.policy.model import Asker, Grant
from control_plane.policy.proposal_model import Applied, Description, Proposed
from control_plane.policy.proposals import Proposals
from language.masking_rules import RuleSet


class MaskingChanges:
    """The only way to change masking. `platform` is the pack of policies/masking/platform.yaml."""

    def __init__(
        self, database: Database, clock: Clock, platform: RuleSet, wrapper: KeyWrapper, proposals: Proposals
    ) -> None:
        self._database = database
        self._proposals = proposals
        self._rule = RuleChange(clock, platform)
        self._settings = SettingsChange(clock, platform)
        self._exception = ExceptionChange(clock, platform)
        self._key = KeyRotation(clock, wrapper)
        proposals.register(self._rule)
        proposals.register(self._settings)
        proposals.register(self._exception)
        proposals.register(self._key)

    async def put(
        self, grant: Grant, name: str, document: Mapping[str, object], if_match: str | None = None
    ) -> Applied[TenantRule | None] | Proposed:
        """Raises Invalid when the rule or one of its cases is wrong, Stale, Conflict when there are too many."""
        payload = {"name": name, "document": {**document, "name": name}, "if_match": if_match}
        return await self._proposals.propose(grant, self._rule, payload)

    async def delete(
        self, grant: Grant, name: str, if_match: str | None = None
    ) -> Applied[TenantRule | None] | Proposed:
        """Raises NotFound, Stale."""
        payload = {"name": name, "document": None, "if_match": if_match}
        return await self._proposals.propose(grant, self._rule, payload)

    async def diff(self, grant: Grant, name: str, document: Mapping[str, object] | None) -> Description:
        """What `put`, or `delete` with None, would change, and whether a second person would have to agree."""
        after = None if document is None else {**document, "name": name}
        payload = {"name": name, "document": after, "if_match": None}
        async with self._database.transaction(grant.resource.tenant) as session:
            return await self._rule.describe(session, grant.resource.tenant, Asker.of(grant.principal), payload)

    async def set_strict(self, grant: Grant, *, strict: bool, if_match: str | None = None) -> Applied[bool] | Proposed:
        """A strict tenant leaves no default: a field that no rule names refuses the plan. Raises Stale."""
        return await self._proposals.propose(grant, self._settings, {"strict": strict, "if_match": if_match})

    async def put_exception(
        self, grant: Grant, name: str, document: Mapping[str, Any], if_match: str | None = None
    ) -> Applied[ApprovedException | None] | Proposed:
        """Raises Invalid, Stale, Conflict when there are too many."""
        payload = {"name": name, "document": dict(document), "if_match": if_match}
        return await self._proposals.propose(grant, self._exception, payload)

    async def remove_exception(
        self, grant: Grant, name: str, if_match: str | None = None
    ) -> Applied[ApprovedException | None] | Proposed:
        """Raises NotFound, Stale."""
        payload = {"name": name, "document": None, "if_match": if_match}
        return await self._proposals.propose(grant, self._exception, payload)

    async def rotate_key(self, grant: Grant, message: str = "") -> Applied[str] | Proposed:
        return await self._proposals.propose(grant, self._key, {}, message)
