"""The gateway on the network: one port, `doorway` in front, two gRPC servers on Unix sockets behind it.

Both present a server certificate of our CA with the CA itself in the chain, and take up a fresh one before it ends. The
server at the gateway door demands a client certificate of the same CA; TLS refuses everybody else before any code of
ours runs.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import grpc

from control_plane.delivery.doorway import Doors, Doorway
from control_plane.delivery.feed import Feeds
from control_plane.delivery.gateway import Gateway
from control_plane.delivery.pki import CertificateAuthority, ServerCertificate
from control_plane.delivery.rpc_table import Door, handlers
from control_plane.foundation.clock import Clock
from control_plane.foundation.errors import DependencyUnavailable

MAX_MESSAGE: Final = 4 << 20  # bytes; an agent cuts its batches at 1 MiB of rows
MAX_ENROL_MESSAGE: Final = 64 * 1024  # a token and a certificate request
KEEPALIVE_MS: Final = 20_000  # a dead agent is noticed within half a lease
STOP_SECONDS: Final = 2.0

_OPTIONS: Final = (
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_MS // 2),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),  # agents ping every 20 s: no strike for them
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.max_concurrent_streams", 16),  # an agent has two, and a renewal now and then
)


class GatewayServer:
    """`start`, then `run` in a task; `stop` at the end."""

    def __init__(
        self,
        gateway: Gateway,
        feeds: Feeds,
        authority: CertificateAuthority,
        clock: Clock,
        names: Sequence[str] = (),
    ) -> None:
        self._gateway = gateway
        self._feeds = feeds
        self._certificates = _Certificates(authority, clock, names)
        self._directory = Path(tempfile.mkdtemp(prefix="probegate-gw-"))  # 0700; a short path, as sockets need
        self._doorway = Doorway(
            Doors(enroll=str(self._directory / "enroll.sock"), gateway=str(self._directory / "gateway.sock"))
        )
        self._servers: list[grpc.aio.Server] = []

    async def start(self, host: str, port: int) -> int:
        """Serve; the port, which the system chooses for 0. Raises UnlistedRpc, OSError, DependencyUnavailable."""
        for door, bound in ((Door.ENROLL, MAX_ENROL_MESSAGE), (Door.GATEWAY, MAX_MESSAGE)):
            options = [
                *_OPTIONS,
                ("grpc.max_receive_message_length", bound),
                ("grpc.max_send_message_length", MAX_MESSAGE),
            ]
            server = grpc.aio.server(options=options)
            server.add_generic_rpc_handlers((handlers(door, self._gateway),))
            credentials = self._certificates.credentials(demand_client=door is Door.GATEWAY)
            address = f"unix:{self._directory / door.value}.sock"
            if not server.add_secure_port(address, credentials):
                raise DependencyUnavailable(f"the gateway cannot listen on {address}")
            await server.start()
            self._servers.append(server)
        return await self._doorway.open(host, port)

    async def run(self) -> None:
        """Until cancelled."""
        await self._feeds.run()

    async def stop(self) -> None:
        """Streams end; agents come back to another replica, or their leases end."""
        await asyncio.gather(*(server.stop(STOP_SECONDS) for server in self._servers))
        await self._doorway.close()
        shutil.rmtree(self._directory, ignore_errors=True)


class _Certificates:
    """The server certificate now; gRPC asks at every handshake."""

    def __init__(self, authority: CertificateAuthority, clock: Clock, names: Sequence[str]) -> None:
        self._authority = authority
        self._clock = clock
        self._names = names
        self._now: ServerCertificate = authority.issue_server(names)

    def credentials(self, *, demand_client: bool) -> grpc.ServerCredentials:
        given = self._now

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            """Called by gRPC's threads. None: nothing new."""
            nonlocal given
            if self._clock.now() >= self._now.renew_after:
                self._now = self._authority.issue_server(self._names)
            if given is self._now:
                return None
            given = self._now
            return self._configuration()

        # The annotations do not know that None means "as before".
        return grpc.dynamic_ssl_server_credentials(self._configuration(), fetch, demand_client)  # type: ignore[arg-type]

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([(self._now.key, self._now.chain)], self._authority.pem)
