"""Routers of all steps -> the FastAPI app, checked. Called by `bootstrap` once the services are built."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter, FastAPI

from control_plane.foundation.provision import Provision
from control_plane.http import health, openapi, problems
from control_plane.http.asking_check import check_routes
from control_plane.http.middleware import BodyLimit, KeepableAddress, RequestIds


def create_app(provision: Provision, routers: Iterable[APIRouter], *, https: bool) -> FastAPI:
    """Raises StartupError when a route does not declare what it asks."""
    app = FastAPI(
        title="Probegate",
        version="1",
        summary="Governed dynamic tracing for native programs in production",
        docs_url=None,  # FastAPI's pages load scripts from elsewhere
        redoc_url=None,
        openapi_url=None,  # served by `health`, where it declares what it asks like every route
        redirect_slashes=False,
        generate_unique_id_function=openapi.operation_id,
    )
    app.state.provision = provision
    for router in (health.router, *routers):
        app.include_router(router)
    problems.install(app)
    openapi.install(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(KeepableAddress)
    app.add_middleware(RequestIds, https=https)
    check_routes(app)
    return app
