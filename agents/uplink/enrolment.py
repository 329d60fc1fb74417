"""A join token and a request for a certificate in, an AgentIdentity out; and the same again before it expires.

1. pin      the CA whose hash stands in the token (or the one of --ca, which must be the same)
2. enroll   over TLS that this CA vouches for: token and CSR -> certificate, tenant, spec keys
3. check    the certificate is for the key made here and names the agent
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import socket
import ssl
from collections.abc import Awaitable
from typing import Final, cast

import grpc
from wire.identity import JoinToken
from wire.v1 import gateway_pb2
from wire.v1.gateway_pb2_grpc import GatewayStub

from agents.uplink.channel import NotTrusted, Server, enrolment_channel, fetch_ca
from agents.uplink.identity import AgentIdentity, KeyRequest

CALL_SECONDS: Final = 20.0  # the server writes its audit log before it answers


class EnrolmentFailed(Exception):
    """The gateway did not enrol this agent; the text says what it answered. It never holds the token."""


async def enroll(server: Server, token: JoinToken, ca: bytes | None = None) -> AgentIdentity:
    """Raises EnrolmentFailed, NotTrusted, BadIdentity."""
    if ca is None:
        try:
            ca = await asyncio.to_thread(fetch_ca, server, token.ca_sha256)
        except OSError as error:
            raise EnrolmentFailed(f"{server} cannot be reached: {error}") from error
    elif not hmac.compare_digest(_sha256(ca), token.ca_sha256):
        raise NotTrusted("the certificate in --ca is not the CA that the join token names")
    hostname = socket.gethostname()
    request = KeyRequest(hostname)
    async with enrolment_channel(server, ca) as channel:
        response = await _answer(
            GatewayStub(channel).Enroll(
                gateway_pb2.EnrollRequest(join_token=str(token), csr=request.csr, hostname=hostname),
                timeout=CALL_SECONDS,
            )
        )
    return request.accepted(response)


async def renew(channel: grpc.aio.Channel, identity: AgentIdentity) -> AgentIdentity:
    """A new key and certificate for the same agent. The spec keys stay those that were pinned at enrolment.

    Raises EnrolmentFailed, BadIdentity.
    """
    request = KeyRequest(socket.gethostname())
    response = await _answer(
        GatewayStub(channel).Renew(gateway_pb2.RenewRequest(csr=request.csr), timeout=CALL_SECONDS)
    )
    renewed = request.accepted(response, identity.spec_keys)
    if (renewed.agent_id, renewed.tenant) != (identity.agent_id, identity.tenant):
        raise EnrolmentFailed(
            f"the gateway renewed {identity.agent_id} of {identity.tenant} as {renewed.agent_id} of {renewed.tenant}"
        )
    return renewed


async def _answer(call: object) -> gateway_pb2.EnrollResponse:
    try:
        return await cast("Awaitable[gateway_pb2.EnrollResponse]", call)
    except grpc.aio.AioRpcError as error:
        raise EnrolmentFailed(f"the gateway answered {error.code().name}: {error.details()}") from error


def _sha256(pem: bytes) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.decode())).hexdigest()
