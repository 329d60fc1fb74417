"""The console in a browser without scripts: sign-in, review, and what a foreign page or a wrong hand cannot do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import pytest

from control_plane.bootstrap.server import built
from control_plane.identity.issuer.embedded import EmbeddedIssuer
from control_plane.policy.membership import MembershipService
from control_plane.policy.model import Permission
from control_plane.settings import read_settings
from control_plane.templates.service import TemplateService
from tests.builders.principals import grant, principal
from tests.builders.sign_in import PASSWORD

URL = "http://127.0.0.1:8440"
TEMPLATE = """\
apiVersion: probegate/v1
kind: ProbeTemplate
metadata: {name: money-sum, description: "<script>alert(1)</script>"}
spec:
  target: {service: checkoutservice, language: go}
  probe: {function: money.Sum, at: entry, capture: {units: l.Units}}
  table: sums
"""
pytestmark = [pytest.mark.peer, pytest.mark.xdist_group("console")]


@dataclass
class Browser:
    http: httpx.AsyncClient

    async def sign_in(self, name, password=PASSWORD):
        begun = await self.http.get("/console/sign-in")
        login = await self.http.get(begun.headers["location"])
        hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', login.text))
        answer = await self.http.post("/oauth/authorize", data={**hidden, "name": name, "password": password})
        return await self.http.get(answer.headers["location"])

    async def post(self, path, page, **fields):
        """As the page's form would: with its CSRF token."""
        token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
        return await self.http.post(path, data={"csrf_token": token[1], **fields})


@pytest.fixture
async def app(tmp_path):
    async with built(read_settings({"PROBEGATE_STATE": str(tmp_path)})) as server:
        provision = server.app.state.provision
        for name in ("rita", "otto"):
            await provision.get(EmbeddedIssuer).users.add(name, PASSWORD)
        membership = provision.get(MembershipService)
        await membership.unsafe_create_tenant("acme", "", "otto")
        await membership.unsafe_put_member("acme", "rita", ["reviewer"])
        author = grant(Permission.TEMPLATE_SUBMIT, by=principal("dora"))
        await provision.get(TemplateService).submit(author, TEMPLATE)
        yield server.app


@pytest.fixture
async def browser(app):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as http:
        yield Browser(http)


async def test_a_stranger_is_led_to_the_sign_in(browser):
    answer = await browser.http.get("/console/acme/templates")

    assert (answer.status_code, answer.headers["location"]) == (303, "/console/sign-in?next=/console/acme/templates")


async def test_signing_in_leads_home_with_a_cookie_that_scripts_cannot_read(browser):
    answer = await browser.sign_in("rita")

    assert (answer.status_code, answer.headers["location"]) == (303, "/console")
    assert all("httponly" in cookie.lower() for cookie in answer.headers.get_list("set-cookie"))
    home = await browser.http.get("/console")
    assert "acme" in home.text
    assert "eyJ" not in home.text + str(answer.headers), "no token reaches the browser"


async def test_a_reviewer_approves_by_the_digest_on_the_page(browser):
    await browser.sign_in("rita")
    page = await browser.http.get("/console/acme/templates/money-sum")
    digest = re.search(r'name="digest" value="([^"]+)"', page.text)[1]

    answer = await browser.post("/console/acme/templates/money-sum/1/approve", page, digest=digest)

    assert answer.status_code == 303
    assert ">approved<" in (await browser.http.get(answer.headers["location"])).text


async def test_an_approval_of_other_bytes_is_a_page_that_says_so(browser):
    await browser.sign_in("rita")
    page = await browser.http.get("/console/acme/templates/money-sum")

    answer = await browser.post("/console/acme/templates/money-sum/1/approve", page, digest="sha256:" + "0" * 64)

    assert (answer.status_code, answer.headers["content-type"]) == (409, "text/html; charset=utf-8")


async def test_a_foreign_page_approves_nothing(browser):
    await browser.sign_in("rita")

    answer = await browser.http.post(
        "/console/acme/templates/money-sum/1/approve", data={"digest": "sha256:" + "0" * 64}
    )

    assert answer.status_code == 401


async def test_who_may_not_review_hears_why(browser):
    await browser.sign_in("otto")
    page = await browser.http.get("/console/acme/templates/money-sum")

    answer = await browser.post("/console/acme/templates/money-sum/1/approve", page, digest="sha256:" + "0" * 64)

    assert answer.status_code == 403
    assert "template:review needs reviewer" in answer.text


async def test_what_authors_write_is_text(browser):
    await browser.sign_in("rita")

    assert "<script>alert" not in (await browser.http.get("/console/acme/templates/money-sum")).text


@pytest.mark.parametrize("page", ["templates", "tracepoints", "tables"])
async def test_every_page_opens_when_there_is_nothing_yet(browser, page):
    await browser.sign_in("otto")

    assert (await browser.http.get(f"/console/acme/{page}")).status_code == 200


async def test_the_log_is_for_those_who_may_read_it(browser, app):
    await browser.sign_in("rita")
    assert (await browser.http.get("/console/acme/audit")).status_code == 403
    await app.state.provision.get(MembershipService).unsafe_put_member("acme", "rita", ["auditor"])

    assert "template.submit" in (await browser.http.get("/console/acme/audit")).text


@pytest.mark.parametrize(
    "where", ["//evil.example", "https://evil.example", "/\\evil.example", "/oauth/device", "/console//evil"]
)
async def test_the_sign_in_leads_nowhere_else(browser, where):
    begun = await browser.http.get("/console/sign-in", params={"next": where})
    login = await browser.http.get(begun.headers["location"])
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', login.text))
    answer = await browser.http.post("/oauth/authorize", data={**hidden, "name": "rita", "password": PASSWORD})

    assert (await browser.http.get(answer.headers["location"])).headers["location"] == "/console"


async def test_a_sign_in_that_was_begun_elsewhere_is_refused(browser, app):
    begun = await browser.http.get("/console/sign-in")
    login = await browser.http.get(begun.headers["location"])
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', login.text))
    answer = await browser.http.post("/oauth/authorize", data={**hidden, "name": "rita", "password": PASSWORD})
    parts = urlsplit(answer.headers["location"])

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as victim:
        assert (await victim.get(f"{parts.path}?{parts.query}")).status_code == 400


async def test_signing_out_ends_the_session_on_the_server(browser):
    await browser.sign_in("rita")
    kept = dict(browser.http.cookies)
    await browser.post("/console/sign-out", await browser.http.get("/console"))
    browser.http.cookies.update(kept)

    assert (await browser.http.get("/console")).headers["location"].startswith("/console/sign-in")
