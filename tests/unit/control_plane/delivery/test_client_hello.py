"""The server name is read from what real TLS stacks send, in whatever pieces it comes; anything else is refused."""

from __future__ import annotations

import contextlib
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.delivery.client_hello import MAX_HELLO, Incomplete, NotTls, server_name


def hello(name: str | None) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


HELLO = hello("enroll.probegate")


def in_records(received: bytes, size: int) -> bytes:
    """The same handshake in records of at most `size` bytes: RFC 8446, 5.1 allows it."""
    body = received[5:]
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(received[:3] + len(piece).to_bytes(2) + piece for piece in pieces)


def test_the_name_is_found() -> None:
    assert server_name(HELLO) == "enroll.probegate"
    assert server_name(hello("Gateway.Probegate")) == "gateway.probegate"


def test_a_hello_without_a_name_has_none() -> None:
    assert server_name(hello(None)) is None


@given(st.integers(0, len(HELLO) - 1))
def test_a_part_of_a_hello_asks_for_more(length: int) -> None:
    with pytest.raises(Incomplete):
        server_name(HELLO[:length])


def test_what_follows_the_hello_does_not_matter() -> None:
    assert server_name(HELLO + b"anything") == "enroll.probegate"


@pytest.mark.parametrize("size", [1, 3, 100, 250])
def test_a_hello_in_many_records_is_put_together(size: int) -> None:
    whole = in_records(HELLO, size)
    assert server_name(whole) == "enroll.probegate"
    for cut in (5, len(whole) // 2, len(whole) - 1):
        with pytest.raises(Incomplete):
            server_name(whole[:cut])


@pytest.mark.parametrize(
    "start", [b"GET / HTTP/1.1\r\n", b"PRI * HTTP/2.0", b"\x16\x02\x00\x00\x01\x01", b"\x16\x03\x01\x00\x00\x00"]
)
def test_another_protocol_is_refused_at_once(start: bytes) -> None:
    with pytest.raises(NotTls):
        server_name(start)


def test_a_hello_that_never_ends_is_refused() -> None:
    endless = b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(MAX_HELLO - 4)
    with pytest.raises(NotTls, match="too long"):
        server_name(endless)


@given(st.binary(max_size=600))
def test_any_bytes_are_a_name_or_refused_or_incomplete(received: bytes) -> None:
    for attempt in (received, HELLO[:9] + received, HELLO[:60] + received):
        with contextlib.suppress(NotTls, Incomplete):
            assert server_name(attempt) is None or isinstance(server_name(attempt), str)


@given(st.integers(0, len(HELLO) - 1), st.integers(1, 255))
def test_a_damaged_hello_does_no_harm(at: int, by: int) -> None:
    damaged = bytearray(HELLO)
    damaged[at] ^= by
    with contextlib.suppress(NotTls, Incomplete):
        server_name(bytes(damaged))
