"""The console's sign-in at an external issuer: what of its answers is believed, and what a forger of one would need."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from sqlalchemy import select

from control_plane.foundation.database import NO_TENANT
from control_plane.identity.discovery import Discovery
from control_plane.identity.jwks import RemoteKeys
from control_plane.identity.relying_party.back_channel import BackChannel
from control_plane.identity.relying_party.clients import HttpRedemption, SignInIssuer, SignInIssuers
from control_plane.identity.relying_party.code_flow import Attempt, CodeFlow, SignInRefused
from control_plane.identity.relying_party.id_tokens import ID_TOKEN_TYPES, LOGOUT_AGE, LOGOUT_EVENT
from control_plane.identity.sessions import Sessions
from control_plane.identity.signed_claims import BadToken, IssuerPolicy
from control_plane.identity.tables import SessionRow
from tests.builders.audit_trail import BreakableTrail, entries
from tests.builders.database import sqlite_database
from tests.builders.hostile_issuer import endless, hostile_issuer, redirecting, verbatim

CLIENT = "console"


@pytest.fixture
def hostile():
    with hostile_issuer() as served:
        yield served


@pytest.fixture
async def issuer(hostile, clock):
    async with httpx.AsyncClient() as http:
        discovery = Discovery(hostile.url, http, clock)
        keys = RemoteKeys(hostile.url, None, http, clock, discovery)
        yield SignInIssuer(
            name="work",
            label="Work",
            issuer=hostile.url,
            client_id=CLIENT,
            scopes=("openid",),
            policy=IssuerPolicy(hostile.url, CLIENT, ("ES256",), ID_TOKEN_TYPES, keys),
            discovery=discovery,
            redemption=HttpRedemption(discovery, http, CLIENT, "a secret: with % signs"),
            callback="https://probegate.example/console/callback/work",
            after_logout="https://probegate.example/console/signed-out",
        )


@pytest.fixture
def flow(issuer, clock):
    return CodeFlow(SignInIssuers([issuer]), clock)


@pytest.fixture
async def begun(flow, issuer):
    address, attempt = await flow.begin(issuer, "/console/acme/templates")
    return dict(parse_qsl(urlsplit(address).query)), attempt


@pytest.fixture
async def database(tmp_path):
    async with sqlite_database(tmp_path) as database:
        yield database


@pytest.fixture
def sessions(database, clock):
    return Sessions(database, clock, secure=True)


@pytest.fixture
def channel(sessions, database, clock):
    return BackChannel(sessions, database, BreakableTrail(database, clock), clock)


def id_token(hostile, clock, attempt, **changes):
    given = {"aud": CLIENT, "nonce": attempt.nonce, "sid": "s-1", "auth_time": int(clock.now().timestamp())}
    claims = hostile.claims(clock.now().timestamp(), **{**given, **changes})
    return hostile.sign(claims, typ="JWT")


async def answered(flow, issuer, hostile, attempt, token, **changes):
    hostile.answers["/token"] = {"access_token": "opaque", "token_type": "Bearer", "id_token": token}
    answer = {"code": "c", "state": attempt.state, "iss": hostile.url, **changes}
    return await flow.finish(issuer, attempt, {name: value for name, value in answer.items() if value is not None})


async def test_the_browser_is_sent_with_state_nonce_and_a_challenge(begun, issuer):
    asked, attempt = begun

    assert (asked["state"], asked["nonce"], asked["redirect_uri"]) == (attempt.state, attempt.nonce, issuer.callback)
    assert asked["code_challenge_method"] == "S256"
    assert attempt.verifier not in asked.values()


async def test_an_honest_answer_is_a_person_with_groups(flow, issuer, hostile, begun, clock):
    token = id_token(hostile, clock, begun[1], groups=["payments"], acr="mfa")
    person = await answered(flow, issuer, hostile, begun[1], token)

    assert (person.token.subject, person.token.groups, person.token.context_class) == ("alice", {"payments"}, "mfa")
    assert person.issuer_session == "s-1"


async def test_the_code_is_redeemed_with_verifier_and_secret_and_nothing_of_it_is_in_an_address(
    flow, issuer, hostile, begun, clock
):
    await answered(flow, issuer, hostile, begun[1], id_token(hostile, clock, begun[1]))

    assert begun[1].verifier in hostile.forms[0]
    assert not any("secret" in path or "code" in path for path in hostile.asked)


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "another"},
        {"state": None},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"code": None},
        {"code": ""},
        {"error": "access_denied", "code": None},
    ],
)
async def test_an_answer_to_another_question_is_refused_before_the_code_is_spent(
    flow, issuer, hostile, begun, clock, changes
):
    with pytest.raises(SignInRefused):
        await answered(flow, issuer, hostile, begun[1], id_token(hostile, clock, begun[1]), **changes)

    assert hostile.forms == []


async def test_an_attempt_at_another_issuer_is_not_finished_here(flow, issuer, hostile, begun, clock):
    """Mix-up (RFC 9700, 4.4): the honest issuer's code must not be taken to the attacker's token endpoint."""
    with pytest.raises(SignInRefused):
        await answered(flow, issuer, hostile, replace(begun[1], issuer="other"), id_token(hostile, clock, begun[1]))
    with pytest.raises(SignInRefused):
        await flow.finish(issuer, None, {"code": "c", "state": begun[1].state, "iss": hostile.url})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"nonce": "another"}, "wrong_nonce"),
        ({"nonce": None}, "wrong_nonce"),
        ({"aud": "another"}, "wrong_audience"),
        ({"aud": [CLIENT, "another"]}, "wrong_party"),
        ({"aud": [CLIENT, "another"], "azp": "another"}, "wrong_party"),
        ({"azp": "another"}, "wrong_party"),
        ({"iss": "https://evil.example"}, "unknown_issuer"),
        ({"sub": None}, "bad_subject"),
        ({"exp": 1}, "expired"),
        ({"events": {LOGOUT_EVENT: {}}}, "wrong_type"),
    ],
)
async def test_an_id_token_that_was_not_made_for_this_sign_in_is_refused(
    flow, issuer, hostile, begun, clock, changes, why
):
    token = id_token(hostile, clock, begun[1], **changes)
    with pytest.raises(SignInRefused, match=why) as refused:
        await answered(flow, issuer, hostile, begun[1], token)

    assert token[:30] not in refused.value.detail


@pytest.mark.parametrize("kind", ["at+jwt", "logout+jwt"])
async def test_no_other_token_of_the_issuer_is_an_id_token(flow, issuer, hostile, begun, clock, kind):
    claims = hostile.claims(clock.now().timestamp(), aud=CLIENT, nonce=begun[1].nonce)

    with pytest.raises(SignInRefused, match="wrong_type"):
        await answered(flow, issuer, hostile, begun[1], hostile.sign(claims, typ=kind))


async def test_who_must_sign_in_anew_has_to(flow, issuer, hostile, clock):
    asked, attempt = await flow.begin(issuer, "/console", max_age=60, acr_values="mfa")
    assert {"max_age=60", "acr_values=mfa"} <= set(urlsplit(asked).query.split("&"))
    old = int((clock.now() - timedelta(minutes=5)).timestamp())

    for auth_time in (old, None):
        with pytest.raises(SignInRefused, match="too_old"):
            await answered(flow, issuer, hostile, attempt, id_token(hostile, clock, attempt, auth_time=auth_time))
    await answered(flow, issuer, hostile, attempt, id_token(hostile, clock, attempt))


@pytest.mark.parametrize(
    "hostility",
    [
        endless,
        redirecting("https://evil.example/"),
        verbatim(b"{}"),
        verbatim(b"[]"),
        verbatim(b'{"id_token": 7}'),
        verbatim(b'{"error": "invalid_grant"}', 400),
        verbatim(b'{"id_token": "' + b"x" * 20_000 + b'"}'),
        verbatim(b'{"id_token": "a.b.c", "id_token": "d.e.f"}'),
    ],
)
async def test_a_hostile_token_endpoint_gives_no_session(flow, issuer, hostile, begun, hostility):
    hostile.answers["/token"] = hostility

    with pytest.raises(Exception, match=r"sign in again|not one that this server accepts"):
        await flow.finish(issuer, begun[1], {"code": "c", "state": begun[1].state, "iss": hostile.url})


@pytest.mark.parametrize(
    "cookie", ["", "x", "e30=", "W10=", "bnVsbA==", "eyJpc3N1ZXIiOiA3fQ==", "é", "A" * 5000, "W1tbW1s="]
)
def test_a_forged_attempt_is_none(cookie):
    assert Attempt.from_cookie(cookie) is None


# --- the back channel ------------------------------------------------------------------------------------------------


async def signed_in(flow, issuer, hostile, clock, sessions, **changes):
    _, attempt = await flow.begin(issuer, "/console")
    token = id_token(hostile, clock, attempt, **changes)
    await sessions.open(await answered(flow, issuer, hostile, attempt, token))


def logout_token(hostile, clock, **changes):
    header = {"typ": changes.pop("typ", "logout+jwt")}
    given = {"aud": CLIENT, "sid": "s-1", "jti": "j-1", "events": {LOGOUT_EVENT: {}}}
    return hostile.sign(hostile.claims(clock.now().timestamp(), **{**given, **changes}), **header)


async def open_sessions(database):
    async with database.transaction(NO_TENANT) as session:
        return sorted((await session.scalars(select(SessionRow.issuer_session))).all())


async def test_the_issuer_ends_one_sign_in(flow, issuer, hostile, clock, sessions, channel, database):
    for sid in ("s-1", "s-2"):
        await signed_in(flow, issuer, hostile, clock, sessions, sid=sid)

    assert await channel.obey(issuer, logout_token(hostile, clock)) == 1
    assert await open_sessions(database) == ["s-2"]
    assert (await entries(database, "platform"))[-1]["detail"] == {"by": "issuer", "sessions": 1}


async def test_without_a_session_it_ends_all_of_that_person(flow, issuer, hostile, clock, sessions, channel, database):
    for sid, sub in (("s-1", "alice"), ("s-2", "alice"), ("s-3", "bob")):
        await signed_in(flow, issuer, hostile, clock, sessions, sid=sid, sub=sub)

    assert await channel.obey(issuer, logout_token(hostile, clock, sid=None)) == 2
    assert await open_sessions(database) == ["s-3"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"typ": "JWT"}, "wrong_type"),
        ({"typ": None}, "wrong_type"),
        ({"events": None}, "no_logout_event"),
        ({"events": {}}, "no_logout_event"),
        ({"events": {LOGOUT_EVENT: True}}, "no_logout_event"),
        ({"events": [LOGOUT_EVENT]}, "no_logout_event"),
        ({"nonce": "n"}, "nonce"),
        ({"sid": None, "sub": None}, "incomplete"),
        ({"jti": None}, "incomplete"),
        ({"jti": "x" * 300}, "bad_claim"),
        ({"aud": "another"}, "wrong_audience"),
        ({"iss": "https://evil.example"}, "unknown_issuer"),
        ({"iat": None}, "too_old"),
        ({"exp": None}, "expired"),
    ],
)
async def test_what_is_no_logout_token_ends_nothing(
    flow, issuer, hostile, clock, sessions, channel, database, changes, why
):
    await signed_in(flow, issuer, hostile, clock, sessions)

    with pytest.raises(BadToken) as refused:
        await channel.obey(issuer, logout_token(hostile, clock, **changes))
    assert refused.value.reason == why
    assert await open_sessions(database) == ["s-1"]


async def test_a_logout_token_is_obeyed_once(flow, issuer, hostile, clock, sessions, channel):
    token = logout_token(hostile, clock)
    await channel.obey(issuer, token)
    await signed_in(flow, issuer, hostile, clock, sessions)

    with pytest.raises(BadToken, match="before"):
        await channel.obey(issuer, token)


async def test_an_old_logout_token_is_not_obeyed(issuer, hostile, clock, channel):
    token = logout_token(hostile, clock)
    clock.advance(LOGOUT_AGE + timedelta(seconds=1))

    with pytest.raises(BadToken, match="old"):
        await channel.obey(issuer, token)


async def test_an_id_token_signs_nobody_out(flow, issuer, hostile, clock, sessions, channel, database, begun):
    await signed_in(flow, issuer, hostile, clock, sessions)

    with pytest.raises(BadToken):
        await channel.obey(issuer, id_token(hostile, clock, begun[1]))
    assert await open_sessions(database) == ["s-1"]


async def test_signing_out_at_the_issuer_holds_no_token(flow, issuer, hostile):
    address = urlsplit(await flow.end_session(issuer))

    assert address.path == "/logout"
    assert dict(parse_qsl(address.query)) == {
        "client_id": CLIENT,
        "post_logout_redirect_uri": issuer.after_logout,
    }


async def test_an_issuer_that_does_not_answer_keeps_nobody_signed_in(flow, issuer, hostile):
    hostile.answers["/.well-known/openid-configuration"] = verbatim(b"", 500)

    assert await flow.end_session(issuer) == ""
