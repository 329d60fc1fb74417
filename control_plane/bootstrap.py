"""Settings -> a built server: every adapter is made here and nowhere else, in the order of the path.

What leaves is a `Server`: the app, the services by type, and what runs beside the requests. `serving` runs it;
`__main__` also takes single services out of it for the operator's commands.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
from fastapi import FastAPI

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
from control_plane.masking import routes as masking_routes
from control_plane.masking.key_wrapping import KeyWrapper, load_or_make_wrapping_key
from control_plane.masking.service import MaskingService
from control_plane.policy import routes as policy_routes
from control_plane.policy.membership import MembershipService
from control_plane.policy.roles import read_roles
from control_plane.policy.service import PolicyService
from control_plane.settings import Settings
from control_plane.signing.key_file import KeyFile
from control_plane.templates import routes as templates_routes
from control_plane.templates.reading import TemplateReading
from control_plane.templates.service import TemplateService
from language.masking_rules import load_rules

AUDIT_KEY: Final = "audit-ed25519.key"
WRAPPING_KEY: Final = "masking-wrap.key"
PLATFORM_RULES: Final = Path(__file__).resolve().parents[1] / "policies" / "masking" / "platform.yaml"


@dataclass(frozen=True)
class Core:
    """What stands on the database and the key files alone: enough for the operator's commands."""

    settings: Settings
    clock: Clock
    database: Database
    audit: AuditLog
    provision: Provision
    http: httpx.AsyncClient


@dataclass(frozen=True)
class Server:
    """`work` are the loops beside the requests, by name; they are started by `serving`."""

    settings: Settings
    app: FastAPI
    provision: Provision
    work: tuple[tuple[str, Callable[[], Coroutine[Any, Any, None]]], ...]


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Core]:
    """The database, the log, identity and policy. Raises BadKeyFile, BadRoles."""
    async with AsyncExitStack() as stack:
        settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        database = Database(settings.database_url)
        stack.push_async_callback(database.close)
        if database.is_sqlite:
            await database.create_all()
        clock = SystemClock()
        audit = AuditLog(database, clock, KeyFile(settings.keys / AUDIT_KEY).load_or_create())
        http = await stack.enter_async_context(httpx.AsyncClient())
        core = Core(settings, clock, database, audit, Provision(), http)
        core.provision.add(Database, database)
        core.provision.add(AuditReading, AuditReading(database, audit))
        _add_identity(core)
        _add_policy(core)
        yield core


@asynccontextmanager
async def built(settings: Settings) -> AsyncIterator[Server]:
    """Everything, built and open; closed in reverse order when the block ends. Raises StartupError and what `opened` raises."""
    async with opened(settings) as core:
        _add_templates(core)
        _add_masking(core)
        routers = [
            policy_routes.router,
            templates_routes.router,
            masking_routes.router,
            audit_routes.router,
        ]
        if settings.embedded_issuer:
            routers.append(issuer_routes.router)
        work = (("audit checkpoints", core.audit.keep_signing),)
        yield Server(settings, create_app(core.provision, routers, https=settings.https), core.provision, work)


def _add_identity(core: Core) -> None:
    settings, database, clock, audit = core.settings, core.database, core.clock, core.audit
    issuers = [
        IssuerPolicy(
            issuer=external.issuer,
            audience=external.audience,
            algorithms=external.algorithms,
            types=external.types,
            keys=RemoteKeys(external.issuer, external.jwks_uri, core.http, clock),
            name_claim=external.name_claim,
        )
        for external in settings.issuers
    ]
    if settings.embedded_issuer:
        embedded = EmbeddedIssuer(settings.public_url, settings.keys, database, clock)
        issuers.append(embedded.policy())
        core.provision.add(EmbeddedIssuer, embedded)
    sessions = Sessions(database, clock, secure=settings.https)
    core.provision.add(Sessions, sessions)
    core.provision.add(Identity, Identity(TokenVerifier(issuers, clock), sessions, database, audit, clock))


def _add_policy(core: Core) -> None:
    book = read_roles()
    settings = core.settings
    first_issuer = settings.public_url if settings.embedded_issuer else settings.issuers[0].issuer
    core.provision.add(PolicyService, PolicyService(core.database, core.audit, book))
    core.provision.add(MembershipService, MembershipService(core.database, core.audit, book, core.clock, first_issuer))


def _add_templates(core: Core) -> None:
    core.provision.add(TemplateService, TemplateService(core.database, core.audit, core.clock))
    core.provision.add(TemplateReading, TemplateReading(core.database))


def _add_masking(core: Core) -> None:
    platform = load_rules(PLATFORM_RULES.read_text(encoding="utf-8"))
    wrapper = KeyWrapper(load_or_make_wrapping_key(core.settings.keys / WRAPPING_KEY))
    core.provision.add(MaskingService, MaskingService(core.database, core.audit, core.clock, platform, wrapper))
