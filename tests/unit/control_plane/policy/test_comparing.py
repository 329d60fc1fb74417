"""Two policies compared by meaning, what of it two people must see, and what lint finds."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from control_plane.policy.comparing import MAX_TOLD, compare, guarded, lint, told
from control_plane.policy.document import BadPolicy, load_policy
from control_plane.policy.index import base_of, build_snapshot
from control_plane.policy.model import Asker, Permission
from control_plane.policy.planning import planned, with_policy
from control_plane.policy.roles import BadRoles, load_roles, read_roles
from tests.builders.principals import ISSUER

BOOK = read_roles()
BASE = base_of(BOOK)
HEAD = "apiVersion: probegate/v1\nkind: Policy\nrules:\n"
ALICE, BOB = f"{ISSUER}|alice", f"{ISSUER}|bob"
MEMBERS = {ALICE: ("tenant-admin",), BOB: ("developer", "reviewer")}


def line(identity: str, subject: str, action: str, effect: str, name: str = "*", when: str = "") -> str:
    more = f", when: {when}" if when else ""
    return f"- {{id: {identity}, subject: '{subject}', action: '{action}', name: '{name}', effect: {effect}{more}}}\n"


def tenant(*lines: str, members=None):
    document = load_policy(HEAD + "".join(lines) if lines else HEAD.removesuffix("rules:\n"), BOOK)
    return with_policy(build_snapshot("acme", 1, members or MEMBERS, BASE), document)


def needs(before, after) -> tuple[str, ...]:
    return guarded(compare(before, after), before, after)


def test_lifting_a_guarded_deny_needs_two_people_even_where_it_hits_nobody_today():
    separated = tenant(line("sod", "role:developer", "template:review", "deny"), members={ALICE: ("tenant-admin",)})

    assert compare(separated, tenant(members={ALICE: ("tenant-admin",)})) == ()
    assert needs(separated, tenant(members={ALICE: ("tenant-admin",)})) == ("it touches template:review",)


def test_what_roles_together_gain_is_seen_where_each_of_them_gains_nothing():
    separated = tenant(line("sod", "role:developer", "template:review", "deny"))

    assert [change.words() for change in compare(separated, tenant())] == [
        "whoever is developer and reviewer gains template:review"
    ]


def test_a_gain_on_one_name_is_not_hidden_by_a_loss_on_all():
    before = tenant(line("office", "role:viewer", "template:submit", "allow", when="{hours: '09:00-17:00'}"))
    after = tenant(line("sums", "role:viewer", "template:submit", "allow", name="sums"))
    words = [change.words() for change in compare(before, after)]

    assert "role:viewer gains template:submit on sums (before only hours:09:00-17:00)" in words
    assert "role:viewer loses template:submit (hours:09:00-17:00)" in words


def test_a_deny_with_a_condition_takes_and_grants_nothing():
    after = tenant(line("freeze", "role:developer", "tracepoint:request", "deny", when="{environment: prod}"))
    document = load_policy(
        HEAD + line("freeze", "role:developer", "tracepoint:request", "deny", when="{environment: prod}"), BOOK
    )
    lost = [change.words() for change in compare(tenant(), after)]

    assert lost[0] == "role:developer loses tracepoint:request (now only unless environment:prod)"
    assert not any(change.gains for change in compare(tenant(), after))
    assert planned(tenant(), document, "", Asker(ALICE), _noon()).not_held == ()


def test_lifting_a_deny_with_a_condition_grants_nothing_that_the_roles_do_not():
    before = tenant(line("freeze", "role:developer", "tracepoint:request", "deny", when="{environment: prod}"))
    plan = planned(before, load_policy(HEAD.removesuffix("rules:\n"), BOOK), "", Asker(ALICE), _noon())

    assert plan.changes[0].words() == "role:developer gains tracepoint:request (before only unless environment:prod)"
    assert plan.not_held == ()


def test_a_way_that_becomes_wider_is_a_gain_that_has_to_be_held():
    before = tenant(line("office", "role:viewer", "tracepoint:request", "allow", when="{hours: '09:00-17:00'}"))
    wider = load_policy(HEAD + line("always", "role:viewer", "tracepoint:request", "allow"), BOOK)
    plan = planned(before, wider, "", Asker(ALICE), _noon())

    assert "role:viewer gains tracepoint:request (before only hours:09:00-17:00)" in plan.not_held


def test_a_deny_that_goes_gives_each_name_back_that_was_allowed_by_name():
    allow = line("one", "role:viewer", "template:submit", "allow", name="sums")
    deny = line("none", "role:viewer", "template:submit", "deny")

    assert "role:viewer gains template:submit on sums" in [
        change.words() for change in compare(tenant(allow, deny), tenant(allow))
    ]


def test_a_guarded_loss_behind_thousands_of_others_is_judged_although_it_is_not_shown():
    many = [line(f"n{n}", "role:viewer", "tracepoint:request", "allow", name=f"n{n}") for n in range(MAX_TOLD + 1)]
    last = line("z", "role:reviewer", "template:review", "deny")
    before, after = tenant(), tenant(*many, last)
    changes = compare(before, after)

    assert len(changes) > MAX_TOLD
    assert "it touches template:review" in guarded(changes, before, after)
    assert (len(told(changes)), told(changes)[-1].startswith("and ")) == (MAX_TOLD + 1, True)


def test_nothing_that_is_not_held_is_granted_behind_thousands_of_others():
    many = [line(f"n{n}", "role:viewer", "policy:read", "allow", name=f"n{n}") for n in range(MAX_TOLD + 1)]
    document = load_policy(HEAD + "".join([*many, line("z", "role:viewer", "tracepoint:request", "allow")]), BOOK)

    plan = planned(tenant(), document, "", Asker(ALICE), _noon())

    assert "role:viewer gains tracepoint:request" in plan.not_held


def test_what_holds_for_every_name_is_told_once():
    named = line("sums", "role:viewer", "template:submit", "allow", name="sums")

    assert told(compare(tenant(), tenant(named, line("all", "role:viewer", "template:submit", "allow"))))[:1] == (
        "role:viewer gains template:submit",
    )


def test_the_same_rules_under_other_ids_are_no_change():
    one, two = (tenant(line(name, "role:viewer", "template:submit", "allow")) for name in ("one", "two"))

    assert (compare(one, two), needs(one, two)) == ((), ())


@pytest.mark.parametrize("role", ["responder", "reviewer", "auditor", "tenant-admin"])
def test_a_group_that_comes_to_stand_for_a_guarded_role_needs_two_people(role):
    groups = f"groups: [{{issuer: '{ISSUER}', group: ops, roles: [{role}]}}]\n"
    after = with_policy(tenant(), load_policy(HEAD.removesuffix("rules:\n") + groups, BOOK))

    assert needs(tenant(), after) == (f"it touches role {role}",)


def test_a_group_of_the_one_who_asks_that_comes_to_stand_for_more_needs_two_people():
    groups = f"groups: [{{issuer: '{ISSUER}', group: ops, roles: [developer]}}]\n"

    plan = planned(
        tenant(),
        load_policy(HEAD.removesuffix("rules:\n") + groups, BOOK),
        "",
        Asker(ALICE, frozenset({"ops"})),
        _noon(),
    )

    assert plan.needs == ("it gives the role developer to the one who asks for it",)


class TestLint:
    def findings(self, *lines: str, members=None) -> set[tuple[bool, str, str]]:
        document = load_policy(HEAD + "".join(lines), BOOK)
        found = lint(document, with_policy(build_snapshot("acme", 1, members or MEMBERS, BASE), document))
        return {(finding.serious, finding.rule, finding.text) for finding in found}

    def test_a_role_that_nobody_holds_is_unreachable(self):
        found = self.findings(line("a", "role:responder", "template:read", "deny", name="x"))
        assert found == {(False, "a", "unreachable: nobody holds the role responder")}

    def test_a_subject_that_is_no_member_is_unreachable(self):
        found = self.findings(line("a", f"{ISSUER}|ghost", "template:read", "deny", name="x"))
        assert found == {(False, "a", f"unreachable: {ISSUER}|ghost is not a member")}

    def test_an_allow_under_an_unconditional_deny_is_shadowed(self):
        found = self.findings(
            line("a", "role:developer", "audit:read", "allow", name="x"),
            line("d", "role:developer", "audit:read", "deny"),
        )
        assert (False, "a", "shadowed: d denies it always") in found

    def test_an_allow_to_a_role_that_is_denied_by_the_book_is_shadowed(self):
        members = {ALICE: ("auditor",)}
        found = self.findings(line("a", "role:auditor", "tracepoint:delete", "allow"), members=members)
        assert (False, "a", "shadowed: roles.yaml denies it to that role always") in found

    def test_a_rule_that_stands_twice_is_a_duplicate(self):
        one, two = (line(name, "role:developer", "audit:read", "deny") for name in "ab")
        assert self.findings(one, two) == {(False, "b", "duplicate of a")}

    def test_an_allow_of_what_the_book_allows_changes_nothing(self):
        found = self.findings(line("a", "role:developer", "template:submit", "allow"))
        assert found == {(False, "a", "changes nothing: roles.yaml allows it to that role already")}

    def test_an_auditor_who_does_things_is_serious(self):
        found = self.findings(line("a", "role:auditor", "masking:write", "allow"), members={ALICE: ("auditor",)})
        assert (True, "a", "an auditor watches what others do and does nothing themselves") in found

    def test_an_auditor_who_is_an_administrator_is_serious(self):
        found = self.findings(
            line("a", "role:developer", "audit:read", "deny"), members={**MEMBERS, ALICE: ("auditor", "tenant-admin")}
        )
        assert {(True, "", f"{ALICE} is both auditor and tenant-admin")} <= found

    def test_a_group_that_would_be_both_is_serious(self):
        groups = f"groups: [{{issuer: '{ISSUER}', group: ops, roles: [auditor, tenant-admin]}}]\n"
        document = load_policy(HEAD.removesuffix("rules:\n") + groups, BOOK)
        found = lint(document, with_policy(build_snapshot("acme", 1, MEMBERS, BASE), document))
        assert "group ops would be both auditor and tenant-admin" in {finding.text for finding in found}

    @pytest.mark.parametrize(
        ("typo", "near"),
        [
            (line("a", "role:develper", "template:read", "deny"), "developer"),
            (line("a", "role:developer", "template:raed", "deny"), "template:read"),
            (line("a", "role:developer", "tracepoint:request", "deny", when="{enviroment: prod}"), "environment"),
            (line("a", "role:developer", "tracepoint:request", "deny", when="{risk_at_most: maskd}"), "masked"),
            ("- {id: a, subjct: 'role:developer'}\n", "subject"),
        ],
    )
    def test_a_typo_is_refused_with_the_nearest_name(self, typo, near):
        with pytest.raises(BadPolicy, match=f"did you mean {near}"):
            load_policy(HEAD + typo, BOOK)

    def test_roles_that_include_each_other_in_a_circle_are_refused(self):
        with pytest.raises(BadRoles, match="in a circle"):
            load_roles("{kind: Roles, roles: {aaa: {includes: [bbb]}, bbb: {includes: [ccc]}, ccc: {includes: [aaa]}}}")

    def test_every_permission_is_asked_of_every_role(self):
        lines = [line(f"r{n}", "role:viewer", word, "deny") for n, word in enumerate(Permission)]
        lost = {change.action for change in compare(tenant(), tenant(*lines)) if change.who == "role:viewer"}
        assert lost == {rule.action for rule in BASE.rules if rule.subject == "role:viewer"}


def _noon():
    return datetime(2026, 11, 24, 12, tzinfo=UTC)
