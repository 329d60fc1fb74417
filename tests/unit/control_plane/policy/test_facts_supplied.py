"""A rule that waits for a fact is asked again by the step that learns it: no permission with such facts goes unasked."""

from __future__ import annotations

import pytest

from control_plane.policy.document import BadPolicy, load_policy
from control_plane.policy.roles import read_roles
from control_plane.policy.rules import SUPPLIED
from tests.architecture.sources import calls, modules

BOOK = read_roles()
# Where each permission's step confirms. Whoever adds one to SUPPLIED adds the place that knows.
CONFIRMED_IN = {
    "tracepoint:request": "control_plane/tracepoints/service.py",
    "tracepoint:renew": "control_plane/tracepoints/service.py",
    "tracepoint:break-glass": "control_plane/tracepoints/service.py",
    "records:read": "control_plane/records/service.py",
    "template:review": "control_plane/templates/service.py",
    "functions:read": "control_plane/delivery/service.py",
}


def test_every_permission_with_facts_has_a_step_that_confirms_them():
    confirming = {path for path, tree in modules("control_plane").items() if "confirm" in set(calls(tree))}

    assert set(SUPPLIED) <= set(CONFIRMED_IN)
    assert set(CONFIRMED_IN.values()) <= confirming


@pytest.mark.parametrize(
    ("action", "when"),
    [
        ("records:read", "{field_class: [card-number, email]}"),
        ("records:read", "{environment: prod, service: cart}"),
        ("records:read", "{template: sums, labels: {team: pay}}"),
        ("template:review", "{risk_at_most: masked}"),
        ("functions:read", "{service: cart}"),
        ("tracepoint:request", "{environment: prod, ttl_at_most: 10m, risk_at_most: masked, hours: '09:00-17:00'}"),
    ],
)
def test_a_rule_may_speak_of_what_its_step_knows(action, when):
    load_policy(_rule(action, "deny", when), BOOK)


@pytest.mark.parametrize(
    ("action", "effect", "when", "problem"),
    [
        ("records:read", "allow", "{field_class: email}", "an allow names the table"),
        ("records:read", "deny", "{ttl_at_most: 5m}", "records:read never says ttl_at_most"),
        ("member:write", "deny", "{service: cart}", "member:write never says service"),
        ("functions:read", "deny", "{environment: prod}", "functions:read never says environment"),
    ],
)
def test_a_rule_about_what_nobody_will_know_is_refused(action, effect, when, problem):
    with pytest.raises(BadPolicy, match=problem):
        load_policy(_rule(action, effect, when), BOOK)


def _rule(action: str, effect: str, when: str) -> str:
    return (
        "apiVersion: probegate/v1\nkind: Policy\n"
        f"rules: [{{id: a, subject: 'role:viewer', action: '{action}', effect: {effect}, when: {when}}}]\n"
    )
