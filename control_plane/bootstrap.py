"""Settings -> a built server: every adapter is made here and nowhere else, in the order of the path.

What leaves is a `Server`: the app, the services by type, and what runs beside the requests. `serving` runs it;
`__main__` also takes single services out of it for the operator's commands.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx
from fastapi import APIRouter, FastAPI

from control_plane.audit import routes as audit_routes
from control_plane.audit.reading import AuditReading
from control_plane.audit.service import AuditLog
from control_plane.foundation.clock import Clock, SystemClock
from control_plane.foundation.database import Database
from control_plane.foundation.provision import Provision
from control_plane.http.app import create_app
from control_plane.identity.issuer import routes as issuer_routes
from control_plane.identity.issuer.embedded import EmbeddedIssuer
from control_plane.identity.jwks import RemoteKeys
from control_plane.identity.service import Identity
from control_plane.identity.sessions import Sessions
from control_plane.identity.token_verifier import IssuerPolicy, TokenVerifier
from control_plane.keyfile import load_or_make_ed25519
from control_plane.policy import routes as policy_routes
from control_plane.policy.membership import MembershipService
from control_plane.policy.roles import read_roles
from control_plane.policy.service import PolicyService
from control_plane.settings import Settings

AUDIT_KEY: Final = "audit-ed25519.key"


@dataclass(frozen=True)
class Server:
    """`work` are the loops beside the requests, by name: made anew for each run."""

    settings: Settings
    app: FastAPI
    provision: Provision
    work: tuple[tuple[str, Callable[[], Coroutine[Any, Any, None]]], ...]

    def background(self) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
        for name, start in self.work:
            yield name, start()


@asynccontextmanager
async def built(settings: Settings) -> AsyncIterator[Server]:
    """Everything, built and open; closed in reverse order when the block ends. Raises StartupError, BadSetting."""
    async with AsyncExitStack() as stack:
        settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        clock = SystemClock()
        provision = Provision()
        routers: list[APIRouter] = []

        database = Database(settings.database_url)
        stack.push_async_callback(database.close)
        if database.is_sqlite:
            await database.create_all()
        provision.add(Database, database)

        audit = AuditLog(database, clock, load_or_make_ed25519(settings.keys / AUDIT_KEY))
        provision.add(AuditLog, audit)
        provision.add(AuditReading, AuditReading(database, audit))

        http = await stack.enter_async_context(httpx.AsyncClient())
        _identity(settings, provision, routers, database, audit, clock, http)
        _policy(settings, provision, database, audit, clock)
        routers += [policy_routes.router, audit_routes.router]

        work = (("audit checkpoints", audit.keep_signing),)
        yield Server(settings, create_app(provision, routers, https=settings.https), provision, work)


def _identity(
    settings: Settings,
    provision: Provision,
    routers: list[APIRouter],
    database: Database,
    audit: AuditLog,
    clock: Clock,
    http: httpx.AsyncClient,
) -> None:
    issuers = [
        IssuerPolicy(
            issuer=external.issuer,
            audience=external.audience,
            algorithms=external.algorithms,
            types=external.types,
            keys=RemoteKeys(external.issuer, external.jwks_uri, http, clock),
            name_claim=external.name_claim,
        )
        for external in settings.issuers
    ]
    if settings.embedded_issuer:
        embedded = EmbeddedIssuer(settings.public_url, settings.keys, database, clock)
        issuers.append(embedded.policy())
        provision.add(EmbeddedIssuer, embedded)
        routers.append(issuer_routes.router)
    sessions = Sessions(database, clock, secure=settings.https)
    provision.add(Sessions, sessions)
    provision.add(Identity, Identity(TokenVerifier(issuers, clock), sessions, database, audit, clock))


def _policy(settings: Settings, provision: Provision, database: Database, audit: AuditLog, clock: Clock) -> None:
    book = read_roles()
    first_issuer = settings.public_url if settings.embedded_issuer else settings.issuers[0].issuer
    provision.add(PolicyService, PolicyService(database, audit, book))
    provision.add(MembershipService, MembershipService(database, audit, book, clock, first_issuer))
