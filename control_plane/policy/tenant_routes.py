"""A tenant's life and its quotas over HTTP: administered under /v1/platform, shown to the tenant itself."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, Field

from control_plane.foundation.bodies import Body
from control_plane.foundation.provision import provided
from control_plane.foundation.request_headers import IfMatch, quoted
from control_plane.policy.asking import Granted, requires
from control_plane.policy.model import Permission
from control_plane.policy.quotas import MAX_LIMIT, Quota
from control_plane.policy.tenant_states import TenantState
from control_plane.policy.tenants import MAX_REASON, TenantLife, TenantQuotas, TenantService

router = APIRouter(tags=["tenants and policy"])
Tenants = Annotated[TenantService, Depends(provided(TenantService))]
Name = Annotated[str, Query(max_length=63)]


class Reason(Body):
    reason: str = Field(min_length=1, max_length=MAX_REASON, description="Its members read it.")


class SetQuotas(Body):
    """Those that are named; null gives the operator's own limit back."""

    limits: dict[Annotated[Quota, Field(strict=False)], Annotated[int, Field(ge=0, le=MAX_LIMIT)] | None] = Field(
        max_length=len(Quota)
    )


class TenantLifeOut(BaseModel):
    name: str
    title: str
    state: TenantState
    reason: str
    created_at: datetime
    created_by: str
    changed_at: datetime | None
    changed_by: str
    etag: str

    @classmethod
    def of(cls, life: TenantLife) -> TenantLifeOut:
        return cls(**vars(life), etag=life.etag)


class TenantsOut(BaseModel):
    items: list[TenantLifeOut]
    next: str | None


class QuotaOut(BaseModel):
    quota: Quota
    limit: int
    used: int | None = Field(description="Null where each replica counts for itself.")
    own: bool = Field(description="Whether the limit was set for this tenant; else it is the operator's for all.")


class QuotasOut(BaseModel):
    items: list[QuotaOut]
    next: str | None = None
    etag: str


@router.get("/v1/platform/tenants")
@requires(Permission.TENANT_WRITE)
async def list_tenants(
    grant: Granted,  # noqa: ARG001 -- the proof is the point
    service: Tenants,
    after: Name = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
) -> TenantsOut:
    """Every tenant by name, the deleted ones too: their names stay taken."""
    found = await service.list(after, limit)
    return TenantsOut(
        items=[TenantLifeOut.of(life) for life in found], next=found[-1].name if len(found) == limit else None
    )


@router.get("/v1/platform/tenants/{name}")
@requires(Permission.TENANT_WRITE, "name")
async def show_tenant_life(
    grant: Granted,  # noqa: ARG001 -- the proof is the point
    name: str,
    service: Tenants,
    response: Response,
) -> TenantLifeOut:
    return _life(await service.show(name), response)


@router.post("/v1/platform/tenants/{name}/suspend")
@requires(Permission.TENANT_WRITE, "name")
async def suspend_tenant(
    grant: Granted, name: str, body: Reason, service: Tenants, response: Response, if_match: IfMatch = None
) -> TenantLifeOut:
    """Its probes are taken back within seconds; its members may read why, and the log, and nothing else."""
    return _life(await service.suspend(grant, name, body.reason, if_match), response)


@router.post("/v1/platform/tenants/{name}/resume")
@requires(Permission.TENANT_WRITE, "name")
async def resume_tenant(
    grant: Granted, name: str, body: Reason, service: Tenants, response: Response, if_match: IfMatch = None
) -> TenantLifeOut:
    """Its members may again what their roles allow; what was taken back is asked for anew."""
    return _life(await service.resume(grant, name, body.reason, if_match), response)


@router.delete("/v1/platform/tenants/{name}", status_code=202)
@requires(Permission.TENANT_WRITE, "name")
async def delete_tenant(
    grant: Granted,
    name: str,
    reason: Annotated[str, Query(min_length=1, max_length=MAX_REASON)],
    service: Tenants,
    response: Response,
    if_match: IfMatch = None,
) -> TenantLifeOut:
    """For good: its probes end first, then all that it had is erased. Its log stays, and its name stays taken."""
    return _life(await service.delete(grant, name, reason, if_match), response)


@router.get("/v1/tenants/{tenant}/quotas")
@requires(Permission.TENANT_READ)
async def show_quotas(grant: Granted, service: Tenants, response: Response) -> QuotasOut:
    """The limits of the tenant, and what it uses of them."""
    return _quotas(await service.quotas(grant.resource.tenant), response)


@router.get("/v1/platform/tenants/{name}/quotas")
@requires(Permission.TENANT_WRITE, "name")
async def show_quotas_of(
    grant: Granted,  # noqa: ARG001 -- the proof is the point
    name: str,
    service: Tenants,
    response: Response,
) -> QuotasOut:
    return _quotas(await service.quotas(name), response)


@router.put("/v1/platform/tenants/{name}/quotas")
@requires(Permission.TENANT_WRITE, "name")
async def set_quotas(
    grant: Granted, name: str, body: SetQuotas, service: Tenants, response: Response, if_match: IfMatch = None
) -> QuotasOut:
    return _quotas(await service.set_quotas(grant, name, body.limits, if_match), response)


def _life(life: TenantLife, response: Response) -> TenantLifeOut:
    response.headers["ETag"] = quoted(life.etag)
    return TenantLifeOut.of(life)


def _quotas(quotas: TenantQuotas, response: Response) -> QuotasOut:
    response.headers["ETag"] = quoted(quotas.etag)
    items = [QuotaOut(quota=use.quota, limit=use.limit, used=use.used, own=use.own) for use in quotas.uses]
    return QuotasOut(items=items, etag=quotas.etag)
