"""Approval rules and person links over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response
from pydantic import BaseModel, Field

from control_plane.foundation.bodies import Body
from control_plane.foundation.provision import provided
from control_plane.foundation.request_headers import IfMatch
from control_plane.policy.asking import Granted, requires
from control_plane.policy.model import Permission
from control_plane.templates.governing import ApprovalRules, PersonLink, PersonLinks, TenantRule
from control_plane.templates.requirements import MAX_APPROVALS

router = APIRouter(tags=["reviews"])
Rules = Annotated[ApprovalRules, Depends(provided(ApprovalRules))]
Links = Annotated[PersonLinks, Depends(provided(PersonLinks))]
RuleName = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{0,61}$")]
_Globs = Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=32)]


class ApprovalRuleIn(Body):
    """Like a line of CODEOWNERS: what all of its lists match needs this much more. An empty list matches everything."""

    functions: _Globs = Field(default=[])
    executables: _Globs = Field(default=[])
    templates: _Globs = Field(default=[])
    approvals: int = Field(default=1, ge=0, le=MAX_APPROVALS)
    roles: _Globs = Field(default=[])


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


class PersonLinkIn(Body):
    subject: str = Field(max_length=700, description="The second login, or the service account: issuer|sub.")
    person: str = Field(max_length=700, description="Whose it is.")


class PersonLinkOut(BaseModel):
    subject: str
    person: str
    linked_by: str
    linked_at: datetime

    @classmethod
    def of(cls, link: PersonLink) -> PersonLinkOut:
        return cls(subject=link.subject, person=link.person, linked_by=link.linked_by, linked_at=link.linked_at)


class PersonLinksOut(BaseModel):
    items: list[PersonLinkOut]
    next: None = None


@router.get("/v1/tenants/{tenant}/approval-rules")
@requires(Permission.POLICY_READ)
async def list_rules(grant: Granted, rules: Rules) -> ApprovalRulesOut:
    """The tenant's own, besides policies/approvals.yaml."""
    return ApprovalRulesOut(items=[ApprovalRuleOut.of(rule) for rule in await rules.list(grant)])


@router.put("/v1/tenants/{tenant}/approval-rules/{rule}")
@requires(Permission.POLICY_WRITE, name="rule")
async def put_rule(
    grant: Granted, rule: RuleName, body: ApprovalRuleIn, rules: Rules, response: Response, if_match: IfMatch = None
) -> ApprovalRuleOut:
    """Ask for more. Versions submitted under an older, stricter text keep what that asked for."""
    found = await rules.put(grant, rule, body.model_dump(), if_match)
    response.headers["ETag"] = f'"{found.revision}"'
    return ApprovalRuleOut.of(found)


@router.delete("/v1/tenants/{tenant}/approval-rules/{rule}", status_code=204)
@requires(Permission.POLICY_WRITE, name="rule")
async def delete_rule(grant: Granted, rule: RuleName, rules: Rules, if_match: IfMatch = None) -> None:
    await rules.delete(grant, rule, if_match)


@router.get("/v1/tenants/{tenant}/person-links")
@requires(Permission.MEMBER_READ)
async def list_links(grant: Granted, links: Links) -> PersonLinksOut:
    return PersonLinksOut(items=[PersonLinkOut.of(link) for link in await links.list(grant)])


@router.post("/v1/tenants/{tenant}/person-links", status_code=201)
@requires(Permission.MEMBER_WRITE)
async def link(grant: Granted, body: PersonLinkIn, links: Links) -> PersonLinkOut:
    """Say that two logins are one person, or whose a service account is. It is not taken back."""
    return PersonLinkOut.of(await links.link(grant, body.subject, body.person))
