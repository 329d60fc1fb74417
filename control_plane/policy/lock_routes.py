"""Locks over HTTP: list, lock, release."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from control_plane.foundation.bodies import Body
from control_plane.foundation.errors import Invalid
from control_plane.foundation.idempotency import Idempotency
from control_plane.foundation.provision import provided
from control_plane.foundation.request_headers import IdempotencyKey
from control_plane.policy.asking import Granted, requires
from control_plane.policy.locks import MAX_REASON, MAX_VALUE, Lock, LockKind, LockService
from control_plane.policy.membership import MembershipService
from control_plane.policy.model import Permission
from language import durations
from language.errors import TemplateError

router = APIRouter(tags=["locks"])
Service = Annotated[LockService, Depends(provided(LockService))]
Members = Annotated[MembershipService, Depends(provided(MembershipService))]

Once = Annotated[Idempotency, Depends(provided(Idempotency))]


class LockIn(Body):
    kind: LockKind = Field(strict=False)
    value: str = Field(default="", max_length=MAX_VALUE, description="Which one; nothing for `everything`.")
    reason: str = Field(min_length=1, max_length=MAX_REASON)
    ttl: str | None = Field(default=None, max_length=40, description="Until when it holds; else until it is released.")


class LockOut(BaseModel):
    id: str
    kind: LockKind
    value: str
    reason: str
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    platform: bool

    @classmethod
    def of(cls, lock: Lock) -> LockOut:
        return cls(
            id=lock.id,
            kind=lock.kind,
            value=lock.value,
            reason=lock.reason,
            created_by=lock.created_by,
            created_at=lock.created_at,
            expires_at=lock.expires_at,
            platform=lock.platform,
        )


class LocksOut(BaseModel):
    items: list[LockOut]
    next: None = None


@router.get("/v1/tenants/{tenant}/locks")
@requires(Permission.LOCK_READ)
async def list_locks(grant: Granted, service: Service) -> LocksOut:
    """Those that hold now, the platform's too."""
    return LocksOut(items=[LockOut.of(lock) for lock in await service.list(grant)])


@router.post("/v1/tenants/{tenant}/locks", status_code=201)
@requires(Permission.LOCK_WRITE)
async def lock(
    grant: Granted, body: LockIn, service: Service, members: Members, once: Once, key: IdempotencyKey = None
) -> LockOut:
    """Nothing of it can be asked for from now on, and what runs of it is taken back within seconds."""
    try:
        ttl = None if body.ttl is None else durations.parse(body.ttl)
    except TemplateError as error:
        raise Invalid(f"ttl: {error}") from error
    value = members.complete(body.value) if body.kind is LockKind.USER else body.value

    async def locked() -> LockOut:
        return LockOut.of(await service.lock(grant, body.kind, value, body.reason, ttl))

    return await once.once(grant.resource.tenant, grant.principal.id, key, body, LockOut, locked)


@router.delete("/v1/tenants/{tenant}/locks/{lock}")
@requires(Permission.LOCK_WRITE, name="lock")
async def release(grant: Granted, lock: str, service: Service) -> LockOut:
    """It can be asked for again; nothing that was stopped starts by that."""
    return LockOut.of(await service.release(grant, lock))
