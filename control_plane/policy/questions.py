"""What a tenant's policy means for people: explain one answer, who can, and what another policy would have answered.

The rules are asked as `service` asks them, about somebody who is not asking: by the roles given here and by the groups
of their issuer, which are those that they last came with unless the question names others. Changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.clock import Clock
from control_plane.foundation.database import Database
from control_plane.foundation.errors import Invalid
from control_plane.foundation.identifiers import TenantId
from control_plane.policy.casbin_decider import Reference
from control_plane.policy.comparing import ALWAYS, ways, ways_by
from control_plane.policy.conditions import Facts
from control_plane.policy.decide import SUSPENDED, Decision, decide
from control_plane.policy.document import load_policy
from control_plane.policy.index import Base, Snapshot
from control_plane.policy.model import Grant, Permission
from control_plane.policy.nearest import near
from control_plane.policy.planning import with_policy
from control_plane.policy.policy_kind import PolicyText
from control_plane.policy.rules import ANY, SUPPLIED
from control_plane.policy.service import IN_PERSON

MAX_SIMULATED: Final = 10_000  # recorded decisions of one simulation: some seconds of reading
_log = logging.getLogger(__name__)
# Answers that came from the credential, the tenant's state or the form of the question: no policy changes them.
_NOT_BY_RULES: Final = frozenset({"malformed", "in-person", "token-scope", "service-accounts", SUSPENDED})


@dataclass(frozen=True)
class Explanation:
    """`reference` is casbin's own answer; `groups` are those that were reckoned with."""

    decision: Decision
    reference: bool
    rules: tuple[str, ...]
    groups: tuple[str, ...]


@dataclass(frozen=True)
class RecordedDecision:
    at: datetime
    actor: str
    permission: str
    name: str
    allowed: bool
    rule: str = ""
    groups: frozenset[str] = frozenset()
    program: bool = False


@dataclass(frozen=True)
class Flip:
    """`rule` would have decided it. `because` is this policy, or that members or the policy have changed since."""

    decision: RecordedDecision
    rule: str
    because: str


class RecordedDecisions(Protocol):
    async def recorded(self, session: AsyncSession, tenant: TenantId, limit: int) -> Sequence[RecordedDecision]:
        """The newest decisions in the tenant's log, the newest first."""
        ...

    async def groups_of(self, session: AsyncSession, tenant: TenantId, subject: str) -> frozenset[str]:
        """The groups with which somebody last came; none when they never came."""
        ...


class PolicyQuestions:
    def __init__(self, database: Database, base: Base, clock: Clock, log: RecordedDecisions) -> None:
        self._database = database
        self._base = base
        self._clock = clock
        self._log = log
        self._policy = PolicyText(base, clock)

    async def explain(
        self, grant: Grant, subject: str, permission: str, name: str, groups: Collection[str] | None = None
    ) -> Explanation:
        """Somebody else's decision, with every rule that was looked at, and casbin's own answer beside it."""
        tenant = grant.resource.tenant
        async with self._database.transaction(tenant) as session:
            snapshot = await self._policy.snapshot(session, tenant)
            if groups is None:
                groups = await self._log.groups_of(session, tenant, subject)
        known = frozenset(groups)
        facts = Facts(self._clock.now(), pending=SUPPLIED.get(permission, frozenset()))
        decision = decide(snapshot, subject, permission, name, facts, known)
        subjects = (*self._base.subjects(decision.roles), subject)
        rules = tuple(rule.row(tenant) for rule in snapshot.matching(subjects, permission, name))
        seated = with_members(snapshot, subject, decision.roles)
        reference = bool(decision.roles) and Reference(seated).allows(subject, permission, name, facts)
        if reference is not decision.allowed and decision.rule not in _NOT_BY_RULES:
            _log.error("index and casbin disagree in tenant %s on %s for a rule: report this", tenant, permission)
        return Explanation(decision, reference, rules, tuple(sorted(known)))

    async def who_can(self, grant: Grant, permission: str, name: str) -> dict[str, str]:
        """Members who may, and groups that stand for a role that may, with the rule; conditions are told, not judged.

        Raises Invalid.
        """
        asked = _permission(permission)
        async with self._database.transaction(grant.resource.tenant) as session:
            snapshot = await self._policy.snapshot(session, grant.resource.tenant)
        may = {}
        for subject in sorted(snapshot.members):
            ruling = snapshot.rule(subject, asked.value, name, Facts(self._clock.now()))
            under = ways(snapshot, subject, asked, name)
            if ruling.allowed and ruling.rule:
                may[subject] = ruling.rule.row(snapshot.tenant)
            elif under:
                may[subject] = "when " + " or ".join(sorted(way.words() for way in under))
        for (issuer, group), roles in sorted(snapshot.groups.items()):
            under = ways_by(snapshot, roles, "", asked, name)
            if under:
                by = f"as {' and '.join(roles)}"
                when = "" if ALWAYS in under else ", when " + " or ".join(sorted(way.words() for way in under))
                may[f"group {group} of {issuer}"] = by + when
        return may

    async def simulate(self, grant: Grant, source: str) -> tuple[int, tuple[Flip, ...]]:
        """How many recorded decisions were asked again, and those that would come out otherwise. Raises BadPolicy."""
        document = load_policy(source, self._base.book)
        tenant = grant.resource.tenant
        async with self._database.transaction(tenant) as session:
            now = await self._policy.snapshot(session, tenant)
            decisions = await self._log.recorded(session, tenant, MAX_SIMULATED)
        proposed = with_policy(now, document)
        flips = []
        for decision in decisions:
            allowed, rule = _again(proposed, decision)
            if allowed is not decision.allowed:
                same = _again(now, decision)[0] is allowed
                because = "members or policy changed since" if same else "this policy"
                flips.append(Flip(decision, rule, because))
        return len(decisions), tuple(flips)


def with_members(snapshot: Snapshot, subject: str, roles: tuple[str, ...]) -> Snapshot:
    """The same tenant, where a subject holds all that its groups stand for by name: casbin knows no groups."""
    if snapshot.members.get(subject, ()) == roles:
        return snapshot
    members = {**snapshot.members, subject: roles}
    return Snapshot(snapshot.tenant, snapshot.version, members, snapshot.base, snapshot.rules, snapshot.groups)


def _again(snapshot: Snapshot, decision: RecordedDecision) -> tuple[bool, str]:
    """What would have come out, by what the route knew when it decided."""
    if decision.rule in _NOT_BY_RULES:
        return decision.allowed, decision.rule
    if decision.program and decision.permission in IN_PERSON:
        return False, "in-person"
    facts = Facts(decision.at, pending=SUPPLIED.get(decision.permission, frozenset()))
    roles = snapshot.roles_of(decision.actor, decision.groups)
    ruling = snapshot.ask(decision.actor, roles, decision.permission, decision.name or ANY, facts)
    return ruling.allowed, ruling.rule.row(snapshot.tenant) if ruling.rule else "no rule allows it"


def _permission(word: str) -> Permission:
    try:
        return Permission(word)
    except ValueError as error:
        raise Invalid(f"there is no permission {word[:64]!r}{near(word, Permission)}") from error
