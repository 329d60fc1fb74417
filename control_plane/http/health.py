"""Is it alive, is it ready, what does it speak: the three routes that need nobody's permission."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from sqlalchemy import text

from control_plane.foundation.database import NO_TENANT, Database
from control_plane.foundation.provision import provided
from control_plane.policy.asking import public

router = APIRouter(tags=["health"])


@router.get("/healthz")
@public("a load balancer has no identity, and the answer says only that the process runs")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/readyz")
@public("a load balancer has no identity, and the answer says only that the database answers")
async def readyz(database: Annotated[Database, Depends(provided(Database))]) -> dict[str, str]:
    async with database.transaction(NO_TENANT) as session:
        await session.execute(text("SELECT 1"))
    return {"status": "ready"}


@router.get("/openapi.json", include_in_schema=False)
@public("the description of the interface is in the source that everybody can read")
async def openapi(request: Request) -> dict[str, Any]:
    document: dict[str, Any] = request.app.openapi()
    return document
