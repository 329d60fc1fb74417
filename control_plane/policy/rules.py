"""One row of a policy: who, which permission, on which name, allow or deny, and when.

`applies` and `settle` are the meaning of a row in Python; policies/model.conf is the same meaning in casbin, and a
property test holds the two (and Cedar) to one another. Rows come from roles.yaml (`base_rules`) and from a tenant's own
policy (`policy_document`); they leave towards `index`, which finds the few that matter to a request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from control_plane.policy.conditions import Condition, Fact, Facts
from control_plane.policy.model import Permission
from control_plane.policy.roles import RoleBook

ANY: Final = "*"  # a rule's object: every name
_REQUEST_FACTS: Final = frozenset({Fact.TTL, Fact.ENVIRONMENT, Fact.LABELS, Fact.RISK, Fact.SERVICE, Fact.TEMPLATE})
_ROWS_FACTS: Final = frozenset({Fact.ENVIRONMENT, Fact.LABELS, Fact.SERVICE, Fact.TEMPLATE, Fact.FIELD_CLASS})
# What each permission's step says before it acts. A rule may speak of nothing else: it would never be asked.
SUPPLIED: Final[Mapping[str, frozenset[Fact]]] = {
    Permission.TRACEPOINT_REQUEST: _REQUEST_FACTS,
    Permission.TRACEPOINT_RENEW: _REQUEST_FACTS,
    Permission.TRACEPOINT_BREAK_GLASS: _REQUEST_FACTS,
    Permission.RECORDS_READ: _ROWS_FACTS,
    Permission.TEMPLATE_REVIEW: frozenset({Fact.RISK, Fact.TEMPLATE}),
    Permission.FUNCTIONS_READ: frozenset({Fact.SERVICE}),
}


class Effect(StrEnum):
    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Rule:
    """`subject` is "role:<name>" or "<issuer>|<sub>"; `name` is one resource's or ANY. `id` is for people."""

    subject: str
    action: str
    name: str
    effect: Effect
    condition: Condition | None = None
    id: str = ""

    def row(self, tenant: str) -> str:
        """How it is written in explanations and in the log."""
        words = (self.subject, tenant, self.action, self.name, self.effect.value)
        return ", ".join((*words, self.condition.words()) if self.condition else words)


@dataclass(frozen=True, slots=True)
class Ruling:
    """`rule` decided it, None when nothing matched. `terms` are the matching rules that wait for pending facts."""

    allowed: bool
    rule: Rule | None
    terms: tuple[Rule, ...] = ()
    failing: tuple[tuple[Rule, tuple[Fact, ...]], ...] = ()  # allows that match but for these facts


def applies(effect: Effect, condition: Condition | None, facts: Facts) -> bool:
    """Whether a row that matches counts now.

    An allow counts as long as nothing speaks against it; a deny only once all of it is known to hold, or can never be
    known.
    """
    if condition is None:
        return True
    if effect is Effect.ALLOW:
        return not condition.failing(facts)
    if not facts.pending.isdisjoint(condition.facts()):
        return False  # confirmed, or not, when the fact is there
    return not any(is_known(fact, condition, facts) for fact in condition.failing(facts))


def settle(rules: Iterable[Rule], facts: Facts) -> Ruling:
    """The rows that match subject, action and name -> the answer. A deny beats every allow, no allow is a no."""
    allowing: Rule | None = None
    terms: list[Rule] = []
    failing: list[tuple[Rule, tuple[Fact, ...]]] = []
    for rule in rules:
        condition = rule.condition
        if condition is not None and not facts.pending.isdisjoint(condition.facts()):
            terms.append(rule)
        if applies(rule.effect, condition, facts):
            if rule.effect is Effect.DENY:
                return Ruling(False, rule)
            if allowing is None or (allowing.condition is not None and condition is None):
                allowing = rule
        elif rule.effect is Effect.ALLOW and condition is not None:
            failing.append((rule, condition.failing(facts)))
    if allowing is None:
        return Ruling(False, None, failing=tuple(failing))
    if terms and allowing not in terms:
        terms.append(allowing)  # it allows whatever the facts turn out to be
    return Ruling(True, allowing, tuple(terms))


def base_rules(book: RoleBook) -> tuple[Rule, ...]:
    """What roles.yaml says, as rows of the roles that say it."""
    return tuple(
        Rule(f"role:{role.name}", permission.value, ANY, effect)
        for role in book.roles.values()
        for effect, permissions in ((Effect.DENY, role.deny), (Effect.ALLOW, role.allow))
        for permission in permissions
    )


def is_known(fact: Fact, condition: Condition, facts: Facts) -> bool:
    """Whether the facts say enough of this part to call it failing, and not only unsaid."""
    match fact:
        case Fact.HOURS:
            return True
        case Fact.TTL:
            return facts.ttl is not None
        case Fact.ENVIRONMENT:
            return facts.environment is not None
        case Fact.LABELS:  # a label that the target leaves open may turn out to be the one that is meant
            labels = facts.labels or {}
            return any(labels.get(key, value) != value for key, value in condition.labels)
        case Fact.RISK:
            return facts.risk is not None
        case Fact.SERVICE:
            return facts.service is not None
        case Fact.TEMPLATE:
            return facts.template is not None
        case Fact.FIELD_CLASS:
            return facts.field_classes is not None
