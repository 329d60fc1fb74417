"""An issuer over real HTTP that answers whatever a test wants: false, huge, dripping, elsewhere. It counts what was asked."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from joserfc.jwk import ECKey, RSAKey

from tests.builders import issuer as tokens

Write = Callable[[http.server.BaseHTTPRequestHandler], None]


@dataclass
class HostileIssuer:
    """Honest until told otherwise. `answers` maps a path to JSON, or to a function that writes what it likes."""

    url: str
    key: ECKey | RSAKey
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    forms: list[str] = field(default_factory=list)
    patience: threading.Event = field(default_factory=threading.Event)  # set: whoever drips gives up

    @property
    def discovery(self) -> dict[str, Any]:
        found: dict[str, Any] = self.answers["/.well-known/openid-configuration"]
        return found

    def claims(self, now: float, **changes: Any) -> dict[str, Any]:
        return tokens.claims(now, **{"iss": self.url, **changes})

    def sign(self, payload: dict[str, Any], **header: Any) -> str:
        return tokens.sign(self.key, payload, **header)


def endless(handler: http.server.BaseHTTPRequestHandler) -> None:
    """A good beginning, and it never stops."""
    handler.send_response(200)
    handler.end_headers()
    with contextlib.suppress(OSError):
        while True:
            handler.wfile.write(b'{"keys": [' + b" " * 65536)


def dripping(issuer: HostileIssuer) -> Write:
    """One byte at a time, each in time: a timeout between two bytes never comes."""

    def write(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            while not issuer.patience.wait(0.05):
                handler.wfile.write(b" ")
                handler.wfile.flush()

    return write


def silent(issuer: HostileIssuer) -> Write:
    """Takes the request, and says nothing."""
    return lambda _: (issuer.patience.wait(30), None)[1]


def redirecting(to: str) -> Write:
    def write(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("location", to)
        handler.send_header("content-length", "0")
        handler.end_headers()

    return write


def verbatim(body: bytes, status: int = 200, **headers: str) -> Write:
    def write(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return write


@contextmanager
def hostile_issuer(kind: str = "EC") -> Iterator[HostileIssuer]:
    key = tokens.key(kind)
    served: HostileIssuer

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            answer = served.answers.get(self.path)
            if callable(answer):
                answer(self)
            elif answer is None:
                self.send_error(404)
            else:
                verbatim(json.dumps(answer).encode(), content_type="application/json")(self)

        def do_POST(self) -> None:
            served.forms.append(self.rfile.read(int(self.headers.get("content-length", "0"))).decode())
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    url = f"http://127.0.0.1:{server.server_address[1]}"
    served = HostileIssuer(url, key)
    served.answers = {
        "/.well-known/openid-configuration": {
            "issuer": url,
            "jwks_uri": f"{url}/jwks",
            "authorization_endpoint": f"{url}/authorize",
            "token_endpoint": f"{url}/token",
            "end_session_endpoint": f"{url}/logout",
            "authorization_response_iss_parameter_supported": True,
        },
        "/jwks": tokens.public_set(key),
    }
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        served.patience.set()
        server.shutdown()
        server.server_close()
        thread.join()
