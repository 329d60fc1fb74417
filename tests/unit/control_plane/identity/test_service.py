"""authenticate: a principal from a token or a session, and its entry in the platform's log."""

from __future__ import annotations

from dataclasses import replace

import pytest
from joserfc.jwk import KeySet
from sqlalchemy import select
from starlette.requests import Request

from control_plane.foundation.audit_trail import AuditAction
from control_plane.foundation.database import NO_TENANT
from control_plane.foundation.errors import AuditUnavailable, Unauthenticated
from control_plane.identity.model import PrincipalKind
from control_plane.identity.service import REFUSALS_PER_MINUTE, Identity
from control_plane.identity.sessions import SESSION_LIFE, Sessions, SignedIn
from control_plane.identity.tables import SessionRow
from control_plane.identity.token_verifier import IssuerPolicy, TokenVerifier, VerifiedToken
from tests.builders import issuer
from tests.builders.audit_trail import BreakableTrail, actions, entries

KEY = issuer.key()


class Keys:
    async def keys(self, key_id):
        return KeySet.import_key_set(issuer.public_set(KEY))


@pytest.fixture
def trail(database, clock):
    return BreakableTrail(database, clock)


@pytest.fixture
def sessions(database, clock):
    return Sessions(database, clock, secure=False)


@pytest.fixture
def identity(database, trail, sessions, clock):
    policy = IssuerPolicy(issuer.ISSUER, "probegate", ("ES256",), ("at+jwt",), Keys())
    return Identity(TokenVerifier([policy], clock), sessions, database, trail, clock)


def request(method="GET", body=b"", **headers):
    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]

    async def receive():
        return {"type": "http.request", "body": body}

    return Request({"type": "http", "method": method, "path": "/", "query_string": b"", "headers": sent}, receive)


def bearer(clock, **changes):
    return request(authorization="Bearer " + issuer.sign(KEY, issuer.claims(clock.now().timestamp(), **changes)))


async def test_a_token_becomes_a_principal(identity, clock):
    principal = await identity.authenticate(bearer(clock))

    assert (principal.id, principal.kind) == (f"{issuer.ISSUER}|alice", PrincipalKind.PERSON)


async def test_a_token_whose_subject_is_its_client_is_a_service(identity, clock):
    principal = await identity.authenticate(bearer(clock, sub="acme.ci", client_id="acme.ci"))

    assert principal.kind is PrincipalKind.SERVICE


async def test_the_first_use_of_a_token_is_in_the_log_once(identity, clock, database):
    same = bearer(clock)
    for _ in range(3):
        await identity.authenticate(same)

    assert await actions(database, "platform") == [("identity.accept", "success")]


async def test_no_log_no_principal(identity, clock, trail):
    trail.broken = {AuditAction.IDENTITY_ACCEPT}

    for _ in range(2):
        with pytest.raises(AuditUnavailable):
            await identity.authenticate(bearer(clock))


async def test_the_log_holds_no_token(identity, clock, database):
    sent = bearer(clock)
    await identity.authenticate(sent)

    assert sent.headers["authorization"].split()[1] not in str(await entries(database, "platform"))


async def test_a_flood_of_refusals_fills_no_log(identity, database, clock):
    for _ in range(REFUSALS_PER_MINUTE + 20):
        with pytest.raises(Unauthenticated):
            await identity.authenticate(request(authorization="Bearer x"))
    clock.advance(SESSION_LIFE)
    with pytest.raises(Unauthenticated):
        await identity.authenticate(request(authorization="Bearer x"))

    logged = await entries(database, "platform")
    assert len(logged) == REFUSALS_PER_MINUTE + 1
    assert logged[-1]["detail"]["left_out_before"] == 20


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Bearer ", "x"])
async def test_another_scheme_is_refused(identity, header):
    with pytest.raises(Unauthenticated):
        await identity.authenticate(request(authorization=header))


async def test_without_credentials_it_says_how_to_get_some(identity):
    with pytest.raises(Unauthenticated, match="probegate login"):
        await identity.authenticate(request())


async def open_session(identity, clock, replacing="", **changes):
    person = VerifiedToken(
        issuer=issuer.ISSUER,
        subject="alice",
        client="console",
        display_name="Alice",
        authenticated_at=clock.now(),
        expires_at=clock.now(),
        scopes=frozenset(),
        groups=frozenset({"payments"}),
        context_class="mfa",
    )
    return await identity.open_session(SignedIn(replace(person, **changes), "sid-1"), replacing)


async def test_a_session_reads_by_its_cookie_alone(identity, clock, sessions):
    cookie = await open_session(identity, clock)

    assert (await identity.authenticate(request(cookie=f"{sessions.cookie}={cookie}"))).subject == "alice"


async def test_a_session_changes_only_with_its_csrf_token(identity, clock, sessions):
    cookie = f"{sessions.cookie}={await open_session(identity, clock)}"
    session = await sessions.find(request(cookie=cookie))
    form = "application/x-www-form-urlencoded"

    with pytest.raises(Unauthenticated):
        await identity.authenticate(request("POST", cookie=cookie))
    with pytest.raises(Unauthenticated):
        await identity.authenticate(request("POST", b"csrf_token=wrong", cookie=cookie, content_type=form))
    body = f"csrf_token={session.csrf_token}".encode()
    assert (await identity.authenticate(request("POST", body, cookie=cookie, content_type=form))).subject == "alice"
    assert (
        await identity.authenticate(request("POST", cookie=cookie, x_csrf_token=session.csrf_token))
    ).subject == "alice"


async def test_a_session_ends(identity, clock, sessions):
    cookie = f"{sessions.cookie}={await open_session(identity, clock)}"
    clock.advance(SESSION_LIFE)

    with pytest.raises(Unauthenticated):
        await identity.authenticate(request(cookie=cookie))


async def test_a_closed_session_is_gone(identity, clock, sessions):
    signed_in = request(cookie=f"{sessions.cookie}={await open_session(identity, clock)}")
    await sessions.close(signed_in)

    with pytest.raises(Unauthenticated):
        await identity.authenticate(signed_in)


async def test_a_session_says_how_and_with_which_groups_its_person_signed_in(identity, clock, sessions):
    cookie = f"{sessions.cookie}={await open_session(identity, clock)}"
    principal = await identity.authenticate(request(cookie=cookie))

    assert (principal.groups, principal.context_class) == ({"payments"}, "mfa")
    assert principal.authenticated_at == clock.now()


async def test_a_sign_in_ends_the_session_that_the_browser_came_with(identity, clock, sessions):
    """Session fixation: a cookie that somebody else may know is not the one that becomes signed in."""
    before = await open_session(identity, clock)
    after = await open_session(identity, clock, replacing=before)

    assert after != before
    assert await sessions.find(request(cookie=f"{sessions.cookie}={before}")) is None


async def test_no_log_no_session(identity, clock, trail, sessions, database):
    trail.broken = {AuditAction.IDENTITY_ACCEPT}

    with pytest.raises(AuditUnavailable):
        await open_session(identity, clock)
    async with database.transaction(NO_TENANT) as session:
        assert (await session.scalars(select(SessionRow))).all() == []


@pytest.mark.parametrize("claims", [{"sub": "x@clients", "azp": "x"}, {"gty": "client-credentials"}, {"idtyp": "app"}])
async def test_a_program_is_known_by_what_large_issuers_call_it(identity, clock, claims):
    assert (await identity.authenticate(bearer(clock, **claims))).kind is PrincipalKind.SERVICE
