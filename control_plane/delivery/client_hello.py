"""The first bytes of a TLS connection -> the server name that the client asks for. Nothing is decrypted, nothing decided.

Layout: RFC 8446, 5.1 (records) and 4.1.2 (ClientHello), RFC 6066, 3 (server_name). Used by `doorway` to choose which of
two TLS servers goes on; what this reads is a wish, not an identity.
"""

from __future__ import annotations

from typing import Final

MAX_HELLO: Final = 16 * 1024  # bytes with record headers; with post-quantum key shares a hello has some 2 KiB
_RECORD_HEADER: Final = 5
_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_HOST_NAME: Final = 0


class NotTls(Exception):
    """These bytes begin no TLS connection."""


class Incomplete(Exception):
    """So far they may: more are needed."""


def server_name(received: bytes) -> str | None:
    """The name, or None when the hello has none. Raises NotTls, Incomplete."""
    hello = _Reader(_handshake(received))
    hello.take(2 + 32)  # legacy_version, random
    hello.vector(1)  # legacy_session_id
    hello.vector(2)  # cipher_suites
    hello.vector(1)  # legacy_compression_methods
    if hello.at_end():
        return None
    extensions = _Reader(hello.vector(2))
    while not extensions.at_end():
        kind, body = extensions.number(2), extensions.vector(2)
        if kind == _SERVER_NAME:
            return _host_name(body)
    return None


def _host_name(extension: bytes) -> str | None:
    names = _Reader(_Reader(extension).vector(2))
    while not names.at_end():
        kind, name = names.number(1), names.vector(2)
        if kind == _HOST_NAME:
            try:
                return name.decode("ascii").lower()
            except UnicodeDecodeError as error:
                raise NotTls("the server name is not ASCII") from error
    return None


def _handshake(received: bytes) -> bytes:
    """The body of the ClientHello, put together from as many records as it came in."""
    message = b""
    at = 0
    while True:
        if at < len(received) and received[at] != _HANDSHAKE:
            raise NotTls("the connection does not begin with a TLS handshake")
        if len(received) < at + _RECORD_HEADER:
            raise _more(received)
        length = int.from_bytes(received[at + 3 : at + 5])
        if received[at + 1] != 3 or not 0 < length <= MAX_HELLO:
            raise NotTls("the first record is not one of TLS")
        message += received[at + _RECORD_HEADER : at + _RECORD_HEADER + length]
        if message[0:1] and message[0] != _CLIENT_HELLO:
            raise NotTls("the handshake does not begin with a ClientHello")
        if len(message) >= 4 and len(message) - 4 >= (size := int.from_bytes(message[1:4])):
            return message[4 : 4 + size]
        at += _RECORD_HEADER + length
        if at > len(received):
            raise _more(received)


def _more(received: bytes) -> Exception:
    return NotTls("the ClientHello is too long") if len(received) >= MAX_HELLO else Incomplete()


class _Reader:
    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def at_end(self) -> bool:
        return self._at == len(self._body)

    def take(self, count: int) -> bytes:
        taken = self._body[self._at : self._at + count]
        if len(taken) != count:
            raise NotTls("the ClientHello ends in the middle of a field")
        self._at += count
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def vector(self, length_size: int) -> bytes:
        return self.take(self.number(length_size))
