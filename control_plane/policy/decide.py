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
from control_plane.policy.nearest import near
from control_plane.policy.rules import Rule, Ruling
from control_plane.policy.smallest import Fix, Standing, smallest_change
from control_plane.policy.tenant_states import READABLE

PLATFORM: Final = "platform"  # the tenant of the platform's own log and administrators; no agent, no template is in it
TENANT_PATTERN: Final = re.compile(
    r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
)  # a DNS label: it stands in paths and SPIFFE ids
SUBJECT_PATTERN: Final = re.compile(
    r"https?://[^\s|]{1,400}\|[^\x00-\x1f\x7f|]{1,255}"
)  # "<issuer>|<sub>", OIDC bounds sub at 255
NAME_PATTERN: Final = re.compile(r"\*|[A-Za-z0-9_][A-Za-z0-9_.@:+-]{0,254}")  # a path segment with nothing to normalise
_PERMISSIONS: Final = frozenset(permission.value for permission in Permission)

SUSPENDED: Final = "tenant-suspended"  # the rule that says no to members of a suspended tenant


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
    snapshot: Snapshot,
    subject: str,
    permission: str,
    name: str,
    facts: Facts,
    groups: frozenset[str] = frozenset(),
    *,
    explain: bool = True,
) -> Decision:
    """The only door to the rules. Total: every input gets an answer.

    The smallest change takes milliseconds where the answer takes microseconds: without `explain` it is left out.
    """
    malformed = _malformed(snapshot.tenant, subject, permission, name)
    if malformed:
        return Decision(False, "malformed", malformed, change="ask in the form that is expected")
    roles = snapshot.roles_of(subject, groups)
    if snapshot.suspended and permission not in READABLE:
        why = f"tenant {snapshot.tenant} is suspended: {snapshot.suspended}"
        return Decision(False, SUSPENDED, why, roles, change="an administrator of the platform resumes the tenant")
    ruling = snapshot.ask(subject, roles, permission, name, facts)
    if ruling.allowed and ruling.rule is not None:
        return Decision(True, ruling.rule.row(snapshot.tenant), "", roles, terms=ruling.terms)
    asked = Permission(permission)
    fixes = smallest_change(snapshot, subject, permission, name, Standing(roles, facts)) if explain else ()
    return refusal(snapshot, roles, asked, ruling, fixes)


def refusal(
    snapshot: Snapshot, roles: tuple[str, ...], asked: Permission, ruling: Ruling, fixes: tuple[Fix, ...]
) -> Decision:
    """Why it is a no, and what would have to change."""
    tenant = snapshot.tenant
    held = f"you hold {' and '.join(roles) or 'no role'} in tenant {tenant}"
    would_allow = _would_allow(snapshot, asked, roles)
    rule = ruling.rule.row(tenant) if ruling.rule else "default"
    if ruling.rule is not None:
        why = _denied(snapshot, roles, asked, ruling.rule)
    elif ruling.failing:
        nearest, failing = min(ruling.failing, key=lambda pair: len(pair[1]))
        rule = nearest.row(tenant)
        why = f"the rule {nearest.id or rule} allows {asked} but for {', '.join(failing)}"
    elif would_allow:
        why = f"{asked} needs {' or '.join(would_allow)}"
    else:
        why = f"{asked} cannot be had in tenant {tenant}" if not fixes else f"no rule allows {asked}"
    change = " and ".join(fix.words for fix in fixes) or "none in this tenant"
    return Decision(
        False,
        rule,
        f"{held}; {why}. {_sentence(change)}" if fixes else f"{held}; {why}",
        roles,
        would_allow,
        tuple(fix.missing for fix in fixes),
        change,
    )


def _denied(snapshot: Snapshot, roles: tuple[str, ...], asked: Permission, rule: Rule) -> str:
    name = rule.subject.removeprefix("role:")
    if rule.id:  # of the tenant's own policy
        when = f" while {rule.condition.words()}" if rule.condition else ""
        return f"the rule {rule.id} denies {asked} to {name}{when}"
    denying = snapshot.base.book.denying(roles, asked)
    return f"the role {denying[0] if denying else name} denies {asked} whatever else is held"


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
        return f"there is no such permission{near(permission, _PERMISSIONS)}"
    if not NAME_PATTERN.fullmatch(name) or ".." in name:
        return "the resource's name is malformed: expected letters, digits and . _ @ : + -"
    return ""
