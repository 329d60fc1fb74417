"""A FastAPI app around some routers, where the header `x-by` names who asks and policy always says yes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import APIRouter
from starlette.requests import Request

from control_plane.foundation.identifiers import TenantId
from control_plane.foundation.provision import Provision
from control_plane.http.app import create_app
from control_plane.policy.asking import Requires, asking_of, granted
from control_plane.policy.model import Grant, Resource
from tests.builders.principals import principal


@asynccontextmanager
async def asking(provision: Provision, *routers: APIRouter) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the app. Every route's declaration is checked as at a start-up."""
    app = create_app(provision, routers, https=False)

    async def always(request: Request) -> Grant:
        declared = asking_of(request.scope["endpoint"])
        assert isinstance(declared, Requires)
        name = "*" if declared.name is None else str(request.path_params[declared.name])
        resource = Resource(TenantId(request.path_params["tenant"]), declared.permission.partition(":")[0], name)
        return Grant(principal(request.headers.get("x-by", "alice")), declared.permission, resource, "test")

    app.dependency_overrides[granted] = always
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test/v1/tenants/acme") as client:
        yield client
