"""The one port in front: bytes go to the server that the client names, and nobody can tie it up."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from wire.identity import ENROLL_SERVER_NAME, GATEWAY_SERVER_NAME

from control_plane.delivery import doorway
from control_plane.delivery.doorway import Doors, Doorway


def hello(name: str) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@dataclass
class Echo:
    """Behind each door: says which one it is, then sends back what comes."""

    port: int = 0
    peers: list[str] = field(default_factory=list)
    open: int = 0

    def serve(self, door: str):
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.open += 1
            self.peers.append(writer.get_extra_info("peername").decode())
            writer.write(f"{door}:".encode())
            try:
                while chunk := await reader.read(65536):
                    writer.write(chunk)
                    await writer.drain()
            except OSError:
                pass
            finally:
                self.open -= 1
                writer.close()

        return serve


@pytest.fixture
async def echo(tmp_path: Path) -> AsyncIterator[Echo]:
    found = Echo()
    paths = {door: f"{tmp_path}/{door}.sock" for door in ("enroll", "gateway")}
    servers = [await asyncio.start_unix_server(found.serve(door), path) for door, path in paths.items()]
    front = Doorway(Doors(**paths))
    found.port = await front.open("127.0.0.1", 0)
    yield found
    await front.close()
    for server in servers:
        server.close()


async def connect(echo: Echo) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", echo.port)


async def settled(echo: Echo, count: int) -> None:
    for _ in range(250):
        if echo.open == count:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{echo.open} connections are open behind the doors, not {count}")


@pytest.mark.parametrize(
    ("name", "door"),
    [(ENROLL_SERVER_NAME, "enroll"), (GATEWAY_SERVER_NAME, "gateway"), ("anything.example", "gateway")],
)
async def test_the_name_chooses_the_door_and_every_byte_passes(echo: Echo, name: str, door: str) -> None:
    reader, writer = await connect(echo)
    sent = hello(name) + bytes(range(256)) * 4096
    writer.write(sent)
    assert await reader.readexactly(len(door) + 1 + len(sent)) == f"{door}:".encode() + sent
    writer.close()
    await settled(echo, 0)


async def test_the_server_behind_learns_the_address_of_the_peer(echo: Echo) -> None:
    reader, writer = await connect(echo)
    writer.write(hello(GATEWAY_SERVER_NAME))
    await reader.readexactly(8)
    host, port = writer.get_extra_info("sockname")
    assert echo.peers[0].startswith(f"\0probegate/{host}/{port}/")
    writer.close()


async def test_a_hello_that_drips_in_is_waited_for(echo: Echo) -> None:
    reader, writer = await connect(echo)
    for byte in (whole := hello(ENROLL_SERVER_NAME))[:40]:
        writer.write(bytes([byte]))
        await writer.drain()
    writer.write(whole[40:])
    assert await reader.readexactly(7) == b"enroll:"
    writer.close()


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 10, b""])
async def test_who_speaks_no_tls_is_shown_out_without_reaching_a_server(echo: Echo, sent: bytes) -> None:
    reader, writer = await connect(echo)
    writer.write(sent)
    writer.write_eof()
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    assert echo.peers == []
    writer.close()


async def test_who_says_nothing_is_shown_out(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorway, "HELLO_SECONDS", 0.2)
    reader, writer = await connect(echo)
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


async def test_a_crowd_that_says_nothing_does_not_grow(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorway, "MAX_WAITING", 3)
    silent = [await connect(echo) for _ in range(3)]
    await asyncio.sleep(0.1)
    reader, writer = await connect(echo)
    async with asyncio.timeout(5):
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
    for _, each in (*silent, (None, writer)):
        each.close()


async def test_a_peer_that_vanishes_ends_the_connection_behind_the_door(echo: Echo) -> None:
    _, writer = await connect(echo)
    writer.write(hello(GATEWAY_SERVER_NAME))
    await settled(echo, 1)
    plain = writer.get_extra_info("socket")
    plain.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER 0: close sends a reset
    writer.transport.abort()
    await settled(echo, 0)


async def test_a_slow_reader_slows_the_sender_down_instead_of_filling_memory(echo: Echo) -> None:
    reader, writer = await connect(echo)
    writer.write(hello(GATEWAY_SERVER_NAME))
    await reader.readexactly(8)
    sent = 0
    chunk = bytes(1 << 20)
    try:
        async with asyncio.timeout(1.5):
            while sent < 512 << 20:
                writer.write(chunk)
                await writer.drain()
                sent += len(chunk)
    except TimeoutError:
        pass
    assert sent < 64 << 20
    writer.transport.abort()
    await settled(echo, 0)
