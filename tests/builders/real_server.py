"""The whole control plane as `serving` runs it, in a thread of the test: real HTTP, real gateway, real redis-server.

A test talks to it as people and agents do, by URL and by port. `run` lets it prepare what only the operator can, on
the server's own loop; `token` is what a person of that name has after signing in.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import uvicorn

from control_plane.bootstrap.server import Server, built
from control_plane.foundation.identifiers import TenantId
from control_plane.foundation.provision import Provision
from control_plane.identity.issuer.clients import CLI
from control_plane.identity.issuer.embedded import EmbeddedIssuer
from control_plane.identity.issuer.tokens import TokenMaker
from control_plane.identity.issuer.users import User
from control_plane.policy.membership import MembershipService
from control_plane.settings import read_settings
from deploy.local_stack import free_port

T = TypeVar("T")
START_SECONDS = 60.0
EXPIRED = timedelta(hours=1)  # ago


class PastClock:
    def now(self) -> datetime:
        return datetime.now(UTC) - EXPIRED


@dataclass
class RealServer:
    server: Server
    loop: asyncio.AbstractEventLoop
    http_port: int
    grpc_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def provision(self) -> Provision:
        provision: Provision = self.server.app.state.provision
        return provision

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(START_SECONDS)

    def create_tenant(self, tenant: str, administrator: str) -> None:
        self.run(self.provision.get(MembershipService).unsafe_create_tenant(tenant, "", administrator))

    def add_member(self, tenant: str, subject: str, *roles: str) -> None:
        self.run(self.provision.get(MembershipService).unsafe_put_member(TenantId(tenant), subject, roles))

    def token(self, name: str, *, expired: bool = False) -> str:
        """The access token of a person, as the embedded issuer gives it to the command line."""
        issuer = self.provision.get(EmbeddedIssuer)
        user = User(name=name, display_name=name, authenticated_at=datetime.now(UTC))
        return self._maker(issuer, expired=expired).access_token(CLI, user, "openid profile")

    def service_token(self, client: str) -> str:
        """The access token of a service account: nobody stands behind it but itself."""
        return self.provision.get(EmbeddedIssuer).tokens.access_token(client, None, "")

    @staticmethod
    def _maker(issuer: EmbeddedIssuer, *, expired: bool) -> TokenMaker:
        return TokenMaker(issuer.url, issuer.tokens._key, PastClock()) if expired else issuer.tokens


@contextmanager
def real_server(state: Path, **settings: str) -> Iterator[RealServer]:
    """Built, serving and ready; stopped in order at the end."""
    http_port, grpc_port = free_port(), free_port()
    environment = {
        "PROBEGATE_STATE": str(state),
        "PROBEGATE_HTTP_LISTEN": f"127.0.0.1:{http_port}",
        "PROBEGATE_GRPC_LISTEN": f"127.0.0.1:{grpc_port}",
        **settings,
    }
    started: list[RealServer] = []
    failure: list[BaseException] = []
    ready, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with built(read_settings(environment)) as server:
            config = uvicorn.Config(server.app, host="127.0.0.1", port=http_port, log_config=None, access_log=False, server_header=False, lifespan="off")  # fmt: skip
            http = uvicorn.Server(config)
            await server.gateway.start("127.0.0.1", grpc_port)
            tasks = [asyncio.create_task(http.serve()), *(asyncio.create_task(start()) for _, start in server.work)]
            while not http.started:  # noqa: ASYNC110 -- uvicorn has no event for it
                await asyncio.sleep(0.01)
            started.append(RealServer(server, asyncio.get_running_loop(), http_port, grpc_port))
            ready.set()
            await stop.wait()
            http.should_exit = True
            await tasks[0]
            for task in tasks[1:]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await server.gateway.stop()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            failure.append(error)
            ready.set()

    thread = threading.Thread(target=run, name="control plane")
    thread.start()
    if not ready.wait(START_SECONDS) or failure:
        raise failure[0] if failure else TimeoutError("the control plane did not start")
    try:
        yield started[0]
    finally:
        started[0].loop.call_soon_threadsafe(stop.set)
        thread.join(START_SECONDS)
