"""The answer of an issuer to a browser -> to this process: a web server for one call, on a port that the system chose.

RFC 8252, section 7.3. Entered from `login`; any page in the browser can call the port too, so only the call that carries
this attempt's state counts.
"""

from __future__ import annotations

import contextlib
import http.server
import queue
import secrets
import threading
import time
import urllib.parse
from typing import Final, Self

from client.sdk.errors import SignInFailed

MAX_CALLS: Final = 100  # that are looked at; the person's own is among the first
PAGE: Final = b"<!doctype html><title>Probegate</title><p>You may close this window and go back to the terminal."


class Loopback:
    """A web server for one answer, on a port of 127.0.0.1 that the system chose (RFC 8252 section 7.3)."""

    def __init__(self) -> None:
        answers: queue.Queue[dict[str, str]] = queue.Queue(MAX_CALLS)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urllib.parse.urlsplit(self.path)
                if parts.path != "/callback":
                    self.send_error(404)
                    return
                with contextlib.suppress(queue.Full):
                    answers.put_nowait(dict(urllib.parse.parse_qsl(parts.query)))
                self.send_response(200)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(PAGE)

            def log_message(self, *_: object) -> None:
                """The address holds the code: it is not printed."""

        self._answers = answers
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/callback"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait(self, seconds: float, state: str) -> dict[str, str]:
        """The answer to this request. Whatever else calls the port, a page in the browser say, is not it."""
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            try:
                answer = self._answers.get(timeout=left)
            except queue.Empty:
                break
            if secrets.compare_digest(answer.get("state", "").encode(), state.encode()):
                return answer
        raise SignInFailed("nobody signed in within five minutes: start again")
