"""Two policies of a tenant -> who gains and who loses what, which of it a second person must see, and what is odd.

Pure. The difference is of meaning, not of text: every role and every subject that holds or is named, every permission,
every name that a rule speaks of, asked of both snapshots with every condition as an open question. Next: `changing`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from control_plane.policy.conditions import Condition, Facts
from control_plane.policy.document import PolicyDocument
from control_plane.policy.index import Snapshot
from control_plane.policy.model import Permission
from control_plane.policy.rules import ANY, Effect, Rule

MAX_CHANGES: Final = 2_000  # told of one plan; one beyond it is not a plan that somebody reads
# What the reviewers, the administrators and the masking hang on: a change of it is a reviewed change itself.
GUARDED: Final = frozenset(
    {
        Permission.TEMPLATE_REVIEW,
        Permission.TRACEPOINT_APPROVE,
        Permission.MEMBER_WRITE,
        Permission.POLICY_WRITE,
        Permission.MASKING_WRITE,
        Permission.AUDIT_READ,
    }
)
GUARDED_ROLES: Final = frozenset({"reviewer", "data-owner", "platform-owner", "tenant-admin", "auditor"})


@dataclass(frozen=True)
class Change:
    """`who` gains or loses `action` on `name`; `when` is the condition that goes with it, "" for always."""

    who: str
    action: str
    name: str
    gains: bool
    when: str = ""

    def words(self) -> str:
        on = "" if self.name == ANY else f" on {self.name}"
        return (
            f"{self.who} {'gains' if self.gains else 'loses'} {self.action}{on}{f' ({self.when})' if self.when else ''}"
        )


@dataclass(frozen=True)
class Finding:
    """`serious` ones stop an apply."""

    serious: bool
    rule: str
    text: str


def compare(before: Snapshot, after: Snapshot) -> tuple[Change, ...]:
    """Every difference in what may be had, the gains first."""
    found: dict[tuple[str, str, str, bool, str], Change] = {}
    names = {ANY, *(rule.name for rule in (*before.rules, *after.rules))}
    for who in _who(before, after):
        for permission in Permission:
            for name in sorted(names):
                old, new = ways(before, who, permission, name), ways(after, who, permission, name)
                if old == new or (name != ANY and _told(found, who, permission)):
                    continue
                for when in sorted(new - old):
                    change = Change(who, permission.value, name, True, when)
                    found[who, permission.value, name, True, when] = change
                for when in sorted(old - new):
                    change = Change(who, permission.value, name, False, when)
                    found[who, permission.value, name, False, when] = change
    for change in _groups(before, after):
        found[change.who, change.action, change.name, change.gains, ""] = change
    return tuple(sorted(found.values(), key=lambda change: not change.gains))[:MAX_CHANGES]


def ways(snapshot: Snapshot, who: str, permission: Permission, name: str) -> frozenset[str]:
    """The conditions under which it can be had: "" is always, none is never."""
    role = who.removeprefix("role:")
    roles = (role,) if who.startswith("role:") else snapshot.members.get(who, ())
    if not roles:
        return frozenset()
    subjects = (*snapshot.base.subjects(roles), who)
    allows: set[str] = set()
    denies: set[str] = set()
    for rule in snapshot.matching(subjects, permission.value, name):
        words = _words(rule.condition)
        if rule.effect is Effect.DENY:
            if not words:
                return frozenset()
            denies.add(words)
        else:
            allows.add(words)
    if "" in allows:
        allows = {""}
    unless = " unless " + " or ".join(sorted(denies)) if denies else ""
    return frozenset(f"{words}{unless}".strip() for words in allows)


def guarded(changes: Iterable[Change]) -> tuple[str, ...]:
    """Why a second person must agree; empty when nobody must."""
    return tuple(
        dict.fromkeys(
            f"it touches {change.action}"
            for change in changes
            if change.action in GUARDED
            or (change.action.startswith("role ") and change.action[5:] in GUARDED_ROLES)
            or change.who in {f"role:{role}" for role in GUARDED_ROLES}
        )
    )


def lint(document: PolicyDocument, snapshot: Snapshot) -> tuple[Finding, ...]:
    """What is wrong with a policy although it can be read."""
    findings: list[Finding] = []
    held = {role for roles in snapshot.members.values() for role in roles}
    held |= {role for group in document.groups for role in group.roles}
    reached = snapshot.base.book.closure(tuple(held))
    for number, rule in enumerate(document.rules):
        findings += _shadowed(rule, document.rules[:number], document.rules, snapshot)
        role = rule.subject.removeprefix("role:")
        if rule.subject.startswith("role:") and role not in reached:
            findings.append(Finding(False, rule.id, f"unreachable: nobody holds the role {role}"))
        if not rule.subject.startswith("role:") and rule.subject not in snapshot.members:
            findings.append(Finding(False, rule.id, f"unreachable: {rule.subject} is not a member"))
        if (
            rule.effect is Effect.ALLOW
            and role == "auditor"
            and rule.action.endswith((":write", ":submit", ":request"))
        ):
            findings.append(Finding(True, rule.id, "an auditor watches what others do and does nothing themselves"))
    for subject, roles in snapshot.members.items():
        for name in roles:
            clash = (
                set(snapshot.base.book.roles[name].excludes) & set(roles) if name in snapshot.base.book.roles else ()
            )
            findings += [Finding(True, "", f"{subject} is both {name} and {other}") for other in clash]
    for group in document.groups:
        for name in group.roles:
            for other in set(snapshot.base.book.roles[name].excludes) & set(group.roles):
                findings.append(Finding(True, "", f"group {group.group} would be both {name} and {other}"))
    return tuple(findings)


def failed_tests(document: PolicyDocument, snapshot: Snapshot, at: datetime) -> tuple[str, ...]:
    """The document's own tests that do not come out as they say."""
    failed = []
    for test in document.tests:
        trial = replace(snapshot, members={**snapshot.members, **({test.subject: test.roles} if test.roles else {})})
        ruling = trial.rule(test.subject, test.ask.value, test.name, Facts(at))
        if ruling.allowed is not test.allowed:
            rule = ruling.rule.row(snapshot.tenant) if ruling.rule else "no rule"
            said = "allow" if ruling.allowed else "deny"
            failed.append(f"{test.ask} on {test.name} by {' and '.join(test.roles) or test.subject}: {said} by {rule}")
    return tuple(failed)


def _shadowed(rule: Rule, earlier: Iterable[Rule], every: Iterable[Rule], snapshot: Snapshot) -> Iterator[Finding]:
    key = (rule.subject, rule.action)
    for other in earlier:
        if (other.subject, other.action, other.name, other.effect, other.condition) == (
            *key, rule.name, rule.effect, rule.condition,
        ):  # fmt: skip
            yield Finding(False, rule.id, f"duplicate of {other.id}")
    if rule.effect is Effect.ALLOW:
        for other in every:
            covers = (other.subject, other.action) == key and other.name in {ANY, rule.name}
            if covers and other.effect is Effect.DENY and other.condition is None:
                yield Finding(False, rule.id, f"shadowed: {other.id} denies it always")
        if rule.subject.startswith("role:"):
            subjects = snapshot.base.subjects((rule.subject.removeprefix("role:"),))
            base = list(snapshot.base.index.matching(subjects, rule.action, ANY))
            if any(row.effect is Effect.DENY for row in base):
                yield Finding(False, rule.id, "shadowed: roles.yaml denies it to that role always")
            elif any(row.effect is Effect.ALLOW for row in base):
                yield Finding(False, rule.id, "changes nothing: roles.yaml allows it to that role already")


def _who(before: Snapshot, after: Snapshot) -> tuple[str, ...]:
    roles = tuple(f"role:{role.name}" for role in before.base.book.roles.values() if not role.platform)
    named = {rule.subject for rule in (*before.rules, *after.rules) if not rule.subject.startswith("role:")}
    return (*roles, *sorted(named))


def _words(condition: Condition | None) -> str:
    return condition.words() if condition else ""


def _told(found: dict[tuple[str, str, str, bool, str], Change], who: str, permission: Permission) -> bool:
    return any(key[0] == who and key[1] == permission.value and key[2] == ANY for key in found)


def _groups(before: Snapshot, after: Snapshot) -> Iterator[Change]:
    for key in sorted({*before.groups, *after.groups}):
        old, new = set(before.groups.get(key, ())), set(after.groups.get(key, ()))
        for role in sorted(new ^ old):
            yield Change(f"group {key[1]} of {key[0]}", f"role {role}", ANY, role in new)
