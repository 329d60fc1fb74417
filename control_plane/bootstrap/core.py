"""Settings -> what stands on the database and the key files alone: enough for the operator's commands, and the base of a server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import httpx

from control_plane.audit.reading import AuditReading
from control_plane.audit.recorded_decisions import LoggedDecisions
from control_plane.audit.service import AuditLog
from control_plane.bootstrap.schema import make_ready
from control_plane.delivery.enrolment import Enrolment
from control_plane.delivery.pki import CertificateAuthority, load_or_create
from control_plane.foundation.clock import Clock, SystemClock
from control_plane.foundation.database import Database
from control_plane.foundation.provision import Provision
from control_plane.identity.issuer.embedded import EmbeddedIssuer
from control_plane.identity.jwks import RemoteKeys
from control_plane.identity.service import Identity
from control_plane.identity.sessions import Sessions
from control_plane.identity.token_verifier import IssuerPolicy, TokenVerifier
from control_plane.policy.changing import PolicyChanges
from control_plane.policy.index import base_of
from control_plane.policy.membership import MembershipService
from control_plane.policy.persons import PersonLinks
from control_plane.policy.proposals import Proposals
from control_plane.policy.questions import PolicyQuestions
from control_plane.policy.roles import read_roles
from control_plane.policy.service import PolicyService
from control_plane.settings import Settings
from control_plane.signing.key_file import KeyFile

AUDIT_KEY: Final = "audit-ed25519.key"


@dataclass(frozen=True)
class Core:
    """What stands on the database and the key files alone: enough for the operator's commands."""

    settings: Settings
    clock: Clock
    database: Database
    audit: AuditLog
    provision: Provision
    authority: CertificateAuthority
    http: httpx.AsyncClient


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Core]:
    """The database, the log, identity and policy. Raises WrongSchema, BadKeyFile, BadAuthority, BadRoles."""
    async with AsyncExitStack() as stack:
        settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        database = Database(settings.database_url)
        stack.push_async_callback(database.close)
        await make_ready(database)
        clock = SystemClock()
        audit = AuditLog(database, clock, KeyFile(settings.keys / AUDIT_KEY).load_or_create())
        http = await stack.enter_async_context(httpx.AsyncClient())
        authority = load_or_create(settings.state / "pki", clock)
        core = Core(settings, clock, database, audit, Provision(), authority, http)
        core.provision.add(Database, database)
        core.provision.add(AuditReading, AuditReading(database, audit))
        core.provision.add(Enrolment, Enrolment(database, audit, clock, authority))
        _add_identity(core)
        _add_policy(core)
        yield core


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
    base = base_of(book)
    policy = PolicyService(core.database, core.audit, book, core.clock)
    proposals = Proposals(core.database, core.audit, core.clock, policy)
    core.provision.add(PolicyService, policy)
    core.provision.add(Proposals, proposals)
    core.provision.add(PersonLinks, PersonLinks(core.database, core.audit, core.clock))
    core.provision.add(PolicyChanges, PolicyChanges(core.database, base, core.clock, proposals))
    core.provision.add(PolicyQuestions, PolicyQuestions(core.database, base, core.clock, LoggedDecisions()))
    membership = MembershipService(core.database, core.audit, base, core.clock, first_issuer, proposals)
    core.provision.add(MembershipService, membership)
