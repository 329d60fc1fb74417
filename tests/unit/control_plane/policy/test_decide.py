"""decide: what casbin would get wrong stays outside, and every no explains itself."""

from __future__ import annotations

import pytest

from control_plane.policy.casbin_decider import Snapshot, build_snapshot
from control_plane.policy.decide import decide
from control_plane.policy.roles import load_roles, read_roles

BOOK = read_roles()
ALICE, BOB = "http://127.0.0.1:8440|alice", "http://127.0.0.1:8440|bob"


def snapshot(**members):
    subjects = {"alice": ALICE, "bob": BOB}
    return build_snapshot("acme", 1, {subjects[name]: tuple(roles) for name, roles in members.items()}, BOOK)


def test_an_empty_policy_allows_nothing():
    empty = build_snapshot("acme", 1, {}, BOOK)

    assert not decide(empty, BOOK, ALICE, "template:read", "*").allowed
    assert not empty.rule("", "", "").allowed


@pytest.mark.parametrize(
    "subject", ["", "alice", "role:tenant-admin", "http://127.0.0.1:8440|", "http://x|a|b", "http://x|a\n"]
)
def test_a_malformed_subject_is_refused_before_casbin(subject):
    decision = decide(snapshot(alice=["tenant-admin"]), BOOK, subject, "member:read", "*")

    assert (decision.allowed, decision.rule) == (False, "malformed")


@pytest.mark.parametrize("name", ["", "a/b", "..", "a..b", "a b", "a\x00", "**", "*x", "x" * 256])
def test_a_malformed_name_is_refused_before_casbin(name):
    decision = decide(snapshot(alice=["developer"]), BOOK, ALICE, "template:submit", name)

    assert (decision.allowed, decision.rule) == (False, "malformed")


def test_one_person_does_not_hold_the_role_of_another():
    both = snapshot(alice=["reviewer"], bob=["viewer"])

    assert decide(both, BOOK, ALICE, "template:review", "*").allowed
    assert not decide(both, BOOK, BOB, "template:review", "*").allowed


def test_a_no_names_the_roles_held_the_permission_and_whom_to_ask():
    decision = decide(snapshot(alice=["viewer"]), BOOK, ALICE, "template:submit", "*")

    assert decision.reason == (
        "you hold viewer in tenant acme; template:submit needs developer. An administrator of acme can give it"
    )
    assert decision.would_allow == ("developer",)


def test_a_deny_names_the_role_that_denies():
    decision = decide(snapshot(alice=["developer", "auditor"]), BOOK, ALICE, "tracepoint:request", "*")

    assert "the role auditor denies tracepoint:request whatever else is held" in decision.reason
    assert decision.rule == "role:auditor, acme, tracepoint:request, *, deny"


def test_a_yes_names_its_rule():
    assert decide(snapshot(alice=["developer"]), BOOK, ALICE, "template:read", "x").rule == (
        "role:viewer, acme, template:read, *, allow"
    )


def test_a_right_for_one_name_is_none_for_a_longer_name():
    own = build_snapshot("acme", 1, {ALICE: ("viewer",)}, BOOK)
    own._enforcer.add_policy("role:viewer", "acme", "template:submit", "acme", "allow")

    assert decide(own, BOOK, ALICE, "template:submit", "acme").allowed
    assert not decide(own, BOOK, ALICE, "template:submit", "acme-evil").allowed
    assert not decide(own, BOOK, ALICE, "template:submit", "*").allowed


class Breaking:
    def enforce_ex(self, *_):
        raise RuntimeError("one row of this policy is broken")


class Truthy:
    def enforce_ex(self, *_):
        return 1, []


@pytest.mark.parametrize("enforcer", [Breaking(), Truthy()])
def test_whatever_is_not_a_clean_yes_is_a_no(enforcer):
    broken = Snapshot("acme", 1, {ALICE: ("developer",)}, enforcer)

    assert not decide(broken, BOOK, ALICE, "template:read", "*").allowed


def test_an_unknown_role_in_the_database_gives_nothing():
    assert not decide(snapshot(alice=["root"]), BOOK, ALICE, "template:read", "*").allowed


def test_roles_that_include_each_other_add_up():
    book = load_roles("{kind: Roles, roles: {aaa: {includes: [bbb]}, bbb: {allow: [template:read]}}}")
    own = build_snapshot("acme", 1, {ALICE: ("aaa",)}, book)

    assert decide(own, book, ALICE, "template:read", "*").allowed
