"""One port for agents, two TLS servers behind it: the server name in the ClientHello chooses, bytes are passed on as they are.

gRPC's Python server either demands a client certificate or does not ask for one. So there are two of them on Unix
sockets of ours: one that offers Enroll and asks for none, one that demands one for everything else. Choosing wrongly
gains nothing: each server offers only its own calls, and TLS ends inside it. The relay holds nothing but bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
from dataclasses import dataclass
from typing import Final

from wire.identity import ENROLL_SERVER_NAME

from control_plane.delivery.client_hello import MAX_HELLO, Incomplete, NotTls, server_name

HELLO_SECONDS: Final = 10.0  # so long may a connection take to say what it wants
MAX_WAITING: Final = 256  # connections that have said nothing yet; more are closed at once
MAX_CONNECTIONS: Final = 20_000  # some 64 KiB each while they are busy
DEAD_PEER_SECONDS: Final = 60.0  # a lease; whoever took nothing for so long has lost it
FLUSH_SECONDS: Final = 2.0  # for the last bytes of a connection whose other side is gone
BUFFER: Final = 64 * 1024  # bytes passed on at a time; the slower side's pace reaches the faster one through TCP

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Doors:
    """The Unix sockets of the two servers."""

    enroll: str
    gateway: str


class Doorway:
    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._waiting = 0
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def open(self, host: str, port: int) -> int:
        """Listen; the port, which the system chooses for 0. Raises OSError."""
        self._server = await asyncio.start_server(self._accept, host, port, limit=BUFFER)
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._waiting >= MAX_WAITING or len(self._connections) >= MAX_CONNECTIONS:
            log.warning("refusing a connection: %d open, %d undecided", len(self._connections), self._waiting)
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._connected(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        except (OSError, NotTls, TimeoutError, asyncio.IncompleteReadError) as error:
            log.debug("a connection ended: %s", error)
        finally:
            await _end(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _bound(writer)
        self._waiting += 1
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                first, name = await _hello(reader)
        finally:
            self._waiting -= 1
        door = self._doors.enroll if name == ENROLL_SERVER_NAME else self._doors.gateway
        inner_reader, inner_writer = await _open(door, writer)
        inner_writer.write(first)
        ways = [
            asyncio.ensure_future(_pass_on(reader, inner_writer)),
            asyncio.ensure_future(_pass_on(inner_reader, writer)),
        ]
        try:
            # TLS has no half-open connections: when one side has ended, nothing more can come of the other.
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            await _end(inner_writer)


async def _hello(reader: asyncio.StreamReader) -> tuple[bytes, str | None]:
    """The bytes up to the end of the ClientHello and the name in it. Raises NotTls."""
    received = b""
    while True:
        chunk = await reader.read(MAX_HELLO)
        if not chunk:
            raise NotTls("the connection ended before it said anything")
        received += chunk
        with contextlib.suppress(Incomplete):
            return received, server_name(received)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the reader's side ends."""
    with contextlib.suppress(OSError):
        while chunk := await reader.read(BUFFER):
            writer.write(chunk)
            await writer.drain()


async def _open(door: str, outer: asyncio.StreamWriter) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the server, from a socket whose abstract name tells it the peer's address, for the audit log."""
    host, port = outer.get_extra_info("peername")[:2]
    plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    plain.bind(f"\0probegate/{host}/{port}/{secrets.token_hex(4)}")
    plain.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(plain, door)
        return await asyncio.open_unix_connection(sock=plain)
    except BaseException:
        plain.close()
        raise


async def _end(writer: asyncio.StreamWriter) -> None:
    """Send what was written, as long as the other side takes it; then close, whatever is left."""
    try:
        writer.close()
        async with asyncio.timeout(FLUSH_SECONDS):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        pass
    finally:
        writer.transport.abort()


def _bound(writer: asyncio.StreamWriter) -> None:
    """Bytes that a dead peer does not take end the connection in a known time, not in a quarter of an hour."""
    plain: socket.socket = writer.get_extra_info("socket")
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(DEAD_PEER_SECONDS * 1000))
