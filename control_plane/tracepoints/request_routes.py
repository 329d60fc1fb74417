"""Somebody's yes or no to one request, over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field

from control_plane.foundation.bodies import Body
from control_plane.foundation.provision import provided
from control_plane.policy.asking import Granted, requires
from control_plane.policy.model import Permission
from control_plane.tracepoints.requests import MAX_WORDS, RequestReviews
from control_plane.tracepoints.routes import TracepointOut

router = APIRouter(tags=["requests"])
Reviews = Annotated[RequestReviews, Depends(provided(RequestReviews))]
_DIGEST = r"^sha256:[0-9a-f]{64}$"


class ApproveRequest(Body):
    digest: str = Field(pattern=_DIGEST, description="`request.digest` of the tracepoint that the reviewer saw.")
    comment: str = Field(default="", max_length=MAX_WORDS)


class DenyRequest(Body):
    digest: str = Field(pattern=_DIGEST)
    reason: str = Field(min_length=1, max_length=MAX_WORDS)


@router.post("/v1/tenants/{tenant}/tracepoints/{tracepoint}/approve")
@requires(Permission.TRACEPOINT_APPROVE, name="tracepoint")
async def approve(grant: Granted, tracepoint: str, body: ApproveRequest, reviews: Reviews) -> TracepointOut:
    """To this template, these parameters, this target, for so long. It is sealed when it is due, within a second."""
    return TracepointOut.of(await reviews.approve(grant, tracepoint, body.digest, body.comment))


@router.post("/v1/tenants/{tenant}/tracepoints/{tracepoint}/deny")
@requires(Permission.TRACEPOINT_APPROVE, name="tracepoint")
async def deny(grant: Granted, tracepoint: str, body: DenyRequest, reviews: Reviews) -> TracepointOut:
    """One is enough, until it has started."""
    return TracepointOut.of(await reviews.deny(grant, tracepoint, body.digest, body.reason))
