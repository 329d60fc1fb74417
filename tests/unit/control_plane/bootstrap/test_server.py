"""The server as it is built: every route declares what it asks, and who needs nobody's permission stands on a list."""

from __future__ import annotations

import pytest
from fastapi.routing import iter_route_contexts

from control_plane.bootstrap.server import built
from control_plane.foundation.openness import Public
from control_plane.http.asking_check import undeclared_routes
from control_plane.policy.asking import Authenticated, Requires, asking_of
from control_plane.settings import read_settings

pytestmark = pytest.mark.peer

PUBLIC = {
    "/healthz",
    "/readyz",
    "/openapi.json",
    "/.well-known/openid-configuration",
    "/oauth/jwks",
    "/oauth/style.css",
    "/oauth/icon.svg",
    "/oauth/authorize",
    "/oauth/token",
    "/oauth/device_authorization",
    "/oauth/device",
    "/",
    "/console/assets/{name}",
    "/console/sign-in",
    "/console/callback",
    "/console/callback/{name}",
    "/console/signed-out",
    "/console/back-channel-logout/{name}",
    "/v1/sign-in",
}
AUTHENTICATED = {"/v1/me", "/v1/tenants/{tenant}/policy/can-i", "/console", "/console/sign-out"}


@pytest.fixture
async def routes(tmp_path):
    async with built(read_settings({"PROBEGATE_STATE": str(tmp_path)})) as server:
        assert undeclared_routes(server.app) == ()
        yield [(route.path, asking_of(route.endpoint)) for route in iter_route_contexts(server.app.routes)]


async def test_who_needs_nobodys_permission_stands_on_a_list(routes):
    assert {path for path, asking in routes if isinstance(asking, Public)} == PUBLIC
    assert {path for path, asking in routes if isinstance(asking, Authenticated)} == AUTHENTICATED


async def test_whatever_belongs_to_a_tenant_asks_policy(routes):
    asking_policy = {path for path, asking in routes if isinstance(asking, Requires)}

    assert {path for path, _ in routes if "{tenant}" in path} - AUTHENTICATED <= asking_policy
    others = asking_policy - {path for path, _ in routes if "{tenant}" in path}
    assert {path for path in others if not path.startswith("/v1/platform/")} == {"/v1/tenants"}
