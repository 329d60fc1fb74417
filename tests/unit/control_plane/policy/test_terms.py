"""A rule that speaks of the body: the route lets the request in, the step that knows the facts decides."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from control_plane.foundation.errors import Denied
from control_plane.policy.conditions import Condition, Facts, environment_of
from control_plane.policy.decide import decide
from control_plane.policy.index import base_of, build_snapshot
from control_plane.policy.model import Permission, Terms
from control_plane.policy.roles import read_roles
from control_plane.policy.rules import SUPPLIED, Effect, Rule
from control_plane.policy.terms import confirm, request_facts
from language.risk import RiskClass
from tests.builders.principals import grant

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
VIC = "http://127.0.0.1:8440|vic"
REQUEST = Permission.TRACEPOINT_REQUEST
BASE = base_of(read_roles())


def granted(effect, roles=("viewer",), subject="role:viewer", **condition):
    rule = Rule(subject, REQUEST, "*", effect, Condition(**condition), id="the-rule")
    snapshot = build_snapshot("acme", 1, {VIC: roles}, BASE, (rule,))
    decision = decide(snapshot, VIC, REQUEST, "*", Facts(NOW, pending=SUPPLIED[REQUEST]))
    assert decision.allowed, decision.reason
    return replace(grant(REQUEST, by="vic"), terms=Terms(decision.terms))


def facts(**changes):
    known = {"ttl": timedelta(minutes=5), "labels": {}, "service": "cart", "template": "sums", "risk": RiskClass.MASKED}
    return request_facts(NOW, **known | changes)


def test_a_grant_without_terms_is_already_whole():
    confirm(grant(REQUEST), facts())


@pytest.mark.parametrize(
    ("condition", "good", "bad", "change"),
    [
        ({"ttl_at_most": timedelta(minutes=10)}, {}, {"ttl": timedelta(hours=1)}, "ask for a ttl of at most 10m"),
        (
            {"environment": ("staging",)},
            {"labels": {"env": "staging"}},
            {"labels": {}},
            "narrow the target to environment=staging",
        ),
        ({"risk_at_most": RiskClass.MASKED}, {}, {"risk": RiskClass.RAW}, "risk class masked or less"),
        ({"service": ("cart",)}, {}, {"service": None}, "target the service cart"),
        ({"template": ("sums",)}, {}, {"template": "other"}, "use the template sums"),
        (
            {"labels": (("team", "pay"),)},
            {"labels": {"team": "pay"}},
            {"labels": {"team": "web"}},
            "narrow the target to team=pay",
        ),
    ],
)
def test_an_allow_with_a_condition_holds_where_the_condition_does_and_says_what_to_change(condition, good, bad, change):
    conditional = granted(Effect.ALLOW, **condition)

    confirm(conditional, facts(**good))
    with pytest.raises(Denied, match="the rule the-rule allows it but for") as denied:
        confirm(conditional, facts(**bad))
    assert change in denied.value.extra["smallest_change"]


@pytest.mark.parametrize("labels", [{"env": "prod"}, {}])
def test_a_deny_for_an_environment_also_meets_a_target_that_leaves_it_open(labels):
    frozen = granted(Effect.DENY, roles=("developer",), subject="role:developer", environment=("prod",))

    confirm(frozen, facts(labels={"env": "staging"}))
    with pytest.raises(Denied, match="the-rule"):
        confirm(frozen, facts(labels=labels))


def test_the_environment_is_the_one_the_target_is_bound_to():
    assert environment_of({"env": "a", "environment": "b"}) == "b"
    assert environment_of({"team": "pay"}) is None
