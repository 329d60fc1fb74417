"""Two policies of a tenant -> who gains and who loses what, which of it a second person must see, and what is odd.

Pure. The difference is of meaning, not of text: every role and every subject that holds or is named, every permission,
every name that a rule speaks of, asked of both snapshots with every condition as an open question. Next: `changing`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from control_plane.policy.conditions import Condition, Facts
from control_plane.policy.document import PolicyDocument
from control_plane.policy.index import Snapshot
from control_plane.policy.model import Asker, Permission
from control_plane.policy.rules import ANY, Effect, Rule

MAX_TOLD: Final = 2_000  # lines that are shown of one plan; what needs a second person is judged over all of them
# What the reviewers, the administrators and the masking hang on: a change of it is a reviewed change itself.
GUARDED: Final = frozenset(
    {
        Permission.TEMPLATE_REVIEW,
        Permission.TRACEPOINT_APPROVE,
        Permission.TRACEPOINT_BREAK_GLASS,
        Permission.MEMBER_WRITE,
        Permission.POLICY_WRITE,
        Permission.PROPOSAL_DECIDE,
        Permission.MASKING_WRITE,
        Permission.AUDIT_READ,
        Permission.TENANT_CREATE,
    }
)
GUARDED_ROLES: Final = frozenset({"reviewer", "data-owner", "platform-owner", "tenant-admin", "auditor"})
SEATS: Final = GUARDED_ROLES | {"responder", "platform-admin"}  # roles that one person alone neither gives nor takes
_Key = tuple[str, str, str, Effect, Condition | None]


@dataclass(frozen=True, order=True)
class Way:
    """How something can be had: the condition of an allow, "" for none, and those of the denies that take from it."""

    when: str = ""
    unless: frozenset[str] = frozenset()

    def covers(self, other: Way) -> bool:
        """Whether whoever has this has the other too."""
        return self.when in {"", other.when} and self.unless <= other.unless

    def words(self) -> str:
        unless = " unless " + " or ".join(sorted(self.unless)) if self.unless else ""
        return f"{self.when}{unless}".strip()


ALWAYS: Final = Way()


@dataclass(frozen=True)
class Change:
    """`who` gains or loses `action` on `name`; `when` is the condition that goes with it, "" for always."""

    who: str
    action: str
    name: str
    gains: bool
    when: str = ""
    roles: tuple[str, ...] = field(default=(), compare=False)  # that `who` stands for, or holds
    way: Way = field(default=ALWAYS, compare=False)  # what is gained or lost, whole

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
    """Every difference in what may be had between two policies, the gains first. All of it: `told` is for showing.

    Asked of every role, of every set of roles that somebody holds together (a deny of one takes from another), and of
    every subject that a rule names.
    """
    changed, every = _names(_differing(before, after)), _names((*before.rules, *after.rules))
    found: dict[Change, None] = {}
    for who in _who(before, after):
        for permission in Permission:
            subjects = {*before.base.subjects(who.roles), *([who.subject] if who.subject else ())}
            for name in _at_stake(permission, subjects, changed, every):
                ago = ways_by(before, who.roles, who.subject, permission, name)
                now = ways_by(after, who.roles, who.subject, permission, name)
                found.update(dict.fromkeys(_moved(who.label, permission, name, ago, now, who.roles)))
    found.update(dict.fromkeys(_groups(before, after)))
    return tuple(sorted(found, key=lambda change: not change.gains))


def compare_subject(before: Snapshot, after: Snapshot, subject: str) -> tuple[Change, ...]:
    """What one subject gains and loses when its roles change, the gains first."""
    old, new = before.members.get(subject, ()), after.members.get(subject, ())
    rules = [rule for rule in before.rules if rule.subject == subject or rule.subject.startswith("role:")]
    found: list[Change] = []
    for permission in Permission:
        for name in sorted({ANY, *(rule.name for rule in rules if rule.action == permission.value)}):
            ago = ways_by(before, old, subject, permission, name)
            now = ways_by(after, new, subject, permission, name)
            found += _moved(subject, permission, name, ago, now, new)
    return tuple(sorted(_distinct(found), key=lambda change: not change.gains))


def told(changes: Sequence[Change]) -> tuple[str, ...]:
    """Lines for people: what holds for every name is not said again of each, and a very long list ends in its count."""
    lines = [change.words() for change in _distinct(changes)]
    more = len(lines) - MAX_TOLD
    return (*lines[:MAX_TOLD], *([f"and {more} further changes"] if more > 0 else ()))


def ways(
    snapshot: Snapshot, who: str, permission: Permission, name: str, groups: frozenset[str] = frozenset()
) -> frozenset[Way]:
    """The ways in which it can be had; none is never."""
    if who.startswith("role:"):
        return ways_by(snapshot, (who.removeprefix("role:"),), "", permission, name)
    return ways_by(snapshot, snapshot.roles_of(who, groups), who, permission, name)


def ways_by(
    snapshot: Snapshot, roles: tuple[str, ...], subject: str, permission: Permission, name: str
) -> frozenset[Way]:
    """The same for whoever holds these roles together; `subject` "" has no rules of its own."""
    if not roles:
        return frozenset()
    subjects = (*snapshot.base.subjects(roles), *([subject] if subject else ()))
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
    return frozenset(Way(words, frozenset(denies)) for words in allows)


def held_before(snapshot: Snapshot, asker: Asker, change: Change) -> bool:
    """Whether the one who gives it has it, always or under the same conditions. Roles are given by member:write."""
    if change.action.startswith("role "):
        return bool(ways(snapshot, asker.subject, Permission.MEMBER_WRITE, ANY, asker.groups))
    own = ways(snapshot, asker.subject, Permission(change.action), change.name, asker.groups)
    return any(way.covers(change.way) for way in own)


def guarded(changes: Iterable[Change], before: Snapshot, after: Snapshot) -> tuple[str, ...]:
    """Why a second person must agree; empty when nobody must.

    By what moves, and by the rules themselves: a deny that hits nobody today is lifted by two people all the same.
    """
    moved = [
        f"it touches {change.action}"
        for change in changes
        if change.action in GUARDED
        or (change.action.startswith("role ") and change.action[5:] in SEATS)
        or change.who in {f"role:{role}" for role in GUARDED_ROLES}
    ]
    written = [
        f"it touches {rule.action}"
        for rule in _differing(before, after)
        if rule.action in GUARDED or rule.subject.removeprefix("role:") in GUARDED_ROLES
    ]
    return tuple(dict.fromkeys((*moved, *written)))


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


@dataclass(frozen=True)
class _Who:
    """Somebody to ask both policies about: a role, some roles together, or a named subject with its own."""

    label: str
    roles: tuple[str, ...]
    subject: str = ""


def _names(rules: Iterable[Rule]) -> dict[tuple[str, str], set[str]]:
    """(action, subject) -> the names that its rules speak of."""
    found: dict[tuple[str, str], set[str]] = {}
    for rule in rules:
        found.setdefault((rule.action, rule.subject), set()).add(rule.name)
    return found


def _at_stake(
    permission: Permission,
    subjects: Iterable[str],
    changed: Mapping[tuple[str, str], set[str]],
    every: Mapping[tuple[str, str], set[str]],
) -> list[str]:
    """The names on which these subjects' answer can differ; what holds for all names is looked at on each that is named."""
    keys = [(permission.value, subject) for subject in subjects]
    names = set().union(*(changed.get(key, ()) for key in keys))
    if ANY in names:
        names = names.union(*(every.get(key, ()) for key in keys))
    return sorted({ANY, *names}) if names else []


def _who(before: Snapshot, after: Snapshot) -> list[_Who]:
    book = before.base.book
    found = [_Who(f"role:{role.name}", (role.name,)) for role in book.roles.values() if not role.platform]
    together = {roles for held in (before.members, before.groups, after.groups) for roles in held.values()}
    found += [_Who(f"whoever is {' and '.join(roles)}", roles) for roles in sorted(together) if len(roles) > 1]
    named = {rule.subject for rule in (*before.rules, *after.rules) if not rule.subject.startswith("role:")}
    found += [_Who(subject, before.members[subject], subject) for subject in sorted(named) if subject in before.members]
    return found


def _differing(before: Snapshot, after: Snapshot) -> tuple[Rule, ...]:
    """Rules that stand in one of the two only, whatever they are called."""
    old, new = {_key(rule): rule for rule in before.rules}, {_key(rule): rule for rule in after.rules}
    return (*(old[key] for key in old if key not in new), *(new[key] for key in new if key not in old))


def _key(rule: Rule) -> _Key:
    return (rule.subject, rule.action, rule.name, rule.effect, rule.condition)


def _moved(
    who: str, permission: Permission, name: str, ago: frozenset[Way], now: frozenset[Way], roles: tuple[str, ...]
) -> list[Change]:
    """What is had now in no way that was there, and the other way round. A way that was narrowed is a loss of its rest."""
    found = []
    for gains, old, new, word in ((True, ago, now, "before only"), (False, now, ago, "now only")):
        for way in sorted(new, key=Way.words):
            if any(other.covers(way) for other in old):
                continue
            rest = " or ".join(sorted(other.words() for other in old if way.covers(other)))
            words = "; ".join(part for part in (way.words(), f"{word} {rest}" if rest else "") if part)
            found.append(Change(who, permission.value, name, gains, words, roles, way))
    return found


def _distinct(changes: Iterable[Change]) -> list[Change]:
    """Without what the same holder's change on every name says already, or the change of one of several roles."""
    listed = list(changes)
    known = set(listed)
    return [
        change
        for change in listed
        if (change.name == ANY or replace(change, name=ANY) not in known)
        and not any(
            len(change.roles) > 1 and change.who.startswith("whoever ") and replace(change, who=f"role:{role}") in known
            for role in change.roles
        )
    ]


def _words(condition: Condition | None) -> str:
    return condition.words() if condition else ""


def _groups(before: Snapshot, after: Snapshot) -> Iterator[Change]:
    for key in sorted({*before.groups, *after.groups}):
        old, new = set(before.groups.get(key, ())), set(after.groups.get(key, ()))
        for role in sorted(new ^ old):
            yield Change(f"group {key[1]} of {key[0]}", f"role {role}", ANY, role in new)
