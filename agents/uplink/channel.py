"""gRPC channels to the gateway: where it is, what it is trusted by, which of its two TLS sides is meant.

The CA is pinned: the hash of its certificate stands in the join token, which an administrator copied. The server's chain
is fetched once and looked at for that very certificate; trust on first use there is none.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import socket
import ssl
from dataclasses import dataclass
from typing import Any, Final

import grpc
from wire.identity import ENROLL_SERVER_NAME, GATEWAY_SERVER_NAME

from agents.uplink.identity import AgentIdentity

CONNECT_SECONDS: Final = 10.0
KEEPALIVE_MS: Final = 20_000  # a dead network is noticed well before the lease (60 s) ends
MAX_MESSAGE: Final = 4 << 20  # bytes in; the biggest is a Desired of at most 1 MiB


class NotTrusted(Exception):
    """The server is not the one that the join token was made for."""


@dataclass(frozen=True)
class Server:
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Server:
        """`HOST:PORT`, `[v6]:PORT`. Raises ValueError."""
        found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^:/\s\[\]]+)):(\d{1,5})", text.strip())
        if found is None or not 0 < int(found[3]) < 1 << 16:
            raise ValueError(f"--server is HOST:PORT of the gateway, such as gateway.example.com:8441, not {text!r}")
        return cls(found[1] or found[2], int(found[3]))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def enrolment_channel(server: Server, ca: bytes) -> grpc.aio.Channel:
    credentials = grpc.ssl_channel_credentials(root_certificates=ca)
    return grpc.aio.secure_channel(str(server), credentials, _options(ENROLL_SERVER_NAME))


def gateway_channel(server: Server, identity: AgentIdentity) -> grpc.aio.Channel:
    credentials = grpc.ssl_channel_credentials(identity.ca, identity.key, identity.certificate)
    return grpc.aio.secure_channel(str(server), credentials, _options(GATEWAY_SERVER_NAME))


def fetch_ca(server: Server, sha256: str) -> bytes:
    """The CA certificate with this hash out of the server's chain, as PEM. Raises NotTrusted, OSError. Blocks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent; what is looked for is known by its hash
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((server.host, server.port), timeout=CONNECT_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=ENROLL_SERVER_NAME) as secure,
    ):
        chain = _chain(secure)
    for certificate in chain:
        if hmac.compare_digest(hashlib.sha256(certificate).hexdigest(), sha256):
            return ssl.DER_cert_to_PEM_cert(certificate).encode()
    raise NotTrusted(
        f"{server} does not present the CA that the join token names: either this is another server (check --server),"
        " or somebody stands between; a token of another installation does this too"
    )


def _chain(secure: ssl.SSLSocket) -> list[bytes]:
    """The chain as the server sent it; public from Python 3.13 on, before that on the inner object."""
    inner: Any = secure if hasattr(secure, "get_unverified_chain") else secure._sslobj  # type: ignore[attr-defined]  # noqa: SLF001
    found: list[Any] = inner.get_unverified_chain() or []
    return [item if isinstance(item, bytes) else item.public_bytes(ssl._ssl.ENCODING_DER) for item in found]  # type: ignore[attr-defined]  # noqa: SLF001


def _options(name: str) -> list[tuple[str, int | str]]:
    return [
        ("grpc.ssl_target_name_override", name),
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_MS // 2),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.max_receive_message_length", MAX_MESSAGE),
        ("grpc.enable_retries", 0),  # `service` reconnects itself, with the lease in view
    ]
