"""A tenant's own rules about approvals: what decides how reviews are counted, as a kind of proposal.

A rule of the tenant only adds to the platform's. Taking one away, or asking for less by it, needs a second person, and
changes nothing for versions that were submitted under it: those keep what was in force. Asking for more needs nobody.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.audit_trail import AuditAction
from control_plane.foundation.clock import Clock
from control_plane.foundation.database import Database
from control_plane.foundation.errors import Conflict, Invalid, NotFound
from control_plane.foundation.identifiers import SubjectId, TenantId
from control_plane.foundation.request_headers import ABSENT, check_match
from control_plane.policy.model import Asker, Grant, Permission
from control_plane.policy.proposal_model import Applied, Description, Payload, Proposed
from control_plane.policy.proposals import Proposals
from control_plane.policy.roles import RoleBook
from control_plane.templates.requirements import BadApprovals, OwnerRule, owner_rule
from control_plane.templates.tables import ApprovalRuleRow

MAX_RULES: Final = 100  # of one tenant; each is matched against every template that is used


@dataclass(frozen=True)
class TenantRule:
    name: str
    document: Mapping[str, Any]
    revision: int
    changed_by: str
    changed_at: datetime


class ApprovalRules:
    def __init__(self, database: Database, clock: Clock, book: RoleBook, proposals: Proposals) -> None:
        self._database = database
        self._proposals = proposals
        self._kind = ApprovalRuleChange(clock, book)
        proposals.register(self._kind)

    async def list(self, grant: Grant) -> tuple[TenantRule, ...]:
        async with self._database.transaction(grant.resource.tenant) as session:
            rows = await session.scalars(
                select(ApprovalRuleRow)
                .where(ApprovalRuleRow.tenant == grant.resource.tenant)
                .order_by(ApprovalRuleRow.name)
            )
            return tuple(_rule(row) for row in rows)

    async def put(
        self, grant: Grant, name: str, document: Mapping[str, Any], if_match: str | None = None
    ) -> Applied[TenantRule | None] | Proposed:
        """Create or replace one. Raises Invalid, Stale, Conflict when there are too many."""
        payload = {"name": name[:63], "rule": dict(document), "if_match": if_match}
        return await self._proposals.propose(grant, self._kind, payload)

    async def delete(
        self, grant: Grant, name: str, if_match: str | None = None
    ) -> Applied[TenantRule | None] | Proposed:
        """Always a proposal. Raises NotFound, Stale."""
        payload = {"name": name[:63], "rule": None, "if_match": if_match}
        return await self._proposals.propose(grant, self._kind, payload)


class ApprovalRuleChange:
    """Kind[TenantRule | None]. The payload: `name`, `rule`, None to remove it, and `if_match`, the revision meant or None."""

    name: Final = "approval-rule"
    permission: Final = Permission.POLICY_WRITE
    guard: Final = Permission.POLICY_WRITE
    action: Final = AuditAction.APPROVAL_RULE

    def __init__(self, clock: Clock, book: RoleBook) -> None:
        self._clock = clock
        self._book = book

    def resource(self, payload: Payload) -> str:
        return f"approval-rule/{payload['name']}"

    def named(self, payload: Payload) -> str:
        return str(payload["name"])

    async def describe(self, session: AsyncSession, tenant: TenantId, asker: Asker, payload: Payload) -> Description:  # noqa: ARG002 -- the same for whoever asks
        """Raises Invalid, NotFound, Stale, Conflict when there are too many."""
        name = payload["name"]
        row = await session.get(ApprovalRuleRow, (tenant, name), with_for_update=True)
        check_match("the rule", str(row.revision) if row else ABSENT, payload["if_match"])
        before = dict(row.document) if row is not None else None
        after = None if payload["rule"] is None else {**payload["rule"], "name": name}
        if row is None and after is None:
            raise NotFound(f"there is no approval rule {name!r} in this tenant")
        wanted = None if after is None else self._checked(after)
        if row is None:
            count = select(func.count()).select_from(ApprovalRuleRow).where(ApprovalRuleRow.tenant == tenant)
            if (await session.scalar(count) or 0) >= MAX_RULES:
                raise Conflict(f"a tenant has at most {MAX_RULES} approval rules: join some", code="too_many_rules")
        held = None if before is None else owner_rule(before)
        return Description(
            summary=_differences(name, held, wanted),
            needs=(f"it asks for less than the approval rule {name} does",) if is_laxer(held, wanted) else (),
            base=_digest(before),
            detail={"before": before, "after": after},
        )

    async def enact(
        self, session: AsyncSession, grant: Grant, payload: Payload, author: SubjectId
    ) -> TenantRule | None:
        tenant, name = grant.resource.tenant, payload["name"]
        row = await session.get(ApprovalRuleRow, (tenant, name), with_for_update=True)
        if payload["rule"] is None:
            if row is not None:
                await session.delete(row)
            return None
        if row is None:
            row = ApprovalRuleRow(tenant=tenant, name=name, document={}, revision=0)
            session.add(row)
        row.document = {**payload["rule"], "name": name}
        row.revision += 1
        row.changed_by = author
        row.changed_at = self._clock.now()
        await session.flush()
        return _rule(row)

    def _checked(self, document: Mapping[str, Any]) -> OwnerRule:
        try:
            rule = owner_rule(document)
        except BadApprovals as error:
            raise Invalid(str(error), code="invalid_approval_rule") from error
        for role in rule.roles:
            if role not in self._book.roles:
                raise Invalid(f"there is no role {role!r}; roles are {', '.join(self._book.roles)}")
        return rule


def is_laxer(before: OwnerRule | None, after: OwnerRule | None) -> bool:
    """Whether some plan could need less than before. Globs are compared as texts: other ones may match less, so they count."""
    if before is None:
        return False
    if after is None:
        return True
    narrower = any(
        new and (not old or not set(old) <= set(new))
        for old, new in (
            (before.functions, after.functions),
            (before.executables, after.executables),
            (before.templates, after.templates),
        )
    )
    fewer = after.approvals < before.approvals or after.requests < before.requests
    return narrower or fewer or not before.roles <= after.roles


def _differences(name: str, before: OwnerRule | None, after: OwnerRule | None) -> tuple[str, ...]:
    """In lines for people."""
    if after is None:
        return (f"the approval rule {name} goes: {_words(before)}",)
    if before is None:
        return (f"a new approval rule {name}: {_words(after)}",)
    return (f"the approval rule {name} was: {_words(before)}", f"the approval rule {name} becomes: {_words(after)}")


def _words(rule: OwnerRule | None) -> str:
    if rule is None:
        return "nothing"
    where = [
        f"{what} {' or '.join(globs)}"
        for what, globs in (
            ("function", rule.functions),
            ("executable", rule.executables),
            ("template", rule.templates),
        )
        if globs
    ]
    among = f", among them a {' and a '.join(sorted(rule.roles))}" if rule.roles else ""
    each = f", and {rule.requests} for each request" if rule.requests else ""
    return f"{' and '.join(where) or 'everything'} needs {rule.approvals} approvals{among}{each}"


def _digest(document: Mapping[str, Any] | None) -> str:
    return "sha256:" + hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _rule(row: ApprovalRuleRow) -> TenantRule:
    return TenantRule(row.name, row.document, row.revision, row.changed_by, row.changed_at)
