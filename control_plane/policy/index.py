"""The rules of one tenant, compiled for asking: (action, subject) -> name -> rows. Immutable, shared by all requests.

A decision looks at the rows of the roles held and of the subject itself, under the one action that is asked for: a few
dictionary look-ups however many rows the tenant has. The meaning stays with policies/model.conf
(`casbin_decider.Reference`); a property test shows that both answer alike. Next: `decide`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Final

from control_plane.policy.conditions import Facts
from control_plane.policy.roles import RoleBook
from control_plane.policy.rules import ANY, Rule, Ruling, base_rules, settle

_Named = Mapping[str, tuple[Rule, ...]]
_ROLE: Final = "role:"


@dataclass(frozen=True)
class Compiled:
    """Rows by action and subject, then by name. Denies come first: the first of them ends the look."""

    rows: Mapping[tuple[str, str], _Named]

    def matching(self, subjects: Iterable[str], action: str, name: str) -> Iterator[Rule]:
        for subject in subjects:
            named = self.rows.get((action, subject))
            if named is not None:
                yield from named.get(ANY, ())
                if name != ANY:
                    yield from named.get(name, ())


def compiled(rules: Iterable[Rule]) -> Compiled:
    collected: dict[tuple[str, str], dict[str, list[Rule]]] = {}
    for rule in rules:
        collected.setdefault((rule.action, rule.subject), {}).setdefault(rule.name, []).append(rule)
    return Compiled(
        {
            key: {name: tuple(sorted(rows, key=lambda row: row.effect, reverse=True)) for name, rows in named.items()}
            for key, named in collected.items()
        }
    )


@dataclass(frozen=True)
class Base:
    """What roles.yaml says, compiled once for all tenants."""

    book: RoleBook
    rules: tuple[Rule, ...]
    index: Compiled
    _held: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)

    def subjects(self, roles: tuple[str, ...]) -> tuple[str, ...]:
        """The rule subjects that stand for these roles and those that they include."""
        known = self._held.get(roles)
        if known is None:
            known = tuple(sorted(_ROLE + role for role in self.book.closure(roles)))
            if len(self._held) < 1024:  # sets of roles that people hold; more would be made up
                self._held[roles] = known
        return known


def base_of(book: RoleBook) -> Base:
    rules = base_rules(book)
    return Base(book, rules, compiled(rules))


@dataclass(frozen=True)
class Snapshot:
    """One tenant's members and rules, as of one version. Never changed: a change makes a new one."""

    tenant: str
    version: int
    members: Mapping[str, tuple[str, ...]]  # subject -> roles held
    base: Base
    rules: tuple[Rule, ...] = ()  # the tenant's own, beside those of the base
    groups: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)  # (issuer, group) -> roles
    suspended: str = ""  # why, while the tenant is

    @cached_property
    def index(self) -> Compiled:
        return compiled(self.rules)

    def roles_of(self, subject: str, groups: frozenset[str] = frozenset()) -> tuple[str, ...]:
        """Those given to the subject here, and those that its issuer's groups stand for."""
        roles = self.members.get(subject, ())
        if not groups or not self.groups:
            return roles
        issuer = subject.rpartition("|")[0]
        mapped = {role for group in groups for role in self.groups.get((issuer, group), ())}
        return tuple(sorted({*roles, *mapped})) if mapped else roles

    def ask(self, subject: str, roles: tuple[str, ...], permission: str, name: str, facts: Facts) -> Ruling:
        """The one question. Everything but a clean yes is a no."""
        if not roles:
            return Ruling(False, None)
        subjects = (*self.base.subjects(roles), subject)
        return settle(self.matching(subjects, permission, name), facts)

    def matching(self, subjects: tuple[str, ...], permission: str, name: str) -> Iterator[Rule]:
        yield from self.base.index.matching(subjects, permission, name)
        if self.rules:
            yield from self.index.matching(subjects, permission, name)

    def rule(self, subject: str, permission: str, name: str, facts: Facts | None = None) -> Ruling:
        """`ask` for a member, by the roles that stand here."""
        return self.ask(subject, self.roles_of(subject), permission, name, facts or Facts(datetime.now(UTC)))


def build_snapshot(
    tenant: str,
    version: int,
    members: Mapping[str, tuple[str, ...]],
    base: Base,
    rules: tuple[Rule, ...] = (),
    groups: Mapping[tuple[str, str], tuple[str, ...]] | None = None,
) -> Snapshot:
    return Snapshot(tenant, version, dict(members), base, rules, dict(groups or {}))
