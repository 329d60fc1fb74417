"""Sample rows through a template's masking, over HTTP: `masking preview --rows`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from control_plane.delivery.sample_rows import MAX_ROWS, FieldShown, SamplePreviews
from control_plane.foundation.bodies import Body
from control_plane.foundation.provision import provided
from control_plane.masking.routes import MAX_SOURCE
from control_plane.policy.asking import Granted, requires
from control_plane.policy.model import Permission

router = APIRouter(tags=["masking"])


class SampleRowsIn(Body):
    source: str = Field(max_length=MAX_SOURCE, description="The text of one YAML template or of a PxL script with one.")
    rows: list[dict[str, Any]] = Field(
        min_length=1, max_length=MAX_ROWS, description="Column -> value, made up or pasted; kept and logged nowhere."
    )


class SampleRowsOut(BaseModel):
    items: list[FieldShown]


@router.post("/v1/tenants/{tenant}/masking/preview/rows", responses={409: {"description": "No agent is connected"}})
@requires(Permission.MASKING_READ)
async def preview_rows(
    grant: Granted, body: SampleRowsIn, previews: Annotated[SamplePreviews, Depends(provided(SamplePreviews))]
) -> SampleRowsOut:
    """What would be shown of each field, the rule that decided, and what was nearly hidden and why not.

    A connected agent masks the rows; nobody keeps them.
    """
    return SampleRowsOut(items=list(await previews.show(grant, body.source, body.rows)))
