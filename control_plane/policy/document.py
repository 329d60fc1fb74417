"""A tenant's own policy as text: YAML -> PolicyDocument, read strictly, or BadPolicy with the place and the nearest word.

    rules    who (role or subject), which permission, which name, allow or deny, and when
    groups   which roles a group of an issuer stands for in this tenant
    tests    what must come out, checked before every apply

What leaves is held against the one in force by `changing`, and becomes rows of a snapshot in `service`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import time, timedelta
from typing import Any, Final

import yaml

from control_plane.foundation.errors import Invalid
from control_plane.policy.conditions import Condition, Fact, Hours
from control_plane.policy.decide import NAME_PATTERN, SUBJECT_PATTERN
from control_plane.policy.model import Permission
from control_plane.policy.nearest import near
from control_plane.policy.roles import RoleBook
from control_plane.policy.rules import ANY, SUPPLIED, Effect, Rule
from language import durations
from language.errors import TemplateError
from language.risk import RiskClass

MAX_SOURCE: Final = 512 * 1024  # characters; a thousand rules are about 150,000
MAX_RULES: Final = 5_000  # of one tenant: more are generated, and nobody reads them
MAX_WORDS: Final = 32  # of one list in a condition
_ID: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
_WORD: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./:@+-]{0,127}")
_HOURS: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_TOP: Final = ("apiVersion", "kind", "rules", "groups", "tests")
_RULE: Final = ("id", "subject", "action", "name", "effect", "when")
_GROUP: Final = ("issuer", "group", "roles")
_TEST: Final = ("roles", "subject", "ask", "name", "answer")


@dataclass(frozen=True)
class GroupRoles:
    issuer: str
    group: str
    roles: tuple[str, ...]


@dataclass(frozen=True)
class PolicyTest:
    roles: tuple[str, ...]
    subject: str
    ask: Permission
    name: str
    allowed: bool


@dataclass(frozen=True)
class PolicyDocument:
    rules: tuple[Rule, ...] = ()
    groups: tuple[GroupRoles, ...] = ()
    tests: tuple[PolicyTest, ...] = ()

    def group_roles(self) -> dict[tuple[str, str], tuple[str, ...]]:
        return {(group.issuer, group.group): group.roles for group in self.groups}


class BadPolicy(Invalid):
    code = "bad_policy"


def load_policy(source: str, book: RoleBook) -> PolicyDocument:
    """Raises BadPolicy."""
    if len(source) > MAX_SOURCE:
        raise BadPolicy(f"a policy has at most {MAX_SOURCE} characters, {len(source)} came")
    try:
        document = yaml.safe_load(source)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadPolicy(f"the policy is not YAML: {str(error)[:300]}") from error
    top = _mapping(document, "the policy", _TOP)
    if top.get("kind") != "Policy" or top.get("apiVersion") != "probegate/v1":
        raise BadPolicy("expected `apiVersion: probegate/v1` and `kind: Policy`")
    rules = tuple(_rule(entry, f"rules[{n}]", book) for n, entry in enumerate(_list(top, "rules", MAX_RULES)))
    seen: set[str] = set()
    for rule in rules:
        if rule.id in seen:
            raise BadPolicy(f"two rules are called {rule.id}: an id names one")
        seen.add(rule.id)
    groups = tuple(_group(entry, f"groups[{n}]", book) for n, entry in enumerate(_list(top, "groups", 1000)))
    tests = tuple(_test(entry, f"tests[{n}]", book) for n, entry in enumerate(_list(top, "tests", 1000)))
    return PolicyDocument(rules, groups, tests)


def _rule(entry: Any, where: str, book: RoleBook) -> Rule:
    body = _mapping(entry, where, _RULE)
    identity = _text(body, "id", where)
    if not _ID.fullmatch(identity):
        raise BadPolicy(f"{where}: id {identity!r}: expected lower-case letters, digits and dashes")
    where = f"rule {identity}"
    action = _permission(_text(body, "action", where), where)
    name = str(body.get("name", ANY))
    if not NAME_PATTERN.fullmatch(name) or ".." in name:
        raise BadPolicy(f"{where}: name {name!r}: expected one resource's name, or *; there are no patterns")
    try:
        effect = Effect(body.get("effect", ""))
    except ValueError as error:
        raise BadPolicy(f"{where}: effect {body.get('effect')!r}: expected allow or deny") from error
    condition = _condition(body.get("when"), where) if "when" in body else None
    if condition is not None:
        unasked = set(condition.facts()) - {Fact.HOURS} - SUPPLIED.get(action, frozenset())
        if condition.field_class and effect is Effect.ALLOW:
            raise BadPolicy(f"{where}: {Fact.FIELD_CLASS} says what is denied; an allow names the table")
        if unasked:
            known = ", ".join(sorted({Fact.HOURS, *SUPPLIED.get(action, frozenset())}))
            raise BadPolicy(f"{where}: {action} never says {', '.join(sorted(unasked))}; it can depend on {known}")
    return Rule(_subject(body, where, book), action.value, name, effect, condition, identity)


def _subject(body: Mapping[str, Any], where: str, book: RoleBook) -> str:
    subject = _text(body, "subject", where)
    kind, _, role = subject.partition(":")
    if kind == "role":
        _role(role, where, book)
        return subject
    if not SUBJECT_PATTERN.fullmatch(subject):
        raise BadPolicy(f'{where}: subject {subject!r}: expected role:<name> or "<issuer>|<sub>"')
    return subject


def _condition(entry: Any, where: str) -> Condition:
    body = _mapping(entry, f"{where}, when", tuple(Fact))
    if not body:
        raise BadPolicy(f"{where}: when is empty; leave it out, or name a condition: {', '.join(Fact)}")
    return Condition(
        hours=_hours(str(body[Fact.HOURS]), where) if Fact.HOURS in body else None,
        environment=_words(body, Fact.ENVIRONMENT, where),
        ttl_at_most=_duration(body[Fact.TTL], where) if Fact.TTL in body else None,
        labels=_labels(body.get(Fact.LABELS), where) if Fact.LABELS in body else (),
        risk_at_most=_risk(body[Fact.RISK], where) if Fact.RISK in body else None,
        service=_words(body, Fact.SERVICE, where),
        template=_words(body, Fact.TEMPLATE, where),
        field_class=_words(body, Fact.FIELD_CLASS, where),
    )


def _hours(text: str, where: str) -> Hours:
    found = _HOURS.fullmatch(text)
    if found is None:
        raise BadPolicy(f'{where}: hours {text!r}: expected "HH:MM-HH:MM" in UTC, in quotes')
    start, end = time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4]))
    if start == end:
        raise BadPolicy(f"{where}: hours {text}: begins when it ends; leave it out to mean always")
    return Hours(start, end)


def _duration(value: Any, where: str) -> timedelta:
    try:
        return durations.parse(str(value))
    except (TemplateError, ValueError) as error:
        raise BadPolicy(f"{where}: {Fact.TTL}: {error}") from error


def _risk(value: Any, where: str) -> RiskClass:
    try:
        return RiskClass(value)
    except ValueError as error:
        raise BadPolicy(
            f"{where}: {Fact.RISK} {value!r}: expected one of {', '.join(RiskClass)}{near(value, RiskClass)}"
        ) from error


def _labels(entry: Any, where: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(entry, dict) or not entry or len(entry) > MAX_WORDS:
        raise BadPolicy(f"{where}: labels: expected a mapping of 1 to {MAX_WORDS} labels")
    pairs = tuple(sorted((str(key), str(value)) for key, value in entry.items()))
    if not all(_WORD.fullmatch(word) for pair in pairs for word in pair):
        raise BadPolicy(f"{where}: labels: expected plain words, got {entry!r}"[:300])
    return pairs


def _words(body: Mapping[str, Any], fact: Fact, where: str) -> tuple[str, ...]:
    if fact not in body:
        return ()
    value = body[fact]
    words = [value] if isinstance(value, str) else value
    if (
        not isinstance(words, list)
        or not 0 < len(words) <= MAX_WORDS
        or not all(isinstance(word, str) and _WORD.fullmatch(word) for word in words)
    ):
        raise BadPolicy(f"{where}: {fact}: expected a word, or a list of 1 to {MAX_WORDS}")
    return tuple(sorted(set(words)))


def _group(entry: Any, where: str, book: RoleBook) -> GroupRoles:
    body = _mapping(entry, where, _GROUP)
    issuer, group = _text(body, "issuer", where), _text(body, "group", where)
    if not issuer.startswith(("https://", "http://")) or len(issuer) > 400 or len(group) > 255:
        raise BadPolicy(f"{where}: expected the issuer's address and a group's name")
    return GroupRoles(issuer, group, _roles(body, where, book))


def _test(entry: Any, where: str, book: RoleBook) -> PolicyTest:
    body = _mapping(entry, where, _TEST)
    answer = body.get("answer")
    if answer not in {"allow", "deny"}:
        raise BadPolicy(f"{where}: answer {answer!r}: expected allow or deny")
    roles = _roles(body, where, book) if body.get("roles") else ()
    ask = _permission(_text(body, "ask", where), where)
    subject = str(body.get("subject", "https://test.invalid|somebody"))
    return PolicyTest(roles, subject, ask, str(body.get("name", ANY)), answer == "allow")


def _roles(body: Mapping[str, Any], where: str, book: RoleBook) -> tuple[str, ...]:
    roles = body.get("roles")
    if not isinstance(roles, list) or not 0 < len(roles) <= MAX_WORDS:
        raise BadPolicy(f"{where}: roles: expected a list of roles")
    for role in roles:
        _role(role, where, book)
    return tuple(sorted(set(roles)))


def _role(role: Any, where: str, book: RoleBook) -> None:
    if role not in book.roles or book.roles[role].platform:
        tenants = [name for name, known in book.roles.items() if not known.platform]
        raise BadPolicy(
            f"{where}: there is no role {role!r} in a tenant; roles are {', '.join(tenants)}{near(role, tenants)}"
        )


def _permission(word: str, where: str) -> Permission:
    try:
        return Permission(word)
    except ValueError as error:
        raise BadPolicy(f"{where}: there is no permission {word!r}{near(word, Permission)}") from error


def _mapping(entry: Any, where: str, keys: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise BadPolicy(f"{where}: expected a mapping with some of {', '.join(keys)}")
    for key in entry:
        if key not in keys:
            raise BadPolicy(f"{where}: unknown key {key!r}; expected {', '.join(keys)}{near(key, keys)}")
    return entry


def _list(body: Mapping[str, Any], key: str, most: int) -> list[Any]:
    entries = body.get(key) or []
    if not isinstance(entries, list) or len(entries) > most:
        raise BadPolicy(f"{key}: expected a list of at most {most}")
    return entries


def _text(body: Mapping[str, Any], key: str, where: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise BadPolicy(f"{where}: {key} is missing, or is no text")
    return value
