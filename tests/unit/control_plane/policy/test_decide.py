"""decide: what casbin would get wrong stays outside, and every no explains itself."""

from __future__ import annotations

from datetime import UTC, datetime, time

import pytest

from control_plane.policy.casbin_decider import Reference
from control_plane.policy.conditions import Condition, Facts, Hours
from control_plane.policy.decide import decide
from control_plane.policy.index import base_of, build_snapshot
from control_plane.policy.roles import load_roles, read_roles
from control_plane.policy.rules import Effect, Rule

BOOK = read_roles()
BASE = base_of(BOOK)
NOW = Facts(datetime(2026, 11, 24, 12, tzinfo=UTC))
ALICE, BOB = "http://127.0.0.1:8440|alice", "http://127.0.0.1:8440|bob"


def snapshot(**members):
    subjects = {"alice": ALICE, "bob": BOB}
    return build_snapshot("acme", 1, {subjects[name]: tuple(roles) for name, roles in members.items()}, BASE)


def test_an_empty_policy_allows_nothing():
    empty = build_snapshot("acme", 1, {}, BASE)

    assert not decide(empty, ALICE, "template:read", "*", NOW).allowed
    assert not empty.rule("", "", "", NOW).allowed
    assert not Reference(empty).allows("", "", "", NOW)


@pytest.mark.parametrize(
    "subject", ["", "alice", "role:tenant-admin", "http://127.0.0.1:8440|", "http://x|a|b", "http://x|a\n"]
)
def test_a_malformed_subject_is_refused_before_casbin(subject):
    decision = decide(snapshot(alice=["tenant-admin"]), subject, "member:read", "*", NOW)

    assert (decision.allowed, decision.rule) == (False, "malformed")


@pytest.mark.parametrize("name", ["", "a/b", "..", "a..b", "a b", "a\x00", "**", "*x", "x" * 256])
def test_a_malformed_name_is_refused_before_casbin(name):
    decision = decide(snapshot(alice=["developer"]), ALICE, "template:submit", name, NOW)

    assert (decision.allowed, decision.rule) == (False, "malformed")


def test_one_person_does_not_hold_the_role_of_another():
    both = snapshot(alice=["reviewer"], bob=["viewer"])

    assert decide(both, ALICE, "template:review", "*", NOW).allowed
    assert not decide(both, BOB, "template:review", "*", NOW).allowed


def test_a_no_names_the_roles_held_the_permission_and_whom_to_ask():
    decision = decide(snapshot(alice=["viewer"]), ALICE, "template:submit", "*", NOW)

    assert decision.reason == (
        "you hold viewer in tenant acme; template:submit needs developer. An administrator of acme gives you developer"
    )
    assert decision.would_allow == ("developer",)


def test_a_deny_names_the_role_that_denies():
    decision = decide(snapshot(alice=["developer", "auditor"]), ALICE, "tracepoint:request", "*", NOW)

    assert "the role auditor denies tracepoint:request whatever else is held" in decision.reason
    assert decision.rule == "role:auditor, acme, tracepoint:request, *, deny"


def test_a_yes_names_its_rule():
    assert decide(snapshot(alice=["developer"]), ALICE, "template:read", "x", NOW).rule == (
        "role:viewer, acme, template:read, *, allow"
    )


def test_a_right_for_one_name_is_none_for_a_longer_name():
    named = Rule("role:viewer", "template:submit", "acme", Effect.ALLOW)
    own = build_snapshot("acme", 1, {ALICE: ("viewer",)}, BASE, (named,))

    assert decide(own, ALICE, "template:submit", "acme", NOW).allowed
    assert not decide(own, ALICE, "template:submit", "acme-evil", NOW).allowed
    assert not decide(own, ALICE, "template:submit", "*", NOW).allowed


class Breaking:
    def enforce(self, *_):
        raise RuntimeError("one row of this policy is broken")


class Truthy:
    def enforce(self, *_):
        return 1


@pytest.mark.parametrize("enforcer", [Breaking(), Truthy()])
def test_whatever_is_not_a_clean_yes_of_casbin_is_a_no(enforcer):
    broken = Reference(snapshot(alice=["developer"]))
    broken._enforcer = enforcer

    assert not broken.allows(ALICE, "template:read", "*", NOW)


def test_a_no_by_a_condition_names_it_and_the_smallest_change():
    office = Condition(hours=Hours(time(14), time(18)))
    rule = Rule("role:viewer", "template:submit", "*", Effect.ALLOW, office, id="office-hours")
    own = build_snapshot("acme", 1, {ALICE: ("viewer",)}, BASE, (rule,))

    decision = decide(own, ALICE, "template:submit", "*", NOW)

    assert not decision.allowed
    assert decision.missing == ("hours",)
    assert decision.change == "ask between 14:00-18:00 UTC"
    assert "the rule office-hours allows template:submit but for hours" in decision.reason


def test_a_permission_that_is_nearly_one_names_the_nearest():
    assert decide(snapshot(alice=["viewer"]), ALICE, "template:raed", "*", NOW).reason.endswith("template:read?")


def test_an_unknown_role_in_the_database_gives_nothing():
    assert not decide(snapshot(alice=["root"]), ALICE, "template:read", "*", NOW).allowed


def test_roles_that_include_each_other_add_up():
    book = load_roles("{kind: Roles, roles: {aaa: {includes: [bbb]}, bbb: {allow: [template:read]}}}")
    own = build_snapshot("acme", 1, {ALICE: ("aaa",)}, base_of(book))

    assert decide(own, ALICE, "template:read", "*", NOW).allowed
