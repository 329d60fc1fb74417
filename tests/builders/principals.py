"""Principals and grants for tests of the steps after policy. Only tests make them here; the product has one mint each."""

from __future__ import annotations

from datetime import UTC, datetime

from control_plane.foundation.identifiers import TenantId
from control_plane.identity.model import Principal, PrincipalKind
from control_plane.policy.model import Grant, Permission, Resource

ISSUER = "http://127.0.0.1:8440"


def principal(subject: str = "alice", kind: PrincipalKind = PrincipalKind.PERSON, issuer: str = ISSUER) -> Principal:
    return Principal(
        issuer=issuer,
        subject=subject,
        kind=kind,
        display_name=subject,
        authenticated_at=datetime(2026, 11, 24, tzinfo=UTC),
        scopes=frozenset(),
    )


def grant(
    permission: Permission,
    *,
    tenant: str = "acme",
    name: str = "*",
    by: str | Principal = "alice",
) -> Grant:
    """What `by` would hold after policy said yes: a person's name is enough."""
    asker = by if isinstance(by, Principal) else principal(by)
    return Grant(asker, permission, Resource(TenantId(tenant), permission.partition(":")[0], name), "test")
