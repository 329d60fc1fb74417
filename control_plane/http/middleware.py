"""Around every request: an id, an address that can be kept, a limit on its body, headers that keep browsers safe.

Plain ASGI, so that streams (the live rows) pass through untouched.
"""

from __future__ import annotations

import re
import secrets
from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from control_plane.foundation.correlation import current_request_id
from control_plane.http.problems import problem, unexpected

MAX_BODY: Final = 1024 * 1024  # bytes; the largest body is a template's source, some KiB
_ID: Final = re.compile(r"[A-Za-z0-9._-]{8,64}")
_ID_HEADER: Final = "x-request-id"

SECURITY_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    # Our pages load nothing from elsewhere, run no inline script, and send their forms to ourselves.
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "cache-control": "no-store",
}


class RequestIds:
    """Take the caller's request id when it is well-formed, else make one; answer it and set the security headers."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self._app = app
        self._headers = dict(SECURITY_HEADERS)
        if https:
            self._headers["strict-transport-security"] = "max-age=63072000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope).get(_ID_HEADER, "")
        request_id = asked if _ID.fullmatch(asked) else f"req_{secrets.token_hex(8)}"

        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers[_ID_HEADER] = request_id
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        token = current_request_id.set(request_id)
        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:  # the last place that can still answer
            if started:
                raise
            await unexpected(error)(scope, receive, send_with_headers)
        finally:
            current_request_id.reset(token)


class KeepableAddress:
    """Refuse an address with NUL in it: what it names goes into the log and the database, which keep no NUL."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and ("\0" in scope["path"] or b"%00" in scope["query_string"]):
            await problem(400, "bad_request", "the address holds NUL: take it out")(scope, receive, send)
            return
        await self._app(scope, receive, send)


class BodyLimit:
    """Refuse a body over MAX_BODY: by its announced length at once, otherwise when it passes the limit."""

    def __init__(self, app: ASGIApp, limit: int = MAX_BODY) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        if not announced.isdecimal() or int(announced) > self._limit:
            await self._refuse(scope, receive, send)
            return
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit:
                # The one exception that FastAPI lets through while it reads a body; `problems` words it.
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return message

        await self._app(scope, receive_counted, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        detail = f"the request's body is larger than {self._limit} bytes"
        await problem(413, "too_large", detail)(scope, receive, send)
