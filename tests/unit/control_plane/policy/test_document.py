"""A policy is read strictly: a misspelt deny must not be a missing deny, and the nearest word is named."""

from __future__ import annotations

from datetime import time, timedelta

import pytest

from control_plane.policy.conditions import Hours
from control_plane.policy.document import BadPolicy, load_policy
from control_plane.policy.roles import read_roles
from language.risk import RiskClass

BOOK = read_roles()
HEAD = "apiVersion: probegate/v1\nkind: Policy\n"
RULE = "{id: freeze, subject: 'role:developer', action: 'tracepoint:request', effect: deny%s}"


def policy(rule="", **parts):
    rules = f"rules: [{RULE % rule}]\n"
    return HEAD + rules + "".join(f"{key}: {value}\n" for key, value in parts.items())


def test_every_condition_is_typed():
    when = (
        ", when: {hours: '22:00-06:00', environment: [prod], ttl_at_most: 30m, labels: {team: pay}, "
        "risk_at_most: masked, service: cart, template: [sums]}"
    )
    condition = load_policy(policy(when), BOOK).rules[0].condition

    assert condition.hours == Hours(time(22), time(6))
    assert (condition.environment, condition.service, condition.template) == (("prod",), ("cart",), ("sums",))
    assert (condition.ttl_at_most, condition.labels, condition.risk_at_most) == (
        timedelta(minutes=30),
        (("team", "pay"),),
        RiskClass.MASKED,
    )


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("[]", "expected a mapping"),
        ("a: &a [*a]", "YAML|unknown key"),
        ("kind: Policy", "apiVersion"),
        (HEAD + "ruls: []", "did you mean rules"),
        (policy().replace("deny", "Deny"), "expected allow or deny"),
        (policy().replace("effect: deny", "efect: deny"), "did you mean effect"),
        (policy().replace("tracepoint:request", "tracepoint:requests"), "did you mean tracepoint:request"),
        (policy().replace("role:developer", "role:develper"), "did you mean developer"),
        (policy().replace("role:developer", "role:platform-admin"), "no role 'platform-admin' in a tenant"),
        (policy().replace("role:developer", "alice"), "expected role:<name>"),
        (policy(", name: 'sum*'"), "there are no patterns"),
        (policy(", when: {}"), "when is empty"),
        (policy(", when: {hour: '1-2'}"), "did you mean hours"),
        (policy(", when: {hours: '9:00-25:00'}"), "HH:MM-HH:MM"),
        (policy(", when: {hours: '09:00-09:00'}"), "begins when it ends"),
        (policy(", when: {risk_at_most: maskd}"), "did you mean masked"),
        (policy(", when: {ttl_at_most: soon}"), "ttl_at_most"),
        (policy(", when: {environment: []}"), "a list of 1"),
        (
            policy(", when: {ttl_at_most: 1m}").replace("tracepoint:request", "template:read"),
            "template:read never says ttl_at_most",
        ),
        (HEAD + f"rules: [{RULE % ''}, {RULE % ''}]", "two rules are called freeze"),
        (policy(tests="[{roles: [viewer], ask: 'template:read', answer: yes}]"), "expected allow or deny"),
        (policy(groups="[{issuer: x, group: g, roles: [viewer]}]"), "issuer's address"),
        ("x" * 600_000, "at most"),
    ],
)
def test_what_is_not_understood_is_refused(source, why):
    with pytest.raises(BadPolicy, match=why):
        load_policy(source, BOOK)
