"""Breaking the glass, looking at it afterwards, and what everybody is told, over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from control_plane.foundation.bodies import Body
from control_plane.foundation.idempotency import Idempotency
from control_plane.foundation.provision import provided
from control_plane.foundation.request_headers import IdempotencyKey
from control_plane.policy.asking import Granted, requires
from control_plane.policy.model import Permission
from control_plane.tracepoints.break_glass import MAX_REASON, BreakingGlass, Use
from control_plane.tracepoints.model import BreakGlass
from control_plane.tracepoints.notices import MAX_PAGE, NoticeKind, NoticeReading
from control_plane.tracepoints.routes import RequestTracepointIn, TracepointOut
from control_plane.tracepoints.service import TracepointService

router = APIRouter(tags=["break-glass"])
Service = Annotated[TracepointService, Depends(provided(TracepointService))]
Glass = Annotated[BreakingGlass, Depends(provided(BreakingGlass))]
Notices = Annotated[NoticeReading, Depends(provided(NoticeReading))]
Once = Annotated[Idempotency, Depends(provided(Idempotency))]


class BreakGlassIn(RequestTracepointIn):
    """A request for a tracepoint, with why. The longest TTL is 15 minutes."""

    reason: str = Field(min_length=1, max_length=MAX_REASON)
    ticket: str = Field(min_length=2, max_length=200)


class ReviewUseIn(Body):
    ok: bool
    comment: str = Field(default="", max_length=MAX_REASON, description="Needed where it was not right.")


class UseOut(BaseModel):
    """`verdict`: empty while nobody has looked at it, `ok` or `not_ok`."""

    tracepoint: str
    subject: str
    subject_name: str
    reason: str
    ticket: str
    used_at: datetime
    review_by: datetime
    verdict: str
    reviewer: str
    comment: str

    @classmethod
    def of(cls, use: Use) -> UseOut:
        return cls(**vars(use))


class UsesOut(BaseModel):
    items: list[UseOut]
    next: None = None


class NoticeOut(BaseModel):
    id: str
    kind: NoticeKind
    resource: str
    text: str
    at: datetime
    closed_at: datetime | None


class NoticesOut(BaseModel):
    items: list[NoticeOut]
    next: str | None


@router.post("/v1/tenants/{tenant}/break-glass", status_code=201)
@requires(Permission.TRACEPOINT_BREAK_GLASS)
async def break_glass(
    grant: Granted, body: BreakGlassIn, service: Service, once: Once, key: IdempotencyKey = None
) -> TracepointOut:
    """Run an approved template without anybody's yes to the request. Everybody is told; somebody looks at it in a day."""

    async def requested() -> TracepointOut:
        return TracepointOut.of(await service.request(grant, body.wanted(BreakGlass(body.reason, body.ticket))))

    return await once.once(grant.resource.tenant, grant.principal.id, key, body, TracepointOut, requested)


@router.get("/v1/tenants/{tenant}/break-glass")
@requires(Permission.TRACEPOINT_READ)
async def list_uses(grant: Granted, glass: Glass) -> UsesOut:
    """The newest first."""
    return UsesOut(items=[UseOut.of(use) for use in await glass.uses(grant)])


@router.post("/v1/tenants/{tenant}/break-glass/{tracepoint}/review")
@requires(Permission.TRACEPOINT_APPROVE, name="tracepoint")
async def review_use(grant: Granted, tracepoint: str, body: ReviewUseIn, glass: Glass) -> UseOut:
    """Another person's word on one use. Without it within a day, or with a no, the right suspends itself."""
    return UseOut.of(await glass.review(grant, tracepoint, ok=body.ok, comment=body.comment))


@router.get("/v1/tenants/{tenant}/notices")
@requires(Permission.TENANT_READ)
async def list_notices(
    grant: Granted,
    notices: Notices,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
    cursor: Annotated[str, Query(max_length=200)] = "",
    open_only: Annotated[bool, Query(alias="open", description="Only those that nobody has dealt with.")] = False,
) -> NoticesOut:
    """What every member is to know, the newest first."""
    page = await notices.page(grant, limit, cursor, still_open=open_only)
    return NoticesOut(items=[NoticeOut(**vars(notice)) for notice in page.items], next=page.next)
