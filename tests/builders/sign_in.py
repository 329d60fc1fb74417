"""Sign in at a running control plane as a person would: fill in the issuer's forms, with the cookies of a browser."""

from __future__ import annotations

import re
import threading
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx

from client.sdk import login
from client.sdk.credentials import Context

PASSWORD = "correct horse battery"
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')


def fill_in(address: str, fields: dict[str, str]) -> httpx.Response:
    """Open a page with a form and post it with these fields added; the answer, redirects not followed."""
    parts = urlsplit(address)
    base = f"{parts.scheme}://{parts.netloc}"
    with httpx.Client() as browser:
        page = browser.get(address)
        hidden = {name: _unescape(value) for name, value in _HIDDEN.findall(page.text)}
        return browser.post(f"{base}{parts.path}", data={**hidden, **fields})


def by_device(server: str, user: str, tenant: str = "acme", password: str = PASSWORD) -> Context:
    """The device flow: the terminal's side from the client's own code, the person's side here."""

    def show(address: str, code: str) -> None:
        page = address.split("?", maxsplit=1)[0]
        answer = fill_in(page, {"user_code": code, "name": user, "password": password, "answer": "approve"})
        assert answer.status_code == 200, answer.text

    return login.by_device(server, f"{user}@{tenant}", tenant, show, sleep=lambda _: None)


def by_browser(server: str, user: str, tenant: str = "acme", password: str = PASSWORD) -> Context:
    """The authorization code flow: the redirect to the loopback port is followed like a browser would."""

    def show(address: str) -> None:
        def person() -> None:
            answer = fill_in(address, {"name": user, "password": password})
            asked = query_of(address)
            said = {"error": f"status_{answer.status_code}", "state": asked["state"], "iss": server}
            httpx.get(answer.headers.get("location", f"{asked['redirect_uri']}?{urlencode(said)}"))

        threading.Thread(target=person).start()

    return login.by_browser(server, f"{user}@{tenant}", tenant, show)


def query_of(address: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(address).query))


def _unescape(text: str) -> str:
    for entity, letter in (("&#34;", '"'), ("&#39;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(entity, letter)
    return text
