"""The smallest change is one that works, and nothing smaller does: each is applied and asked again."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from itertools import combinations

import pytest

from control_plane.policy.conditions import Condition, Facts, Hours
from control_plane.policy.decide import decide
from control_plane.policy.index import base_of, build_snapshot
from control_plane.policy.model import Permission
from control_plane.policy.roles import read_roles
from control_plane.policy.rules import Effect, Rule
from control_plane.policy.smallest import FixKind, Standing, asked_of, smallest_change
from language.risk import RiskClass
from tests.unit.control_plane.policy.test_index_is_casbin import policy, requests

BASE = base_of(read_roles())
NOON = Facts(datetime(2026, 11, 24, 12, tzinfo=UTC))
VIC = "https://issuer.example|vic"
SUBMIT = Permission.TEMPLATE_SUBMIT.value
DENIALS = 20_000 if os.environ.get("PROBEGATE_LONG") else 1_000


def answer(*rules: Rule, roles: tuple[str, ...] = ("viewer",), facts: Facts = NOON, ask: str = SUBMIT):
    return decide(build_snapshot("acme", 1, {VIC: roles}, BASE, rules), VIC, ask, "sums", facts)


def rule(effect: Effect, identity: str, subject: str = "role:developer", **condition: object) -> Rule:
    return Rule(subject, SUBMIT, "*", effect, Condition(**condition) if condition else None, id=identity)


def applied(snapshot, subject, fixes):
    """The same tenant after somebody did what the fixes say, to the membership and to the document."""
    roles = set(snapshot.roles_of(subject))
    dropped = {fix.value for fix in fixes if fix.kind is FixKind.DROP_RULE}
    roles |= {fix.value for fix in fixes if fix.kind is FixKind.GIVE_ROLE}
    roles -= {fix.value for fix in fixes if fix.kind is FixKind.TAKE_ROLE}
    rules = tuple(row for row in snapshot.rules if row.id not in dropped)
    return build_snapshot(snapshot.tenant, 2, {**snapshot.members, subject: tuple(sorted(roles))}, snapshot.base, rules)


@pytest.mark.parametrize("part", range(4))
def test_the_change_that_is_told_allows_the_same_request_and_no_part_of_it_does(part):
    rng = random.Random(part + 100)
    seen = dict.fromkeys(FixKind, 0)
    denials = hopeless = 0
    # Which changes chance brings up follows from the roles too: it goes on until each sort has been told once.
    while denials < DENIALS // 4 or (not all(seen.values()) and denials < DENIALS):
        made = policy(rng)
        made = replace(made, rules=tuple(replace(row, id=f"r{number}") for number, row in enumerate(made.rules)))
        for subject, action, name, known in requests(rng, made, 40):
            standing = Standing(made.roles_of(subject), known)
            if decide(made, subject, action, name, known).allowed:
                continue
            denials += 1
            fixes = smallest_change(made, subject, action, name, standing)
            if not fixes:
                hopeless += 1
                continue
            facts = standing.with_fixes(fixes).facts
            assert decide(applied(made, subject, fixes), subject, action, name, facts).allowed, (subject, action, fixes)
            for part_of in (some for size in range(len(fixes)) for some in combinations(fixes, size)):
                less = standing.with_fixes(part_of)
                if less.roles:
                    assert not asked_of(made, subject, action, name, less).allowed, (fixes, part_of)
            for fix in fixes:
                seen[fix.kind] += 1
    assert min(seen.values()) > 0, "one sort of change never came up"
    assert hopeless < denials // 4, "so many were told nothing that little was shown"


def test_a_narrower_request_is_told_before_a_role_and_a_role_before_a_changed_rule():
    conditional = rule(Effect.ALLOW, "short", "role:viewer", ttl_at_most=timedelta(minutes=10))

    assert answer(conditional, facts=replace(NOON, ttl=timedelta(hours=1))).change == "ask for a ttl of at most 10m"
    assert answer().change == "an administrator of acme gives you developer"


def test_a_role_that_a_rule_denies_to_is_not_enough_and_both_changes_are_told():
    decision = answer(rule(Effect.DENY, "freeze"), rule(Effect.DENY, "freeze-too", "role:responder"))

    assert decision.change == (
        "an administrator of acme gives you developer and an administrator changes the rule freeze of the policy"
    )
    assert decision.missing == ("role developer", "the rule freeze denies it")


def test_what_a_deny_does_not_speak_of_is_told():
    at_night = rule(Effect.DENY, "day", hours=Hours(time(8), time(18)))

    assert answer(at_night, roles=("developer",)).change == "ask outside 08:00-18:00 UTC"


@pytest.mark.parametrize(
    ("condition", "facts", "change"),
    [
        ({"environment": ("prod",)}, {"environment": "prod"}, "narrow the target to another environment than prod"),
        ({"environment": ("prod",)}, {}, "narrow the target to another environment than prod"),
        ({"labels": (("tier", "web"),)}, {"labels": {"tier": "web"}}, "narrow the target to another tier than web"),
        ({"service": ("cart",)}, {"service": "cart"}, "target another service than cart"),
        ({"template": ("sums",)}, {"template": "sums"}, "use another template than sums"),
        ({"risk_at_most": RiskClass.MASKED}, {"risk": RiskClass.MASKED}, "use a template of a higher risk class"),
        ({"ttl_at_most": timedelta(minutes=1)}, {"ttl": timedelta(seconds=5)}, "ask for a ttl of more than 1m"),
    ],
)
def test_a_deny_with_a_condition_says_how_to_stay_clear_of_it(condition, facts, change):
    decision = answer(rule(Effect.DENY, "d", **condition), roles=("developer",), facts=replace(NOON, **facts))

    assert decision.change.startswith(change)


def test_a_role_that_denies_is_taken_away_when_nothing_else_helps():
    decision = answer(roles=("auditor", "developer"))

    assert decision.change == "an administrator of acme takes the role auditor away"
    assert decision.rule == "role:auditor, acme, template:submit, *, deny"


def test_a_role_that_excludes_one_that_is_held_is_not_told():
    assert "tenant-admin" not in answer(roles=("auditor",), ask="member:write").change


def test_a_role_that_takes_other_rights_away_is_not_the_smallest():
    assert answer(roles=("developer",), ask="policy:read").change == "an administrator of acme gives you reviewer"


def test_what_cannot_be_had_in_a_tenant_says_so():
    decision = answer(ask="tenant:create")

    assert (decision.change, decision.missing) == ("none in this tenant", ())
