"""What can be asked for, on what, and the proof of a yes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from control_plane.foundation.identifiers import SubjectId, TenantId
from control_plane.identity.model import Principal

if TYPE_CHECKING:
    from control_plane.policy.rules import Rule


class Permission(StrEnum):
    """`<object>:<verb>`, the words of policies/roles.yaml. Every route names exactly one."""

    TEMPLATE_READ = "template:read"
    TEMPLATE_SUBMIT = "template:submit"
    TEMPLATE_REVIEW = "template:review"
    TEMPLATE_RETIRE = "template:retire"
    TRACEPOINT_READ = "tracepoint:read"
    TRACEPOINT_REQUEST = "tracepoint:request"
    TRACEPOINT_RENEW = "tracepoint:renew"
    TRACEPOINT_DELETE = "tracepoint:delete"
    TRACEPOINT_STOP_ANY = "tracepoint:stop-any"  # asked beside tracepoint:delete, for what somebody else asked for
    TRACEPOINT_APPROVE = "tracepoint:approve"
    TRACEPOINT_BREAK_GLASS = "tracepoint:break-glass"
    LOCK_READ = "lock:read"
    LOCK_WRITE = "lock:write"
    RECORDS_READ = "records:read"
    FUNCTIONS_READ = "functions:read"
    MASKING_READ = "masking:read"
    MASKING_WRITE = "masking:write"
    POLICY_READ = "policy:read"
    POLICY_WRITE = "policy:write"
    PROPOSAL_DECIDE = "proposal:decide"
    MEMBER_READ = "member:read"
    MEMBER_WRITE = "member:write"
    AGENT_READ = "agent:read"
    AGENT_JOIN = "agent:join"
    AUDIT_READ = "audit:read"
    TENANT_READ = "tenant:read"
    TENANT_CREATE = "tenant:create"
    ACCOUNT_READ = "account:read"
    ACCOUNT_WRITE = "account:write"
    TOKEN_WRITE = "token:write"  # noqa: S105 - the name of a permission
    TENANT_WRITE = "tenant:write"


@dataclass(frozen=True)
class Resource:
    """What a permission is asked on: `kind` is the permission's object, `name` one of them or "*" for all of a list."""

    tenant: TenantId
    kind: str
    name: str


@dataclass(frozen=True)
class Asker:
    """Somebody as the rules see them: a subject, and the groups that their issuer says they are in."""

    subject: SubjectId
    groups: frozenset[str] = frozenset()

    @classmethod
    def of(cls, principal: Principal) -> Asker:
        return cls(principal.id, principal.groups)


@dataclass(frozen=True)
class Terms:
    """Rules that match but speak of facts that nobody knows yet, with the one that allows if they leave it at that."""

    rules: Sequence[Rule]


@dataclass(frozen=True)
class Grant:
    """Policy said yes to this principal, this permission, this resource, now.

    Proves just that, for one call; it is not kept. Minted by `control_plane.policy.service` only. What it does not
    prove: `terms`, the rules that wait for facts which the step learns from the body; `terms.confirm` settles them.
    """

    principal: Principal
    permission: Permission
    resource: Resource
    rule: str  # which rule allowed it, for the log and `policy explain`
    terms: Terms | None = None
