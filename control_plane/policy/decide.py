"""One function in front of casbin: snapshot, subject, permission, name -> Decision.

Malformed input never reaches the rules. casbin takes any string for any token, and some of its answers to empty or
odd ones are yes (an empty policy with an empty request, a subject spelt like a role); here they are no, with a reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from control_plane.policy.casbin_decider import Snapshot
from control_plane.policy.model import Permission
from control_plane.policy.roles import RoleBook

PLATFORM: Final = "platform"  # the tenant of the platform's own log and administrators; no agent, no template is in it
TENANT_PATTERN: Final = re.compile(
    r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
)  # a DNS label: it stands in paths and SPIFFE ids
SUBJECT_PATTERN: Final = re.compile(
    r"https?://[^\s|]{1,400}\|[^\x00-\x1f\x7f|]{1,255}"
)  # "<issuer>|<sub>", OIDC bounds sub at 255
NAME_PATTERN: Final = re.compile(r"\*|[A-Za-z0-9_][A-Za-z0-9_.@:+-]{0,254}")  # a path segment with nothing to normalise


@dataclass(frozen=True)
class Decision:
    """`rule` decided it; `roles` are held, `would_allow` are those that hold the permission (nearest first)."""

    allowed: bool
    rule: str
    reason: str
    roles: tuple[str, ...] = ()
    would_allow: tuple[str, ...] = ()


def decide(snapshot: Snapshot, book: RoleBook, subject: str, permission: str, name: str) -> Decision:
    """The only door to the rules. Total: every input gets an answer, and what is not understood gets a no."""
    malformed = _malformed(snapshot.tenant, subject, permission, name)
    if malformed:
        return Decision(False, "malformed", malformed)
    asked = Permission(permission)
    roles = snapshot.roles_of(subject)
    here = snapshot.tenant == PLATFORM  # a platform role is no use in a tenant, nor the other way round
    would_allow = tuple(
        role for role in book.allowing(asked) if role not in roles and book.roles[role].platform == here
    )
    if not roles:
        return Decision(False, "default", f"you hold no role in tenant {snapshot.tenant}", (), would_allow)
    ruling = snapshot.rule(subject, asked.value, name)
    if ruling.allowed:
        return Decision(True, ruling.rule, "", roles)
    return Decision(
        False, ruling.rule or "default", _why(snapshot.tenant, book, roles, asked, would_allow), roles, would_allow
    )


def _malformed(tenant: str, subject: str, permission: str, name: str) -> str:
    if not TENANT_PATTERN.fullmatch(tenant):
        return "the tenant's name is malformed: expected lower-case letters, digits and dashes"
    if not SUBJECT_PATTERN.fullmatch(subject):
        return 'the subject is malformed: expected "<issuer>|<sub>"'
    if permission not in set(Permission):
        return "there is no such permission"
    if not NAME_PATTERN.fullmatch(name) or ".." in name:
        return "the resource's name is malformed: expected letters, digits and . _ @ : + -"
    return ""


def _why(tenant: str, book: RoleBook, roles: tuple[str, ...], asked: Permission, would_allow: tuple[str, ...]) -> str:
    held = f"you hold {' and '.join(roles)} in tenant {tenant}"
    denying = book.denying(roles, asked)
    if denying:
        return f"{held}; the role {denying[0]} denies {asked} whatever else is held. An administrator of {tenant} would have to take that role away"
    wanted = " or ".join(would_allow)
    if not wanted:
        return f"{held}; {asked} cannot be had in tenant {tenant}"
    return f"{held}; {asked} needs {wanted}. An administrator of {tenant} can give it"
