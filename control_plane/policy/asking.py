"""How a route asks: one decorator names the permission, one parameter receives the proof.

    @router.post("/v1/tenants/{tenant}/templates", status_code=201)
    @requires(Permission.TEMPLATE_SUBMIT)
    async def submit(grant: Granted, body: SubmitTemplate, ...): ...

`name=` is the path parameter that holds the resource's name ("*", all of them, when there is none); the tenant is the
path parameter `tenant`, or the platform when the route has none. `public` and `authenticated` are the only exceptions
and say why. `control_plane.http.asking_check` walks all routes at start-up: one without a declaration stops it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from control_plane.foundation.errors import Denied
from control_plane.foundation.identifiers import TenantId
from control_plane.foundation.openness import DECLARED, Endpoint, Public, declare, public
from control_plane.foundation.provision import Provision
from control_plane.identity.model import Principal
from control_plane.identity.service import Identity
from control_plane.policy.model import Grant, Permission, Resource
from control_plane.policy.request_rates import RequestRates
from control_plane.policy.service import PLATFORM_TENANT, PolicyService

__all__ = [
    "Authenticated",
    "Granted",
    "Public",
    "Requires",
    "SignedIn",
    "asking_of",
    "authenticated",
    "granted",
    "public",
    "requires",
    "signed_in",
]


@dataclass(frozen=True)
class Requires:
    permission: Permission
    name: str | None  # the path parameter that names the resource


@dataclass(frozen=True)
class Authenticated:
    reason: str


Asking = Requires | Public | Authenticated


def requires(permission: Permission, name: str | None = None) -> Callable[[Endpoint], Endpoint]:
    """This route needs that permission; it must also take a `Granted` parameter."""
    return declare(Requires(permission, name))


def authenticated(reason: str) -> Callable[[Endpoint], Endpoint]:
    """Anybody who has signed in may call this route, because of the reason; it must take a `SignedIn` parameter."""
    return declare(Authenticated(reason))


def asking_of(endpoint: object) -> Asking | None:
    declared = getattr(endpoint, DECLARED, None)
    return declared if isinstance(declared, Requires | Public | Authenticated) else None


async def signed_in(connection: HTTPConnection) -> Principal:
    """Raises Unauthenticated."""
    provision: Provision = connection.app.state.provision
    return await provision.get(Identity).authenticate(connection)


async def granted(connection: HTTPConnection) -> Grant:
    """Authenticate, then ask policy for what the route declared. Raises Unauthenticated, Denied, NotFound, TooMany."""
    asking = asking_of(connection.scope["endpoint"])
    if not isinstance(asking, Requires):
        raise TypeError(f"{connection.scope['endpoint']!r} takes a Granted but does not declare @requires")
    principal = await signed_in(connection)
    provision: Provision = connection.app.state.provision
    tenant = TenantId(connection.path_params.get("tenant", PLATFORM_TENANT))
    name = "*" if asking.name is None else str(connection.path_params[asking.name])
    kind = asking.permission.partition(":")[0]
    policy, rates = provision.get(PolicyService), provision.get(RequestRates)
    try:
        grant = await policy.require(principal, asking.permission, Resource(tenant, kind, name))
    except Denied:
        await rates.count(tenant)  # a member's
        raise
    await rates.count(tenant)
    return grant


Granted = Annotated[Grant, Depends(granted)]
SignedIn = Annotated[Principal, Depends(signed_in)]
