"""Every RPC of the real gateway, called with every kind of certificate and token: policies/operations.yaml says what comes.

The agents are enrolled over the wire with tokens that the API gave, revoked and locked through the API; certificates that
no agent should have are made with the CA's own key, which lies in the server's state directory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from wire.identity import ENROLL_SERVER_NAME, JoinToken
from wire.v1 import gateway_pb2, records_pb2
from wire.v1.gateway_pb2_grpc import GatewayStub

from control_plane.delivery.pki import AGENT_LIFE, load_or_create
from control_plane.foundation.clock import SystemClock
from control_plane.foundation.identifiers import AgentId
from control_plane.http.operations import read_operations
from tests.builders.gateway import HandAgent, certificate_request
from tests.builders.real_server import RealServer, real_server

pytestmark = pytest.mark.peer  # its redis-server

TABLE = read_operations().rpcs
SECONDS = 15.0


class LongAgo:
    def now(self):
        return SystemClock().now() - AGENT_LIFE - timedelta(hours=1)


@dataclass
class Hosts:
    """The state directory's CA, join tokens through the API, and an agent of each kind."""

    server: RealServer
    state: Path

    def api(self, method: str, path: str, tenant: str = "acme", **body: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.server.token(f'founder-{tenant}')}"}
        address = f"{self.server.url}/v1/tenants/{tenant}{path}"
        return httpx.request(method, address, headers=headers, json=body or None).raise_for_status()

    def token(self, tenant: str = "acme") -> str:
        return self.api("POST", "/agents/join-tokens", tenant, uses=1).json()["token"]

    def stranger(self) -> HandAgent:
        return HandAgent(self.server.grpc_port, (self.state / "pki" / "ca.pem").read_bytes())

    async def agent(self, tenant: str = "acme") -> HandAgent:
        agent = self.stranger()
        await agent.enroll(self.token(tenant))
        return agent

    async def other_tenant(self) -> HandAgent:
        return await self.agent("globex")

    async def locked(self) -> HandAgent:
        agent = await self.agent()
        self.api("POST", "/locks", kind="agent", value=agent.agent_id, reason="the matrix")
        return agent

    async def revoked(self) -> HandAgent:
        agent = await self.agent()
        self.api("DELETE", f"/agents/{agent.agent_id}")
        return agent

    async def never_enrolled(self) -> HandAgent:
        return self._certified(self.state / "pki", SystemClock())

    async def expired(self) -> HandAgent:
        return self._certified(self.state / "pki", LongAgo())

    async def foreign_ca(self) -> HandAgent:
        return self._certified(self.state / "foreign", SystemClock())

    async def no_certificate(self) -> HandAgent:
        return self.stranger()

    def _certified(self, authority: Path, clock: Any) -> HandAgent:
        agent = self.stranger()
        made = load_or_create(authority, clock).issue_agent(AgentId("ag_" + "0" * 24), certificate_request(agent.key))
        agent.certificate = made.chain
        return agent


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    state = tmp_path_factory.mktemp("rpcs") / "state"
    with real_server(state) as server:
        for tenant in ("acme", "globex"):
            server.create_tenant(tenant, f"founder-{tenant}")
        yield Hosts(server, state)


async def renew(stub: GatewayStub, agent: HandAgent) -> None:
    await stub.Renew(gateway_pb2.RenewRequest(csr=certificate_request(agent.key)), timeout=SECONDS)


async def saying(message: Any) -> AsyncIterator[Any]:
    """One message, and the stream stays open; a stream that was refused ends the reading, not the writing."""
    yield message
    await asyncio.Event().wait()


async def sync(stub: GatewayStub, agent: HandAgent) -> None:
    hello = gateway_pb2.AgentMessage(hello=gateway_pb2.Hello(agent_version="1", hostname="h", kernel="6"))
    call = stub.Sync(saying(hello), timeout=SECONDS)
    async for message in call:
        assert message.WhichOneof("message") == "welcome"
        break
    call.cancel()


async def upload(stub: GatewayStub, agent: HandAgent) -> None:
    call = stub.Upload(saying(records_pb2.Batch(tracepoint_id="tp_absent", sequence=1)), timeout=SECONDS)
    async for ack in call:
        assert ack.refusal  # served, and told that there is no such tracepoint of its tenant
        break
    call.cancel()


CALLS: dict[str, Callable[[GatewayStub, HandAgent], Coroutine[Any, Any, None]]] = {
    "Renew": renew,
    "Sync": sync,
    "Upload": upload,
}


async def enrol(hosts: Hosts, who: str) -> None:
    agent = hosts.stranger()
    if who == "agent":  # with its certificate, at the door for certificates
        agent = await hosts.agent()
    if who in {"agent", "no-certificate"}:
        request = gateway_pb2.EnrollRequest(join_token=hosts.token(), csr=certificate_request(agent.key), hostname="h")
        async with agent.channel(certified=who == "agent") as channel:
            await GatewayStub(channel).Enroll(request, timeout=SECONDS)
        return
    token = hosts.token() if who in {"invited", "used-token"} else ""
    if who == "used-token":
        await hosts.stranger().enroll(token)
    if who == "made-up-token":
        token = str(JoinToken("pgj_" + "x" * 43, JoinToken.parse(hosts.token()).ca_sha256))
    if who == "no-token":
        request = gateway_pb2.EnrollRequest(csr=certificate_request(agent.key), hostname="h")
        async with agent.channel(name=ENROLL_SERVER_NAME, certified=False) as channel:
            await GatewayStub(channel).Enroll(request, timeout=SECONDS)
        return
    await agent.enroll(token)


async def ask(hosts: Hosts, rpc: str, who: str) -> None:
    if rpc == "Enroll":
        await enrol(hosts, who)
        return
    door = {"name": ENROLL_SERVER_NAME, "certified": False} if who == "enroll-door" else {}
    make = hosts.agent if who == "enroll-door" else getattr(hosts, who.replace("-", "_"))
    agent = await make()
    async with agent.channel(**{"certified": bool(agent.certificate)} | door) as channel:
        await CALLS[rpc](GatewayStub(channel), agent)


@pytest.mark.parametrize(("rpc", "who"), [(rpc, who) for rpc, row in TABLE.items() for who in row])
def test_every_caller_gets_the_answer_of_the_table(hosts: Hosts, rpc: str, who: str):
    try:
        asyncio.run(asyncio.wait_for(ask(hosts, rpc, who), 2 * SECONDS))
        came = "OK"
    except grpc.aio.AioRpcError as error:
        came = error.code().name

    assert came == TABLE[rpc][who]
