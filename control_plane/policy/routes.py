"""Tenants, members, `me` and `can-i` over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from control_plane.foundation.bodies import Body
from control_plane.foundation.identifiers import TenantId
from control_plane.foundation.provision import provided
from control_plane.foundation.request_headers import IfMatch
from control_plane.identity.model import PrincipalKind
from control_plane.policy.asking import Granted, SignedIn, authenticated, requires
from control_plane.policy.membership import MAX_FOUNDERS, MembershipService, Tenant
from control_plane.policy.model import Permission
from control_plane.policy.proposal_model import Proposed
from control_plane.policy.proposal_routes import WAITS, waiting
from control_plane.policy.role_changes import Membership
from control_plane.policy.service import PolicyService

router = APIRouter(tags=["tenants and policy"])
Memberships = Annotated[MembershipService, Depends(provided(MembershipService))]
Policy = Annotated[PolicyService, Depends(provided(PolicyService))]


class PutMember(Body):
    subject: str = Field(min_length=1, max_length=700)
    roles: list[str] = Field(min_length=1, max_length=16)


class CreateTenant(Body):
    name: str = Field(max_length=63)
    title: str = Field(default="", max_length=200)
    administrator: str = Field(
        default="", max_length=700, description="A user's name or <issuer>|<sub>; else the caller."
    )
    members: list[PutMember] = Field(
        default=[],
        max_length=MAX_FOUNDERS,
        description="Its first people: nobody is there yet who could agree to them.",
    )


class TenantOut(BaseModel):
    name: str
    title: str
    created_at: datetime
    created_by: str


class MembershipOut(BaseModel):
    tenant: str
    subject: str
    roles: list[str]
    etag: str = Field(description="For If-Match, where these roles are changed.")


class MembersOut(BaseModel):
    items: list[MembershipOut]
    next: str | None = None


class MeOut(BaseModel):
    subject: str
    name: str
    kind: PrincipalKind
    tenants: list[MembershipOut]


class CanIOut(BaseModel):
    allowed: bool
    rule: str
    reason: str
    roles_held: list[str]
    roles_that_allow: list[str]
    missing: list[str]
    smallest_change: str


@router.get("/v1/me")
@authenticated("it tells people only about themselves")
async def me(principal: SignedIn, service: Memberships) -> MeOut:
    memberships = await service.of(principal)
    return MeOut(
        subject=principal.id,
        name=principal.display_name,
        kind=principal.kind,
        tenants=[_membership(membership) for membership in memberships],
    )


@router.post("/v1/tenants", status_code=201)
@requires(Permission.TENANT_CREATE)
async def create_tenant(grant: Granted, body: CreateTenant, service: Memberships) -> TenantOut:
    founders = [(member.subject, tuple(member.roles)) for member in body.members]
    return _tenant(await service.create_tenant(grant, body.name, body.title, body.administrator, founders))


@router.get("/v1/tenants/{tenant}")
@requires(Permission.TENANT_READ)
async def show_tenant(grant: Granted, service: Memberships) -> TenantOut:
    return _tenant(await service.show(grant))


@router.get("/v1/tenants/{tenant}/members")
@requires(Permission.MEMBER_READ)
async def list_members(grant: Granted, service: Memberships) -> MembersOut:
    return MembersOut(items=[_membership(membership) for membership in await service.members(grant)])


@router.put("/v1/tenants/{tenant}/members", response_model=MembershipOut, responses=WAITS)
@requires(Permission.MEMBER_WRITE)
async def put_member(
    grant: Granted, body: PutMember, service: Memberships, if_match: IfMatch = None
) -> MembershipOut | JSONResponse:
    """The roles are all that the subject holds from now on; a second person agrees where reviewers, administrators or
    auditors come or go, or where somebody gives more to themselves.
    """
    outcome = await service.put_member(grant, body.subject, body.roles, if_match)
    return waiting(grant, outcome) if isinstance(outcome, Proposed) else _membership(outcome.value)


@router.delete("/v1/tenants/{tenant}/members", status_code=204, response_model=None, responses=WAITS)
@requires(Permission.MEMBER_WRITE)
async def remove_member(
    grant: Granted,
    subject: Annotated[str, Query(min_length=1, max_length=700)],
    service: Memberships,
    if_match: IfMatch = None,
) -> JSONResponse | None:
    """A second person agrees where a reviewer, an administrator or an auditor goes; `lock` stops somebody at once."""
    outcome = await service.remove_member(grant, subject, if_match)
    return waiting(grant, outcome) if isinstance(outcome, Proposed) else None


@router.get("/v1/tenants/{tenant}/policy/can-i")
@authenticated("it answers about the one who asks, and a tenant that is not theirs is not there")
async def can_i(
    principal: SignedIn,
    tenant: str,
    policy: Policy,
    permission: Annotated[str, Query(max_length=64)],
    resource: Annotated[str, Query(max_length=255)] = "*",
) -> CanIOut:
    decision = await policy.can(principal, permission, TenantId(tenant), resource)
    return CanIOut(
        allowed=decision.allowed,
        rule=decision.rule,
        reason=decision.reason,
        roles_held=list(decision.roles),
        roles_that_allow=list(decision.would_allow),
        missing=list(decision.missing),
        smallest_change=decision.change,
    )


def _tenant(tenant: Tenant) -> TenantOut:
    return TenantOut(name=tenant.name, title=tenant.title, created_at=tenant.created_at, created_by=tenant.created_by)


def _membership(membership: Membership) -> MembershipOut:
    return MembershipOut(
        tenant=membership.tenant, subject=membership.subject, roles=list(membership.roles), etag=membership.etag
    )
