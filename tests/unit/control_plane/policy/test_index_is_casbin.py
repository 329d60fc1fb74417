"""The index answers what casbin answers, and what Cedar answers, over random policies and requests."""

from __future__ import annotations

import os
import random
from datetime import UTC, datetime, time, timedelta

import cedarpy
import pytest

from control_plane.policy.casbin_decider import Reference
from control_plane.policy.conditions import Condition, Fact, Facts, Hours
from control_plane.policy.index import base_of, build_snapshot
from control_plane.policy.model import Permission
from control_plane.policy.roles import read_roles
from control_plane.policy.rules import Effect, Rule, applies, base_rules
from language.risk import RiskClass

BOOK = read_roles()
BASE = base_of(BOOK)
REQUESTS = 100_000 if os.environ.get("PROBEGATE_LONG") else 3_000
ASKED_OF_ONE = 100  # requests of one policy: building one in casbin costs more than asking it
SUBJECTS = [f"https://issuer.example|{name}" for name in ("ann", "bob", "cat", "dan")]
NAMES = ["*", "checkout", "checkout-sum", "check", "acme"]
ACTIONS = [permission.value for permission in Permission]


def some(rng, values, most=3):
    return tuple(rng.sample(values, rng.randint(0, min(most, len(values)))))


def condition(rng):
    if rng.random() < 0.5:
        return None
    made = Condition(
        hours=Hours(time(rng.randint(0, 23)), time(rng.randint(0, 23))) if rng.random() < 0.3 else None,
        environment=some(rng, ["staging", "prod"], 1),
        ttl_at_most=timedelta(minutes=rng.choice([1, 10, 60])) if rng.random() < 0.3 else None,
        labels=some(rng, [("team", "payments"), ("tier", "web")], 1),
        risk_at_most=rng.choice(list(RiskClass)) if rng.random() < 0.3 else None,
        service=some(rng, ["checkout", "cart"], 1),
        template=some(rng, ["sums", "errors"], 1),
        field_class=some(rng, ["card-number", "email"], 1),
    )
    return made if made.facts() else None


def facts(rng):
    return Facts(
        datetime(2026, 11, 24, rng.randint(0, 23), tzinfo=UTC),
        ttl=rng.choice([None, timedelta(minutes=5), timedelta(hours=2)]),
        environment=rng.choice([None, "staging", "prod"]),
        labels=rng.choice([None, {}, {"team": "payments"}, {"team": "web", "tier": "web"}]),
        risk=rng.choice([None, *RiskClass]),
        service=rng.choice([None, "checkout"]),
        template=rng.choice([None, "sums"]),
        field_classes=rng.choice([None, frozenset(), frozenset({"email"})]),
        pending=frozenset(some(rng, list(Fact), 3)),
    )


def policy(rng):
    subjects = [*(f"role:{role}" for role in BOOK.roles), *SUBJECTS]
    rules = tuple(
        Rule(rng.choice(subjects), rng.choice(ACTIONS), rng.choice(NAMES), rng.choice(list(Effect)), condition(rng))
        for _ in range(rng.randint(0, 60))
    )
    members = {subject: some(rng, list(BOOK.roles)) for subject in SUBJECTS}
    return build_snapshot("acme", 1, {who: roles for who, roles in members.items() if roles}, BASE, rules)


def requests(rng, snapshot, number):
    asked = [*snapshot.rules, *rng.sample(BASE.rules, 5)]
    for _ in range(number):
        near = rng.choice(asked)
        action = near.action if rng.random() < 0.7 else rng.choice(ACTIONS)
        yield rng.choice(SUBJECTS), action, rng.choice([near.name, *NAMES]), facts(rng)


@pytest.mark.parametrize("part", range(4))
def test_the_index_answers_as_casbin_does(part):
    rng = random.Random(part)
    answers = {True: 0, False: 0}
    for _ in range(REQUESTS // ASKED_OF_ONE // 4 + 1):
        snapshot = policy(rng)
        reference = Reference(snapshot)
        for subject, action, name, known in requests(rng, snapshot, ASKED_OF_ONE):
            ours = snapshot.rule(subject, action, name, known).allowed
            # Who holds no role gets no answer from the rules at all: `ask` says no before it looks.
            theirs = bool(snapshot.roles_of(subject)) and reference.allows(subject, action, name, known)
            assert ours is theirs, (subject, action, name, known, snapshot.members)
            answers[ours] += 1
    assert min(answers.values()) > sum(answers.values()) // 20, "one answer is so rare that little was compared"


def cedar_policies(snapshot, known):
    """The same rows in Cedar: our conditions are settled first, Cedar has the matching and the effects."""
    texts = []
    for rule in (*base_rules(BOOK), *snapshot.rules):
        if not applies(rule.effect, rule.condition, known):
            continue
        kind = "Role" if rule.subject.startswith("role:") else "User"
        who = rule.subject.removeprefix("role:")
        named = "" if rule.name == "*" else f' when {{ context.name == "{rule.name}" }}'
        word = "permit" if rule.effect is Effect.ALLOW else "forbid"
        texts.append(f'{word}(principal in {kind}::"{who}", action == Action::"{rule.action}", resource){named};')
    return "\n".join(texts)


def cedar_entities(snapshot):
    def entity(kind, name, parents):
        uid = {"type": kind, "id": name}
        return {"uid": uid, "attrs": {}, "parents": [{"type": "Role", "id": parent} for parent in parents]}

    roles = [entity("Role", role.name, role.includes) for role in BOOK.roles.values()]
    return roles + [entity("User", subject, snapshot.members.get(subject, ())) for subject in SUBJECTS]


def test_cedar_agrees_as_a_third_opinion():
    rng = random.Random(7)
    for _ in range(max(1, REQUESTS // 1000)):
        snapshot = policy(rng)
        entities, known = cedar_entities(snapshot), facts(rng)
        policies = cedar_policies(snapshot, known)
        for subject, action, name, _ in requests(rng, snapshot, 30):
            request = {
                "principal": f'User::"{subject}"',
                "action": f'Action::"{action}"',
                "resource": 'Tenant::"acme"',
                "context": {"name": name},
            }
            theirs = cedarpy.is_authorized(request, policies, entities).allowed
            ours = snapshot.rule(subject, action, name, known).allowed
            assert ours is (bool(snapshot.roles_of(subject)) and theirs), (subject, action, name, known)
