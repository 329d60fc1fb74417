"""Settings -> what stands on the database and the key files alone: enough for the operator's commands, and the base of a server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import httpx

from control_plane.accounts.personal_tokens import PersonalTokenService
from control_plane.accounts.service_accounts import ServiceAccounts
from control_plane.accounts.trust_rules import TrustRules
from control_plane.audit.reading import AuditReading
from control_plane.audit.recorded_decisions import LoggedDecisions
from control_plane.audit.service import AuditLog
from control_plane.bootstrap.identity import add_identity
from control_plane.bootstrap.schema import make_ready
from control_plane.delivery.enrolment import Enrolment
from control_plane.delivery.pki import CertificateAuthority, load_or_create
from control_plane.foundation.clock import Clock, SystemClock
from control_plane.foundation.database import Database
from control_plane.foundation.provision import Provision
from control_plane.identity.issuer.exchange import Exchange
from control_plane.policy.changing import PolicyChanges
from control_plane.policy.index import base_of
from control_plane.policy.membership import MembershipService
from control_plane.policy.persons import PersonLinks
from control_plane.policy.proposals import Proposals
from control_plane.policy.questions import PolicyQuestions
from control_plane.policy.quotas import Quota, Quotas
from control_plane.policy.request_rates import RequestRates
from control_plane.policy.roles import read_roles
from control_plane.policy.service import PolicyService
from control_plane.policy.tenants import TenantService
from control_plane.settings import Settings
from control_plane.signing.key_file import KeyFile
from control_plane.templates.tallies import count_templates
from control_plane.tracepoints.tallies import count_alive, count_running

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
        add_identity(settings, core.provision, database, clock, audit, http)
        _add_policy(core)
        _add_tenants(core)
        _add_accounts(core)
        yield core


def _add_tenants(core: Core) -> None:
    limits = {Quota(name): limit for name, limit in core.settings.quotas.items()}
    quotas = Quotas(limits, {Quota.ACTIVE_TRACEPOINTS: count_alive, Quota.TEMPLATES: count_templates})
    core.provision.add(Quotas, quotas)
    core.provision.add(RequestRates, RequestRates(core.database, quotas))
    core.provision.add(TenantService, TenantService(core.database, core.audit, core.clock, quotas, count_running))


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


def _add_accounts(core: Core) -> None:
    database, audit, clock, settings = core.database, core.audit, core.clock, core.settings
    core.provision.add(ServiceAccounts, ServiceAccounts(database, audit, clock, settings.public_url))
    core.provision.add(TrustRules, TrustRules(database, audit, clock, core.provision.get(Exchange).issuers))
    tokens = PersonalTokenService(database, audit, clock, settings.max_token_life)
    core.provision.add(PersonalTokenService, tokens)
