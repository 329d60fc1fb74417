"""What a reviewer sees besides the text, over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel

from control_plane.foundation.provision import provided
from control_plane.policy.asking import Granted, requires
from control_plane.policy.model import Permission
from control_plane.tracepoints.reviewing import Reviewing
from language.risk import RiskClass

router = APIRouter(tags=["reviews"])
Pages = Annotated[Reviewing, Depends(provided(Reviewing))]


class FieldOut(BaseModel):
    column: str
    expression: str
    type: str
    action: str
    rule: str
    risk: RiskClass
    note: str


class ForecastOut(BaseModel):
    agent: str
    binds: bool
    processes: int
    sites: int
    trap_classes: list[str]
    microseconds_per_call: float
    executable: str
    build_id: str
    problem: str


class ReviewPageOut(BaseModel):
    """`fields` with the types that a live agent found; `forecasts` of the agents that are connected now."""

    fields: list[FieldOut]
    forecasts: list[ForecastOut]
    who_can_run: list[str]
    who_can_read: list[str]


@router.get("/v1/tenants/{tenant}/templates/{template}/versions/{version}/review")
@requires(Permission.TEMPLATE_READ, name="template")
async def review(
    grant: Granted,
    template: str,
    version: Annotated[int, Path(ge=1, le=2**31 - 1)],
    pages: Pages,
    service: Annotated[str, Query(max_length=253, description="Where to look; else the template's own target.")] = "",
) -> ReviewPageOut:
    """Asks the connected agents; nothing is armed for it and no value is read."""
    found = await pages.page(grant, template, version, service)
    return ReviewPageOut(
        fields=[FieldOut(**vars(field)) for field in found.fields],
        forecasts=[ForecastOut(**vars(forecast)) for forecast in found.forecasts],
        who_can_run=list(found.who_can_run),
        who_can_read=list(found.who_can_read),
    )
