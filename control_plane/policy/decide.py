"""One function in front of the rules: snapshot, asker, permission, name, facts -> Decision.

Malformed input never reaches the rules: what is not understood is a no, with a reason. Every no says which rule or
which lack decided it, what is missing, and the smallest change that would make it a yes, in words about this tenant only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from control_plane.policy.conditions import Facts
from control_plane.policy.index import Snapshot
from control_plane.policy.model import Permission
from control_plane.policy.roles import RoleBook
from control_plane.policy.rules import Effect, Rule, Ruling

PLATFORM: Final = "platform"  # the tenant of the platform's own log and administrators; no agent, no template is in it
TENANT_PATTERN: Final = re.compile(
    r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
)  # a DNS label: it stands in paths and SPIFFE ids
SUBJECT_PATTERN: Final = re.compile(
    r"https?://[^\s|]{1,400}\|[^\x00-\x1f\x7f|]{1,255}"
)  # "<issuer>|<sub>", OIDC bounds sub at 255
NAME_PATTERN: Final = re.compile(r"\*|[A-Za-z0-9_][A-Za-z0-9_.@:+-]{0,254}")  # a path segment with nothing to normalise
_PERMISSIONS: Final = frozenset(permission.value for permission in Permission)


@dataclass(frozen=True)
class Decision:
    """`rule` decided it; `roles` are held, `would_allow` are those that hold the permission (nearest first).

    `missing` are the conditions that failed, `change` is the smallest change that would allow it; both empty on a yes.
    `terms` wait for facts that the step will know.
    """

    allowed: bool
    rule: str
    reason: str
    roles: tuple[str, ...] = ()
    would_allow: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    change: str = ""
    terms: tuple[Rule, ...] = ()


def decide(
    snapshot: Snapshot, subject: str, permission: str, name: str, facts: Facts, groups: frozenset[str] = frozenset()
) -> Decision:
    """The only door to the rules. Total: every input gets an answer."""
    malformed = _malformed(snapshot.tenant, subject, permission, name)
    if malformed:
        return Decision(False, "malformed", malformed, change="ask in the form that is expected")
    roles = snapshot.roles_of(subject, groups)
    if not roles:
        would_allow = _would_allow(snapshot, Permission(permission), roles)
        change = f"an administrator of {snapshot.tenant} gives you {' or '.join(would_allow) or 'a role'}"
        return Decision(
            False, "default", f"you hold no role in tenant {snapshot.tenant}", (), would_allow, change=change
        )
    ruling = snapshot.ask(subject, roles, permission, name, facts)
    if ruling.allowed and ruling.rule is not None:
        return Decision(True, ruling.rule.row(snapshot.tenant), "", roles, terms=ruling.terms)
    asked = Permission(permission)
    return refusal(snapshot.tenant, snapshot.base.book, roles, asked, _would_allow(snapshot, asked, roles), ruling)


def refusal(
    tenant: str, book: RoleBook, roles: tuple[str, ...], asked: Permission, would_allow: tuple[str, ...], ruling: Ruling
) -> Decision:
    """Why it is a no, and what would have to change."""
    held = f"you hold {' and '.join(roles) or 'no role'} in tenant {tenant}"
    rule = ruling.rule.row(tenant) if ruling.rule else "default"
    if ruling.rule is not None and ruling.rule.effect is Effect.DENY:
        reason, change = _denied(tenant, book, roles, asked, ruling.rule)
        return Decision(False, rule, f"{held}; {reason}. {_sentence(change)}", roles, would_allow, change=change)
    if ruling.failing:
        nearest, failing = min(ruling.failing, key=lambda pair: len(pair[1]))
        needs = tuple(nearest.condition.needs(fact) for fact in failing if nearest.condition)
        missing = tuple(str(fact) for fact in failing)
        change = " and ".join(needs)
        reason = f"{held}; the rule {nearest.id or nearest.row(tenant)} allows {asked} but for {', '.join(missing)}"
        return Decision(
            False, nearest.row(tenant), f"{reason}. {_sentence(change)}", roles, would_allow, missing, change
        )
    if not would_allow:
        return Decision(
            False, rule, f"{held}; {asked} cannot be had in tenant {tenant}", roles, change="none in this tenant"
        )
    wanted = " or ".join(would_allow)
    return Decision(
        False,
        rule,
        f"{held}; {asked} needs {wanted}. An administrator of {tenant} can give it",
        roles,
        would_allow,
        (f"role {wanted}",),
        f"an administrator of {tenant} gives you {would_allow[0]}",
    )


def _denied(tenant: str, book: RoleBook, roles: tuple[str, ...], asked: Permission, rule: Rule) -> tuple[str, str]:
    name = rule.subject.removeprefix("role:")
    if rule.id:  # of the tenant's own policy
        when = f" while {rule.condition.words()}" if rule.condition else ""
        return f"the rule {rule.id} denies {asked} to {name}{when}", _lifted(tenant, rule)
    denying = book.denying(roles, asked)
    taken = denying[0] if denying else name
    return (
        f"the role {taken} denies {asked} whatever else is held",
        f"an administrator of {tenant} would have to take that role away",
    )


def _lifted(tenant: str, rule: Rule) -> str:
    return f"an administrator of {tenant} would have to change that rule (`probegate policy show`, `policy plan`): {rule.id}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _would_allow(snapshot: Snapshot, asked: Permission, roles: tuple[str, ...]) -> tuple[str, ...]:
    book = snapshot.base.book
    here = snapshot.tenant == PLATFORM  # a platform role is no use in a tenant, nor the other way round
    return tuple(role for role in book.allowing(asked) if role not in roles and book.roles[role].platform == here)


def _malformed(tenant: str, subject: str, permission: str, name: str) -> str:
    if not TENANT_PATTERN.fullmatch(tenant):
        return "the tenant's name is malformed: expected lower-case letters, digits and dashes"
    if not SUBJECT_PATTERN.fullmatch(subject):
        return 'the subject is malformed: expected "<issuer>|<sub>"'
    if permission not in _PERMISSIONS:
        return "there is no such permission"
    if not NAME_PATTERN.fullmatch(name) or ".." in name:
        return "the resource's name is malformed: expected letters, digits and . _ @ : + -"
    return ""
