"""The names both ends of the gateway use: the agent's SPIFFE id, the two TLS server names, the join token's form.

The gateway has one port and two TLS contexts behind it, because gRPC's Python server either demands a client
certificate or never asks for one. The TLS server name in the ClientHello chooses: `ENROLL_SERVER_NAME` reaches
a server that offers Enroll alone and asks for no certificate; every other name reaches the one that demands a
certificate of the CA. An agent sets the name with the channel option `grpc.ssl_target_name_override`, so that the
host part of `--server` may be an address. Read by `agents.uplink` and `control_plane.delivery`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

GATEWAY_SERVER_NAME: Final = "gateway.probegate"  # mutual TLS: Renew, Sync, Upload
ENROLL_SERVER_NAME: Final = "enroll.probegate"  # server TLS only: Enroll
_AGENT_PREFIX: Final = "spiffe://probegate/agent/"
_AGENT_ID: Final = re.compile(r"[a-z0-9_-]{1,64}")  # what `new_id("ag")` makes, with room for other makers
_JOIN_TOKEN: Final = re.compile(r"(pgj_[A-Za-z0-9_-]{32,128})\.([0-9a-f]{64})")


def agent_uri(agent_id: str) -> str:
    """The SPIFFE id that stands in the agent's certificate and in a spec's audience. Raises ValueError."""
    if not _AGENT_ID.fullmatch(agent_id):
        raise ValueError(f"an agent id is 1 to 64 of a-z, 0-9, '_' and '-', not {agent_id[:80]!r}")
    return _AGENT_PREFIX + agent_id


def agent_id_of(uri: str) -> str | None:
    """The agent id in a SPIFFE id; None when the URI names anything else."""
    found = uri.removeprefix(_AGENT_PREFIX)
    return found if found != uri and _AGENT_ID.fullmatch(found) else None


@dataclass(frozen=True)
class JoinToken:
    """`pgj_<secret>.<hex>`: a secret that the server knows by hash, and the SHA-256 of the CA certificate's DER."""

    secret: str
    ca_sha256: str

    def __str__(self) -> str:
        return f"{self.secret}.{self.ca_sha256}"

    @classmethod
    def parse(cls, text: str) -> JoinToken:
        """Raises ValueError, without quoting the token: it is a secret."""
        found = _JOIN_TOKEN.fullmatch(text.strip())
        if found is None:
            raise ValueError(
                "a join token reads pgj_<secret>.<64 hex digits>: copy it whole from `probegate agent token`"
            )
        return cls(secret=found[1], ca_sha256=found[2])
