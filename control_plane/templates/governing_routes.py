"""Approval rules over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from control_plane.foundation.bodies import Body
from control_plane.foundation.errors import NotFound
from control_plane.foundation.provision import provided
from control_plane.foundation.request_headers import IfMatch
from control_plane.policy.asking import Granted, requires
from control_plane.policy.model import Permission
from control_plane.policy.proposal_model import Proposed
from control_plane.policy.proposal_routes import WAITS, waiting
from control_plane.templates.governing import ApprovalRules, TenantRule
from control_plane.templates.requirements import MAX_APPROVALS

router = APIRouter(tags=["reviews"])
Rules = Annotated[ApprovalRules, Depends(provided(ApprovalRules))]
RuleName = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{0,61}$")]
_Globs = Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=32)]


class ApprovalRuleIn(Body):
    """Like a line of CODEOWNERS: what all of its lists match needs this much more. An empty list matches everything."""

    functions: _Globs = Field(default=[])
    executables: _Globs = Field(default=[])
    templates: _Globs = Field(default=[])
    approvals: int = Field(default=1, ge=0, le=MAX_APPROVALS)
    roles: _Globs = Field(default=[])
    requests: int = Field(default=0, ge=0, le=MAX_APPROVALS, description="People who agree to each request, too.")


class ApprovalRuleOut(BaseModel):
    name: str
    rule: dict[str, Any]
    revision: int
    changed_by: str
    changed_at: datetime

    @classmethod
    def of(cls, rule: TenantRule) -> ApprovalRuleOut:
        return cls(
            name=rule.name,
            rule=dict(rule.document),
            revision=rule.revision,
            changed_by=rule.changed_by,
            changed_at=rule.changed_at,
        )


class ApprovalRulesOut(BaseModel):
    items: list[ApprovalRuleOut]
    next: None = None


@router.get("/v1/tenants/{tenant}/approval-rules")
@requires(Permission.POLICY_READ)
async def list_rules(grant: Granted, rules: Rules) -> ApprovalRulesOut:
    """The tenant's own, besides policies/approvals.yaml."""
    return ApprovalRulesOut(items=[ApprovalRuleOut.of(rule) for rule in await rules.list(grant)])


@router.put("/v1/tenants/{tenant}/approval-rules/{rule}", response_model=ApprovalRuleOut, responses=WAITS)
@requires(Permission.POLICY_WRITE, name="rule")
async def put_rule(
    grant: Granted, rule: RuleName, body: ApprovalRuleIn, rules: Rules, response: Response, if_match: IfMatch = None
) -> ApprovalRuleOut | JSONResponse:
    """Ask for more; or for less, once a second person agrees. What was submitted under a stricter text keeps that."""
    outcome = await rules.put(grant, rule, body.model_dump(), if_match)
    if isinstance(outcome, Proposed):
        return waiting(grant, outcome)
    if outcome.value is None:
        raise NotFound(f"there is no approval rule {rule!r} in this tenant")
    response.headers["ETag"] = f'"{outcome.value.revision}"'
    return ApprovalRuleOut.of(outcome.value)


@router.delete("/v1/tenants/{tenant}/approval-rules/{rule}", status_code=204, response_model=None, responses=WAITS)
@requires(Permission.POLICY_WRITE, name="rule")
async def delete_rule(grant: Granted, rule: RuleName, rules: Rules, if_match: IfMatch = None) -> JSONResponse | None:
    """Waits for a second person."""
    outcome = await rules.delete(grant, rule, if_match)
    return waiting(grant, outcome) if isinstance(outcome, Proposed) else None
