"""Approving what is risky in the console: the page says what is lacking, and its link asks the issuer for just that."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

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
from tests.unit.control_plane.console.test_console import URL, Browser
from tests.unit.control_plane.templates.test_step_up import HOT

pytestmark = [pytest.mark.peer, pytest.mark.xdist_group("console")]


async def test_a_weak_sign_in_is_led_to_a_stronger_one_and_back(tmp_path):
    settings = read_settings({"PROBEGATE_STATE": str(tmp_path), "PROBEGATE_STEP_UP_ACR": "mfa"})
    async with built(settings) as server:
        provision = server.app.state.provision
        await provision.get(EmbeddedIssuer).users.add("rita", PASSWORD)
        membership = provision.get(MembershipService)
        await membership.unsafe_create_tenant("acme", "", "rita")
        await membership.unsafe_put_member("acme", "rita", ["reviewer", "tenant-admin"])
        await provision.get(TemplateService).submit(grant(Permission.TEMPLATE_SUBMIT, by=principal("dora")), HOT)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(server.app), base_url=URL) as http:
            browser = Browser(http)
            await browser.sign_in("rita")
            page = await http.get("/console/acme/templates/hot")
            digest = re.search(r'name="digest" value="([^"]+)"', page.text)[1]
            answer = await browser.post("/console/acme/templates/hot/1/approve", page, digest=digest)
            link = re.search(r'href="(/console/sign-in[^"]+)"', answer.text)[1].replace("&amp;", "&")
            asked = parse_qs(urlsplit((await http.get(link)).headers["location"]).query)

    assert answer.status_code == 401
    assert parse_qs(urlsplit(link).query)["next"] == ["/console/acme/templates/hot?version=1"]
    assert (asked["max_age"], asked["acr_values"]) == (["900"], ["mfa"])
