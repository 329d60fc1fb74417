"""A no -> the fewest changes that would make it a yes, found by trying: every answer has been asked of the rules again.

What can be changed: what the request says of itself, a role given or taken away, a rule of the tenant's own policy. The
fewest win; among equally many those of the request come first, then roles with little else in them, then rules, and a
role taken away last. Pure. Users: `decide`, when the route asks, and `terms`, when the step knows the facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, timedelta
from enum import IntEnum
from itertools import combinations
from typing import Any, Final

from control_plane.policy.conditions import Condition, Fact, Facts
from control_plane.policy.index import Snapshot
from control_plane.policy.rules import Effect, Rule, Ruling, is_known, settle
from language.durations import render
from language.risk import RiskClass

MAX_TOGETHER: Final = 3  # changes tried at once: beyond that nobody asks for all of them
MAX_TRIED: Final = 2_000  # combinations of one answer: some tens of milliseconds, on a no only
MAX_RULES: Final = 40  # matching rules that are looked at one by one; more are told of as what they are, many
_DENY_WEIGHT: Final = 20  # a role that takes rights away is the last that anybody wants for one more
_OTHER: Final = "other"  # a word that stands for any that a rule does not name
_RISKS: Final = tuple(RiskClass)


class FixKind(IntEnum):
    """In the order of preference."""

    REQUEST = 0
    GIVE_ROLE = 1
    DROP_RULE = 2
    TAKE_ROLE = 3


@dataclass(frozen=True)
class Fix:
    """One change. `missing` is the lack that it mends, in a word or two; `words` is what somebody does."""

    kind: FixKind
    value: str
    words: str
    missing: str
    fact: Fact | None = None
    known: Any = field(default=None, compare=False)  # what the fact would be
    weight: int = 0  # how much else comes with it


@dataclass(frozen=True)
class Standing:
    """What an answer depends on, and what changes alter: roles, rules left out, facts."""

    roles: tuple[str, ...]
    facts: Facts
    dropped: frozenset[str] = frozenset()

    def with_fixes(self, fixes: Iterable[Fix]) -> Standing:
        found = self
        for fix in fixes:
            match fix.kind:
                case FixKind.REQUEST if fix.fact is not None:
                    found = replace(found, facts=_told(found.facts, fix.fact, fix.known))
                case FixKind.GIVE_ROLE:
                    found = replace(found, roles=tuple(sorted({*found.roles, fix.value})))
                case FixKind.TAKE_ROLE:
                    found = replace(found, roles=tuple(role for role in found.roles if role != fix.value))
                case _:
                    found = replace(found, dropped=found.dropped | {fix.value})
        return found


def asked_of(snapshot: Snapshot, subject: str, permission: str, name: str, standing: Standing) -> Ruling:
    """The rules' answer under changed circumstances."""
    return settle(_rules(snapshot, subject, permission, name, standing), standing.facts)


def smallest_change(
    snapshot: Snapshot, subject: str, permission: str, name: str, standing: Standing
) -> tuple[Fix, ...]:
    """Empty when nothing in this tenant would help."""
    book, platform = snapshot.base.book, snapshot.tenant == "platform"
    givable = [
        role.name
        for role in book.roles.values()
        if role.platform == platform or (platform and role.name == "auditor")
        if role.name not in standing.roles and not set(role.excludes) & set(standing.roles)
        if not any(role.name in book.roles[held].excludes for held in standing.roles if held in book.roles)
    ]
    reach = Standing(tuple(sorted({*standing.roles, *givable})), standing.facts)
    rules = list(_rules(snapshot, subject, permission, name, reach))
    if not any(rule.effect is Effect.ALLOW for rule in rules):
        return ()
    fixes = _of_rules(rules[:MAX_RULES], standing.facts)
    for role in givable:
        held = [book.roles[name] for name in book.closure((role,))]
        weight = sum(len(one.allow) + _DENY_WEIGHT * len(one.deny) for one in held)
        words = f"an administrator of {snapshot.tenant} gives you {role}"
        fixes.append(Fix(FixKind.GIVE_ROLE, role, words, f"role {role}", weight=weight))
    for role in standing.roles:
        words = f"an administrator of {snapshot.tenant} takes the role {role} away"
        fixes.append(Fix(FixKind.TAKE_ROLE, role, words, f"the role {role} denies it"))
    return fewest(
        fixes,
        standing,
        lambda changed: bool(changed.roles) and asked_of(snapshot, subject, permission, name, changed).allowed,
    )


def smallest_of_terms(rules: Sequence[Rule], facts: Facts) -> tuple[Fix, ...]:
    """The same for rules that travelled with a grant: what the request says, and the tenant's own rules."""

    def allowed(changed: Standing) -> bool:
        return settle([rule for rule in rules if not rule.id or rule.id not in changed.dropped], changed.facts).allowed

    return fewest(_of_rules(list(rules)[:MAX_RULES], facts), Standing((), facts), allowed)


def fewest(fixes: Iterable[Fix], standing: Standing, allowed: Callable[[Standing], bool]) -> tuple[Fix, ...]:
    """The first of the smallest sets that help, by preference."""
    ordered = sorted(dict.fromkeys(fixes), key=lambda fix: (fix.kind, fix.weight, fix.value))
    tried = 0
    for together in range(1, MAX_TOGETHER + 1):
        for chosen in sorted(combinations(ordered, together), key=lambda some: sum(fix.kind for fix in some)):
            if tried == MAX_TRIED:
                return ()
            tried += 1
            if allowed(standing.with_fixes(chosen)):
                return chosen
    return ()


def _rules(snapshot: Snapshot, subject: str, permission: str, name: str, standing: Standing) -> Iterable[Rule]:
    subjects = (*snapshot.base.subjects(standing.roles), subject)
    return [
        rule for rule in snapshot.matching(subjects, permission, name) if not rule.id or rule.id not in standing.dropped
    ]


def _of_rules(rules: Sequence[Rule], facts: Facts) -> list[Fix]:
    """For an allow what would make its condition hold, for a deny what would not, and the deny's own end."""
    found: list[Fix] = []
    for rule in rules:
        condition = rule.condition
        for fact in condition.facts() if condition else ():
            if condition is None or fact in facts.pending:
                continue
            fails = fact in condition.failing(facts)
            if rule.effect is Effect.ALLOW and fails:
                found.append(_meeting(condition, fact))
            elif rule.effect is Effect.DENY and not (fails and is_known(fact, condition, facts)):
                found += _avoiding(condition, fact)
        if rule.effect is Effect.DENY and rule.id:
            words = f"an administrator changes the rule {rule.id} of the policy"
            found.append(Fix(FixKind.DROP_RULE, rule.id, words, f"the rule {rule.id} denies it"))
    return found


def _meeting(condition: Condition, fact: Fact) -> Fix:
    values: dict[Fact, Any] = {
        Fact.HOURS: condition.hours.start if condition.hours else None,
        Fact.ENVIRONMENT: condition.environment[:1],
        Fact.TTL: condition.ttl_at_most,
        Fact.LABELS: dict(condition.labels),
        Fact.RISK: condition.risk_at_most,
        Fact.SERVICE: condition.service[:1],
        Fact.TEMPLATE: condition.template[:1],
        Fact.FIELD_CLASS: frozenset(condition.field_class),
    }
    value = values[fact]
    known = value[0] if isinstance(value, tuple) else value
    return Fix(FixKind.REQUEST, f"{fact}={known}", condition.needs(fact), str(fact), fact, known)


def _avoiding(condition: Condition, fact: Fact) -> list[Fix]:
    """A value of which the part is known not to hold; none where it holds for all of them."""
    known: Any
    match fact:
        case Fact.HOURS:
            hours = condition.hours
            known, words = hours.end if hours else None, f"ask outside {hours} UTC"
        case Fact.TTL:
            most = condition.ttl_at_most or timedelta(0)
            known, words = most + timedelta(seconds=1), f"ask for a ttl of more than {render(most)}"
        case Fact.LABELS:
            key, value = condition.labels[0]
            known, words = {key: _another((value,))}, f"narrow the target to another {key} than {value}"
        case Fact.RISK:
            above = _RISKS[_RISKS.index(condition.risk_at_most) + 1 :] if condition.risk_at_most else ()
            if not above:
                return []
            known, words = above[0], f"use a template of a higher risk class than {condition.risk_at_most}"
        case Fact.ENVIRONMENT:
            known = _another(condition.environment)
            words = f"narrow the target to another environment than {' or '.join(condition.environment)}"
        case Fact.SERVICE:
            known = _another(condition.service)
            words = f"target another service than {' or '.join(condition.service)}"
        case Fact.TEMPLATE:
            known = _another(condition.template)
            words = f"use another template than {' or '.join(condition.template)}"
        case Fact.FIELD_CLASS:
            known = frozenset[str]()
            words = f"read what holds no {' or '.join(condition.field_class)}"
    return [Fix(FixKind.REQUEST, f"{fact}={known}", words, f"{fact} that is not denied", fact, known)]


def _another(words: Sequence[str]) -> str:
    """A word that stands for any that is not among these."""
    found = _OTHER
    while found in words:
        found += "-one"
    return found


def _told(facts: Facts, fact: Fact, known: Any) -> Facts:
    """The facts, had the request said this."""
    match fact:
        case Fact.HOURS:
            at = facts.at.astimezone(UTC)
            return replace(facts, at=at.replace(hour=known.hour, minute=known.minute, second=0, microsecond=0))
        case Fact.TTL:
            return replace(facts, ttl=known)
        case Fact.LABELS:
            return replace(facts, labels={**(facts.labels or {}), **known})
        case Fact.ENVIRONMENT:
            return replace(facts, environment=known)
        case Fact.RISK:
            return replace(facts, risk=known)
        case Fact.SERVICE:
            return replace(facts, service=known)
        case Fact.TEMPLATE:
            return replace(facts, template=known)
        case Fact.FIELD_CLASS:
            return replace(facts, field_classes=known)
