"""The embedded issuer over its real routes: every flow, and what each must refuse."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from datetime import timedelta

import httpx
import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI

from control_plane.foundation.clock import ManualClock
from control_plane.foundation.database import Database
from control_plane.foundation.errors import Conflict, Invalid
from control_plane.foundation.identifiers import TenantId
from control_plane.foundation.provision import Provision
from control_plane.identity.issuer import routes
from control_plane.identity.issuer.clients import hash_secret
from control_plane.identity.issuer.embedded import EmbeddedIssuer
from control_plane.identity.issuer.exchange import Exchange
from control_plane.identity.issuer.store import DEVICE_LIFE, REFRESH_LIFE
from control_plane.identity.issuer.tables import ServiceAccountRow
from control_plane.identity.issuer.users import FAILURES, WINDOW
from control_plane.identity.token_verifier import TokenVerifier
from tests.builders.sign_in import query_of

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)  # the cost is argon2's own business
URL = "http://127.0.0.1:8440"
PASSWORD = "correct horse battery"
LOOPBACK = "http://127.0.0.1:5555/callback"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
ASKED = {
    "response_type": "code",
    "client_id": "probegate-cli",
    "redirect_uri": LOOPBACK,
    "scope": "openid profile offline_access",
    "state": "xyz",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}


@dataclass
class World:
    issuer: EmbeddedIssuer
    browser: httpx.AsyncClient
    clock: ManualClock
    database: Database

    async def form(self, path, fields, **query):
        page = await self.browser.get(path, params=query)
        hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page.text))
        return await self.browser.post(path, data={**hidden, **fields})

    async def authorize(self, password=PASSWORD, **changes):
        asked = {name: value for name, value in (ASKED | changes).items() if value is not None}
        return await self.form("/oauth/authorize", {"name": "alice", "password": password}, **asked)

    async def code(self, **changes):
        return query_of((await self.authorize(**changes)).headers["location"])["code"]

    async def token(self, **form):
        return await self.browser.post("/oauth/token", data={"client_id": "probegate-cli"} | form)

    async def redeem(self, code, **changes):
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": LOOPBACK, "code_verifier": VERIFIER}
        return await self.token(**{name: value for name, value in (form | changes).items() if value is not None})

    async def refresh(self, token):
        return await self.token(grant_type="refresh_token", refresh_token=token)

    async def service_account(self, name):
        row = ServiceAccountRow(
            tenant="acme",
            name=name,
            client_id=f"acme.{name}",
            secret_hash=hash_secret("its secret"),
            disabled=False,
            created_at=self.clock.now(),
            expires_at=self.clock.now() + timedelta(days=1),
        )
        async with self.database.transaction(TenantId("acme")) as session:
            session.add(row)
        return f"acme.{name}", "its secret"

    async def verify(self, token):
        return await TokenVerifier([self.issuer.policy()], self.clock).verify(token)


@pytest.fixture
async def world(database, tmp_path, clock):
    issuer = EmbeddedIssuer(URL, tmp_path / "keys", database, clock, QUICK)
    await issuer.users.add("alice", PASSWORD, "Alice")
    app = FastAPI()
    app.state.provision = Provision()
    app.state.provision.add(EmbeddedIssuer, issuer)
    app.state.provision.add(Exchange, Exchange([], issuer.clients, issuer.tokens, database, None, clock))
    app.include_router(routes.programs)
    app.include_router(routes.router)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as browser:
        yield World(issuer, browser, clock, database)


def error_of(answer):
    return answer.status_code, answer.json()["error"]


# --- authorization code ----------------------------------------------------------------------------------------------


async def test_a_code_becomes_tokens_that_the_api_believes(world):
    answer = (await world.redeem(await world.code())).json()

    token = await world.verify(answer["access_token"])
    assert (token.subject, token.display_name, token.client) == ("alice", "Alice", "probegate-cli")
    assert answer["expires_in"] == 900
    assert {"refresh_token", "id_token"} <= set(answer)


async def test_the_redirect_carries_state_and_issuer(world):
    sent = query_of((await world.authorize()).headers["location"])

    assert (sent["state"], sent["iss"]) == ("xyz", URL)


async def test_a_code_is_redeemed_once(world):
    code = await world.code()
    await world.redeem(code)

    assert error_of(await world.redeem(code)) == (400, "invalid_grant")


async def test_a_code_expires_in_a_minute(world):
    code = await world.code()
    world.clock.advance(timedelta(minutes=1))

    assert error_of(await world.redeem(code)) == (400, "invalid_grant")


@pytest.mark.parametrize(
    "changes",
    [{"code_verifier": "w" * 43}, {"code_verifier": None}, {"redirect_uri": "http://127.0.0.1:6666/callback"}],
)
async def test_a_stolen_code_is_worth_nothing_and_is_used_up_by_trying(world, changes):
    code = await world.code()

    assert (await world.redeem(code, **changes)).status_code == 400
    assert error_of(await world.redeem(code)) == (400, "invalid_grant")


@pytest.mark.parametrize(
    "changes",
    [
        {"code_challenge": None, "code_challenge_method": None},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": None},
    ],
)
async def test_without_pkce_s256_there_is_no_login_page(world, changes):
    asked = {name: value for name, value in (ASKED | changes).items() if value is not None}
    answer = await world.browser.get("/oauth/authorize", params=asked)

    assert query_of(answer.headers["location"])["error"] == "invalid_request"


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uri": "https://evil.example/callback"},
        {"redirect_uri": "http://127.0.0.1:5555/elsewhere"},
        {"redirect_uri": "http://127.0.0.1:5555/callback?x=1"},
        {"redirect_uri": "http://127.0.0.1:5555@evil.example/callback"},
        {"redirect_uri": "http://localhost:5555/callback"},
        {"redirect_uri": None},
        {"client_id": "nobody"},
        {"client_id": None},
    ],
)
async def test_nobody_is_sent_to_an_address_that_is_not_the_clients(world, changes):
    asked = {name: value for name, value in (ASKED | changes).items() if value is not None}
    page = await world.browser.get("/oauth/authorize", params=asked)
    posted = await world.browser.post("/oauth/authorize", data=asked | {"name": "alice", "password": PASSWORD})

    assert [answer.status_code for answer in (page, posted)] == [400, 400]
    assert "location" not in page.headers
    assert "location" not in posted.headers


async def test_a_foreign_page_cannot_post_the_form(world):
    answer = await world.browser.post("/oauth/authorize", data=ASKED | {"name": "alice", "password": PASSWORD})

    assert "location" not in answer.headers
    assert "The form has expired" in answer.text


async def test_what_the_client_sent_is_escaped_in_the_page(world):
    page = await world.browser.get("/oauth/authorize", params=ASKED | {"state": '"><script>alert(1)</script>'})

    assert "<script>" not in page.text


# --- passwords -------------------------------------------------------------------------------------------------------


async def test_an_unknown_name_and_a_wrong_password_get_the_same_answer(world):
    wrong = await world.authorize(password="wrong")
    unknown = await world.form("/oauth/authorize", {"name": "mallory", "password": "wrong"}, **ASKED)

    assert (wrong.status_code, unknown.status_code) == (401, 401)
    assert wrong.text == unknown.text


async def test_guessing_a_password_must_wait_also_when_it_is_right_at_last(world):
    for _ in range(FAILURES):
        await world.authorize(password="wrong")
    assert (await world.authorize()).status_code == 429

    world.clock.advance(WINDOW)
    assert (await world.authorize()).status_code == 302


@pytest.mark.parametrize("name", ["", "A", "Alice", "a b", "a|b", "x" * 65, "../x"])
async def test_a_users_name_is_plain(world, name):
    with pytest.raises(Invalid):
        await world.issuer.users.add(name, PASSWORD)


async def test_a_name_is_taken_once_and_a_short_password_refused(world):
    with pytest.raises(Conflict):
        await world.issuer.users.add("alice", PASSWORD)
    with pytest.raises(Invalid):
        await world.issuer.users.add("bob", "short")


# --- refresh ---------------------------------------------------------------------------------------------------------


async def test_a_refresh_token_is_replaced_at_each_use(world):
    first = (await world.redeem(await world.code())).json()["refresh_token"]
    second = (await world.refresh(first)).json()

    assert second["refresh_token"] != first
    assert (await world.verify(second["access_token"])).subject == "alice"


async def test_a_refresh_token_shown_twice_kills_its_family(world):
    first = (await world.redeem(await world.code())).json()["refresh_token"]
    second = (await world.refresh(first)).json()["refresh_token"]

    assert error_of(await world.refresh(first)) == (400, "invalid_grant")
    assert error_of(await world.refresh(second)) == (400, "invalid_grant")


async def test_rotation_does_not_extend_the_sign_in(world):
    token = (await world.redeem(await world.code())).json()["refresh_token"]
    world.clock.advance(REFRESH_LIFE - timedelta(seconds=1))
    token = (await world.refresh(token)).json()["refresh_token"]
    world.clock.advance(timedelta(seconds=1))

    assert error_of(await world.refresh(token)) == (400, "invalid_grant")


# --- device ----------------------------------------------------------------------------------------------------------


async def begin(world):
    form = {"client_id": "probegate-cli", "scope": "openid offline_access"}
    return (await world.browser.post("/oauth/device_authorization", data=form)).json()


async def poll(world, begun):
    return await world.token(grant_type=DEVICE_GRANT, device_code=begun["device_code"])


async def answer_code(world, code, answer="approve", password=PASSWORD):
    return await world.form(
        "/oauth/device", {"user_code": code, "name": "alice", "password": password, "answer": answer}
    )


async def test_a_device_waits_for_its_person_and_then_acts_as_them(world):
    begun = await begin(world)
    assert error_of(await poll(world, begun)) == (400, "authorization_pending")

    assert (await answer_code(world, begun["user_code"].lower().replace("-", " "))).status_code == 200

    token = await world.verify((await poll(world, begun)).json()["access_token"])
    assert token.subject == "alice"


async def test_a_device_that_polls_too_fast_is_told_to_slow_down(world):
    begun = await begin(world)
    await poll(world, begun)
    assert error_of(await poll(world, begun)) == (400, "slow_down")

    world.clock.advance(timedelta(seconds=5))
    assert error_of(await poll(world, begun)) == (400, "slow_down"), "the interval has grown to ten seconds"
    world.clock.advance(timedelta(seconds=15))
    assert error_of(await poll(world, begun)) == (400, "authorization_pending")


async def test_a_denied_device_gets_nothing(world):
    begun = await begin(world)
    await answer_code(world, begun["user_code"], answer="deny")

    assert error_of(await poll(world, begun)) == (400, "access_denied")


async def test_a_device_code_gives_tokens_once(world):
    begun = await begin(world)
    await answer_code(world, begun["user_code"])
    await poll(world, begun)

    assert (await poll(world, begun)).status_code == 400


async def test_a_device_code_expires(world):
    begun = await begin(world)
    await answer_code(world, begun["user_code"])
    world.clock.advance(DEVICE_LIFE)

    assert error_of(await poll(world, begun)) == (400, "expired_token")


async def test_the_address_with_the_code_approves_nothing_by_itself(world):
    begun = await begin(world)
    page = await world.browser.get(begun["verification_uri_complete"])

    assert begun["user_code"] in page.text
    assert error_of(await poll(world, begun)) == (400, "authorization_pending")


@pytest.mark.parametrize(("code", "password", "status"), [("BBBB-BBBB", PASSWORD, 404), (None, "wrong", 401)])
async def test_a_wrong_code_or_password_connects_no_device(world, code, password, status):
    begun = await begin(world)

    assert (await answer_code(world, code or begun["user_code"], password=password)).status_code == status
    assert error_of(await poll(world, begun)) == (400, "authorization_pending")


async def test_an_answer_that_is_neither_yes_nor_no_is_no_consent(world):
    begun = await begin(world)
    await answer_code(world, begun["user_code"], answer="0")

    assert error_of(await poll(world, begun)) == (400, "authorization_pending")


# --- service accounts ------------------------------------------------------------------------------------------------


async def test_a_service_account_is_its_own_subject(world):
    client_id, secret = await world.service_account("ci")
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
    answer = (await world.browser.post("/oauth/token", data=form)).json()

    token = await world.verify(answer["access_token"])
    assert (token.subject, token.client) == ("acme.ci", "acme.ci")
    assert "refresh_token" not in answer


@pytest.mark.parametrize("secret", ["", "wrong"])
async def test_a_service_account_needs_its_secret(world, secret):
    client_id, _ = await world.service_account("ci")
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}

    assert (await world.browser.post("/oauth/token", data=form)).status_code in {400, 401}


async def test_the_command_line_cannot_be_its_own_subject(world):
    form = {"grant_type": "client_credentials", "client_id": "probegate-cli", "client_secret": ""}

    assert (await world.browser.post("/oauth/token", data=form)).status_code in {400, 401}


@pytest.mark.parametrize("grant", ["password", "", "implicit", "urn:ietf:params:oauth:grant-type:jwt-bearer"])
async def test_other_grants_do_not_exist(world, grant):
    assert error_of(await world.token(grant_type=grant, username="alice", password=PASSWORD))[0] == 400


# --- what is published -----------------------------------------------------------------------------------------------


async def test_the_published_keys_are_public(world):
    published = (await world.browser.get("/oauth/jwks")).json()["keys"]

    assert all("d" not in key for key in published)


async def test_the_key_file_is_the_owners_only_and_stays(world, tmp_path):
    path = tmp_path / "keys" / "issuer-es256.json"
    before = path.read_text()
    EmbeddedIssuer(URL, tmp_path / "keys", None, world.clock)

    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() == before
