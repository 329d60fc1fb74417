"""An issuer for tests: signs whatever it is told, well-formed or hostile, and serves its keys over real HTTP."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

ISSUER = "https://issuer.example"


def key(kind: str = "EC") -> ECKey | RSAKey:
    made = ECKey.generate_key("P-256", private=True) if kind == "EC" else RSAKey.generate_key(2048, private=True)
    made.ensure_kid()
    return made


def public_set(*keys: ECKey | RSAKey) -> dict[str, Any]:
    return KeySet(list(keys)).as_dict(private=False)


def claims(now: float, **changes: Any) -> dict[str, Any]:
    """A good token's claims; a change to None takes a claim away."""
    good = {"iss": ISSUER, "sub": "alice", "aud": "probegate", "iat": int(now), "exp": int(now) + 600, "name": "Alice"}
    return {name: value for name, value in (good | changes).items() if value is not None}


def sign(signer: ECKey | RSAKey, payload: dict[str, Any], **header: Any) -> str:
    algorithm = "ES256" if isinstance(signer, ECKey) else "RS256"
    full = {"alg": algorithm, "kid": signer.kid, "typ": "at+jwt"} | header
    return jwt.encode({name: value for name, value in full.items() if value is not None}, payload, signer, [algorithm])


def forge(header: dict[str, Any], payload: dict[str, Any], signature: bytes = b"") -> str:
    """Any header over any payload, signed by nothing or by what is given."""
    return ".".join(
        base64.urlsafe_b64encode(part).rstrip(b"=").decode()
        for part in (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    )


def hmac_signed(header: dict[str, Any], payload: dict[str, Any], secret: bytes) -> str:
    unsigned = forge(header, payload).rpartition(".")[0]
    mac = hmac.new(secret, unsigned.encode(), hashlib.sha256).digest()
    return f"{unsigned}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


class KeyServer:
    """Answers `body` at /jwks and `discovery` at the well-known address; counts what it was asked for."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = json.dumps(body).encode()
        self.status = 200
        self.headers: dict[str, str] = {}
        self.discovery: dict[str, Any] = {}
        self.asked: list[str] = []
        self.url = ""


@contextmanager
def key_server(body: dict[str, Any]) -> Iterator[KeyServer]:
    served = KeyServer(body)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            body = served.body if self.path == "/jwks" else json.dumps(served.discovery).encode()
            self.send_response(served.status)
            for name, value in served.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
