from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request

from control_plane.accounts.personal_tokens import PersonalTokenService
from control_plane.accounts.service_accounts import ServiceAccounts
from control_plane.accounts.trust_rules import TrustRules
from control_plane.foundation.clock import ManualClock
from control_plane.foundation.database import Database
from control_plane.foundation.identifiers import TenantId
from control_plane.foundation.provision import Provision
from control_plane.identity.credentials import Credentials
from control_plane.identity.issuer import routes
from control_plane.identity.issuer.embedded import EmbeddedIssuer
from control_plane.identity.issuer.exchange import Exchange
from control_plane.identity.jwks import RemoteKeys
from control_plane.identity.model import Principal
from control_plane.identity.personal_tokens import PersonalTokens
from control_plane.identity.service import Identity
from control_plane.identity.sessions import Sessions
from control_plane.identity.signed_claims import IssuerPolicy
from control_plane.identity.token_verifier import TokenVerifier
from control_plane.policy.index import base_of
from control_plane.policy.membership import MembershipService
from control_plane.policy.model import Grant, Permission, Resource
from control_plane.policy.proposals import Proposals
from control_plane.policy.roles import read_roles
from control_plane.policy.service import PolicyService
from tests.builders.audit_trail import BreakableTrail
from tests.builders.hostile_issuer import HostileIssuer, hostile_issuer
from tests.builders.principals import ISSUER, principal

ACME = TenantId("acme")
GLOBEX = TenantId("globex")


@dataclass
class World:
    """`acme`, which alice administers and dora develops in, with the server's own issuer and one of pipelines."""

    database: Database
    trail: BreakableTrail
    clock: ManualClock
    policy: PolicyService
    membership: MembershipService
    accounts: ServiceAccounts
    rules: TrustRules
    tokens: PersonalTokenService
    identity: Identity
    pipelines: HostileIssuer
    http: httpx.AsyncClient

    async def grant(self, permission: Permission, who: str = "alice", tenant: TenantId = ACME) -> Grant:
        return await self.ask(principal(who), permission, tenant)

    async def ask(self, who: Principal, permission: Permission, tenant: TenantId = ACME) -> Grant:
        return await self.policy.require(who, permission, Resource(tenant, permission.partition(":")[0], "*"))

    async def who(self, token: str) -> Principal:
        headers = [(b"authorization", f"Bearer {token}".encode())]
        return await self.identity.authenticate(Request({"type": "http", "method": "GET", "headers": headers}))

    async def token(self, **form: str) -> httpx.Response:
        return await self.http.post("/oauth/token", data=form)


@pytest.fixture
async def world(database: Database, tmp_path) -> AsyncIterator[World]:
    clock = ManualClock(datetime(2026, 11, 24, 12, tzinfo=UTC))
    trail = BreakableTrail(database, clock)
    book = read_roles()
    policy = PolicyService(database, trail, book, clock)
    membership = MembershipService(
        database, trail, base_of(book), clock, ISSUER, Proposals(database, trail, clock, policy)
    )
    for tenant in (ACME, GLOBEX):
        await membership.unsafe_create_tenant(tenant, "", "alice")
    await membership.unsafe_put_member(ACME, "dora", ["developer", "reviewer"])
    issuer = EmbeddedIssuer(ISSUER, tmp_path / "keys", database, clock, people=False)
    async with httpx.AsyncClient() as outside:
        with hostile_issuer() as pipelines:
            trusted = IssuerPolicy(
                pipelines.url, "x", ("ES256",), ("jwt",), RemoteKeys(pipelines.url, None, outside, clock)
            )
            exchange = Exchange([trusted], issuer.clients, issuer.tokens, database, trail, clock)
            app = FastAPI()
            app.state.provision = Provision()
            app.state.provision.add(EmbeddedIssuer, issuer)
            app.state.provision.add(Exchange, exchange)
            app.include_router(routes.programs)
            verifier = TokenVerifier([issuer.policy()], clock)
            credentials = Credentials(verifier, PersonalTokens(database, clock), issuer.clients, ISSUER)
            sessions = Sessions(database, clock, secure=False)
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ISSUER) as http:
                yield World(
                    database,
                    trail,
                    clock,
                    policy,
                    membership,
                    ServiceAccounts(database, trail, clock, ISSUER),
                    TrustRules(database, trail, clock, exchange.issuers),
                    PersonalTokenService(database, trail, clock, timedelta(days=90)),
                    Identity(credentials, sessions, database, trail, clock),
                    pipelines,
                    http,
                )
