"""What became of the cards that agents plant in front of masking, over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from control_plane.foundation.provision import provided
from control_plane.policy.asking import Granted, requires
from control_plane.policy.model import Permission
from control_plane.records.canaries import Canaries

router = APIRouter(tags=["masking"])


class CanaryOut(BaseModel):
    """`hidden`: planted rows of this agent that arrived and gave nothing away."""

    agent: str
    hidden: int
    last_at: datetime


class CanariesOut(BaseModel):
    items: list[CanaryOut]
    next: None = None


@router.get("/v1/tenants/{tenant}/masking/canaries")
@requires(Permission.MASKING_READ)
async def list_canaries(grant: Granted, canaries: Annotated[Canaries, Depends(provided(Canaries))]) -> CanariesOut:
    """By agent. One that came out in clear stands in the notices and in the log, and has stopped the tenant."""
    return CanariesOut(
        items=[CanaryOut.model_validate(each, from_attributes=True) for each in await canaries.counts(grant)]
    )
