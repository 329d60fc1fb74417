"""Somebody asked for a tracepoint earlier; now it is due -> may they still?

Policy decides anew, on what it says now; a token with which they asked still allows no more than it did then.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.identifiers import TenantId
from control_plane.identity.model import Limits, Principal, PrincipalKind
from control_plane.identity.service import unsafe_absent
from control_plane.policy.decide import Decision
from control_plane.policy.model import Grant, Permission, Resource
from control_plane.policy.service import PolicyService
from control_plane.tracepoints.tables import TracepointRow


class Requesters:
    """The Deciding of `ports`."""

    def __init__(self, policy: PolicyService) -> None:
        self._policy = policy

    async def requester(self, row: TracepointRow) -> Grant:
        """Raises Denied, NotFound, AuditUnavailable."""
        asked = row.requester
        principal = unsafe_absent(
            str(asked["issuer"]),
            str(asked["subject"]),
            PrincipalKind(asked["kind"]),
            row.requested_by_name,
            [str(group) for group in asked["groups"]],
            _limits(asked.get("limits")),
        )
        permission = Permission(asked["permission"])
        return await self._policy.require(principal, permission, Resource(TenantId(row.tenant), "tracepoint", "*"))

    async def may_stop_any(self, session: AsyncSession, grant: Grant, name: str) -> Decision:
        """Raises NotFound."""
        asked = Permission.TRACEPOINT_STOP_ANY
        return await self._policy.decided(session, grant.principal, asked, grant.resource.tenant, name)


def requester_document(grant: Grant) -> dict[str, Any]:
    """What is kept of who asked; `Requesters` reads it back."""
    principal: Principal = grant.principal
    return {
        "issuer": principal.issuer,
        "subject": principal.subject,
        "kind": principal.kind.value,
        "groups": sorted(principal.groups),
        "permission": grant.permission.value,
        **({"limits": _limits_document(principal.limits)} if principal.limits is not None else {}),
    }


def _limits_document(limits: Limits) -> dict[str, Any]:
    return {
        "permissions": sorted(limits.permissions),
        "tenant": limits.tenant,
        "credential": limits.credential,
    }


def _limits(kept: dict[str, Any] | None) -> Limits | None:
    """None: they signed in themselves."""
    if kept is None:
        return None
    return Limits(frozenset(map(str, kept["permissions"])), str(kept["tenant"]), str(kept["credential"]))
