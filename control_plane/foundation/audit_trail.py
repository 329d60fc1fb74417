"""The port every step writes its audit entries to: same session, so same transaction as the change.

The log behind it is `control_plane.audit`. The actions are a closed set: an entry of another kind cannot be made,
and a test checks that every one of them is written somewhere and documented in docs/operations.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.identifiers import TenantId


class AuditAction(StrEnum):
    """`<object>.<what happened>`; the words are stable, others search by them."""

    IDENTITY_ACCEPT = "identity.accept"
    IDENTITY_REFUSE = "identity.refuse"
    IDENTITY_SIGN_OUT = "identity.sign-out"
    IDENTITY_EXCHANGE = "identity.exchange"
    ACCOUNT_CHANGE = "account.change"
    TRUST_CHANGE = "trust.change"
    TOKEN_CHANGE = "token.change"  # noqa: S105 -- the name of an action
    POLICY_ALLOW = "policy.allow"
    POLICY_DENY = "policy.deny"
    POLICY_APPLY = "policy.apply"
    PROPOSAL_PROPOSE = "proposal.propose"
    PROPOSAL_APPROVE = "proposal.approve"
    PROPOSAL_REJECT = "proposal.reject"
    PROPOSAL_WITHDRAW = "proposal.withdraw"
    PROPOSAL_LAPSE = "proposal.lapse"
    TENANT_CREATE = "tenant.create"
    TENANT_SUSPEND = "tenant.suspend"
    TENANT_RESUME = "tenant.resume"
    TENANT_DELETE = "tenant.delete"
    TENANT_QUOTA = "tenant.quota"
    MEMBER_CHANGE = "member.change"
    TEMPLATE_SUBMIT = "template.submit"
    TEMPLATE_APPROVE = "template.approve"
    TEMPLATE_REJECT = "template.reject"
    TEMPLATE_WITHDRAW = "template.withdraw"
    TEMPLATE_LAPSE = "template.lapse"
    TEMPLATE_DEPRECATE = "template.deprecate"
    TEMPLATE_REVOKE = "template.revoke"
    APPROVAL_RULE = "approval.rule"
    PERSON_LINK = "person.link"
    LOCK_CREATE = "lock.create"
    LOCK_RELEASE = "lock.release"
    MASKING_CHANGE = "masking.change"
    MASKING_CANARY = "masking.canary"
    TEMPLATE_DRY_RUN = "template.dry_run"
    RUN_POLICY = "run.policy"
    TRACEPOINT_REQUEST = "tracepoint.request"
    TRACEPOINT_APPROVE = "tracepoint.approve"
    TRACEPOINT_DENY = "tracepoint.deny"
    TRACEPOINT_LAPSE = "tracepoint.lapse"
    TRACEPOINT_START = "tracepoint.start"
    TRACEPOINT_ROLLOUT = "tracepoint.rollout"
    TRACEPOINT_BREAK_GLASS = "tracepoint.break_glass"
    TRACEPOINT_REVIEW = "tracepoint.review"
    TRACEPOINT_REVIEW_DUE = "tracepoint.review_due"
    TRACEPOINT_SEAL = "tracepoint.seal"
    TRACEPOINT_PUBLISH = "tracepoint.publish"
    TRACEPOINT_DELIVER = "tracepoint.deliver"
    TRACEPOINT_RENEW = "tracepoint.renew"
    TRACEPOINT_DELETE = "tracepoint.delete"
    TRACEPOINT_END = "tracepoint.end"
    AGENT_TOKEN = "agent.token"  # noqa: S105 -- the name of an action
    AGENT_ENROLL = "agent.enroll"
    AGENT_REVOKE = "agent.revoke"
    AGENT_ADMIT = "agent.admit"
    AGENT_REFUSE = "agent.refuse"
    AGENT_COMPILE = "agent.compile"
    AGENT_ATTACH = "agent.attach"
    AGENT_DETACH = "agent.detach"
    MASKING_READ = "masking.read"
    RECORDS_READ = "records.read"
    AUDIT_READ = "audit.read"


class Outcome(StrEnum):
    INTENT = "intent"
    SUCCESS = "success"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True)
class AuditEvent:
    """One entry. `detail` holds JSON scalars, lists and objects; never a captured value, never a secret."""

    action: AuditAction
    outcome: Outcome
    actor: str  # SubjectId, "agent:<id>" or "system"
    resource: str  # "template/checkout-money-sum@3", "tracepoint/tp_…", ""
    detail: Mapping[str, object] = field(default_factory=dict)
    request_id: str = ""


class AuditTrail(Protocol):
    async def append(self, session: AsyncSession, tenant: TenantId, event: AuditEvent) -> int:
        """Write one entry into the session's transaction; its index in the tenant's log. Raises AuditUnavailable."""
        ...
