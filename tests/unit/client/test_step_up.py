"""A refusal that asks for a fresh sign-in: the command signs in the way it was done before, with what was asked, and goes on."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest

from client.cli.context import Invocation
from client.cli.session import freshly
from client.sdk import ApiError
from client.sdk.credentials import Context, Credentials

NEEDS = {"code": "step_up_required", "detail": "sign in again", "max_age": 900, "acr_values": "mfa"}
DEVICE = {"device_code": "d", "user_code": "AAAA-BBBB", "verification_uri": "http://x", "expires_in": 60, "interval": 0}


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A control plane and its issuer; `grants` is what the token endpoint gives."""
    forms = []

    class Served(BaseHTTPRequestHandler):
        grants = "fresh"

        def do_GET(self):
            known = {"name": "x", "issuer": url, "client_id": "probegate-cli", "scopes": ["openid"], "resource": ""}
            endpoints = {"token_endpoint": f"{url}/token", "device_authorization_endpoint": f"{url}/device"}
            self.answer(200, {"items": [known]} if self.path == "/v1/sign-in" else {"issuer": url, **endpoints})

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            if self.path.endswith("/approve"):
                fresh = self.headers["authorization"] == "Bearer fresh"
                self.answer(200 if fresh else 401, {"state": "approved"} if fresh else NEEDS)
                return
            forms.append((self.path, parse_qs(body)))
            self.answer(200, DEVICE if self.path == "/device" else {"access_token": self.grants, "expires_in": 600})

        def answer(self, status, document):
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Served)
    url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setenv("PROBEGATE_CONFIG", str(tmp_path / "credentials.json"))
    kept = Context("c", url, "acme", url, "probegate-cli", "old", "", float("inf"), flow="device")
    Credentials.load().put(kept)
    Served.forms = forms
    yield Served
    http.shutdown()
    http.server_close()
    thread.join()


def approve(api):
    return api.approve("hot", 1, "sha256:0")


def test_it_signs_in_again_and_goes_on(server):
    assert freshly(Invocation(), approve)["state"] == "approved"

    asked = dict(server.forms)["/device"]
    assert (asked["max_age"], asked["acr_values"]) == (["900"], ["mfa"])
    assert Credentials.load().current().access_token == "fresh"


def test_it_does_not_ask_for_ever(server):
    server.grants = "still not strong enough"

    with pytest.raises(ApiError) as refused:
        freshly(Invocation(), approve)
    assert refused.value.code == "step_up_required"
    assert len(server.forms) == 2
