"""A whole gateway on loopback with real TLS, a real database and sinks in memory, and an agent that speaks by hand."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.exc import IntegrityError
from wire.identity import ENROLL_SERVER_NAME, GATEWAY_SERVER_NAME, JoinToken, agent_uri
from wire.v1 import gateway_pb2, records_pb2
from wire.v1.gateway_pb2_grpc import GatewayStub

from control_plane.audit.service import AuditLog
from control_plane.delivery.deliveries import Deliveries
from control_plane.delivery.enrolment import Enrolment
from control_plane.delivery.feed import Feeds
from control_plane.delivery.gateway import Gateway
from control_plane.delivery.identification import Identification
from control_plane.delivery.pki import CertificateAuthority, load_or_create
from control_plane.delivery.ports import AgentReport, SpecStore
from control_plane.delivery.pulse import Pulse
from control_plane.delivery.server import GatewayServer
from control_plane.delivery.service import Fleet
from control_plane.delivery.session import Exchange
from control_plane.delivery.switchboard import Switchboard
from control_plane.foundation.clock import Clock, SystemClock
from control_plane.foundation.database import Database
from control_plane.foundation.errors import AuditUnavailable, ProbegateError
from control_plane.foundation.identifiers import AgentId, TenantId
from control_plane.policy.model import Permission
from control_plane.signing.model import SealedSpec
from control_plane.signing.service import Signer
from tests.builders import principals
from tests.builders.database import sqlite_database
from tests.builders.plans import masked_plan, seal_context

SPEC_KEY = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"spec key of the tests").digest())


class KeptStatuses:
    """A StatusSink that keeps what it is told, and fails on demand."""

    def __init__(self) -> None:
        self.reports: list[tuple[TenantId, AgentId, AgentReport]] = []
        self.groups: list[int] = []  # how many came together
        self.failure: ProbegateError | None = None
        self.poison = ""  # a tracepoint whose reports cannot be taken
        self.open = asyncio.Event()
        self.open.set()

    async def report_together(self, tenant: TenantId, agent: AgentId, reports: Sequence[AgentReport]) -> None:
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        if self.poison in {report.tracepoint_id for report in reports}:
            raise AuditUnavailable("the log cannot take this one")
        self.groups.append(len(reports))
        self.reports += [(tenant, agent, report) for report in reports]


class KeptBatches:
    """A BatchSink that keeps what it is given, refuses or fails on demand."""

    def __init__(self) -> None:
        self.batches: list[tuple[TenantId, AgentId, records_pb2.Batch]] = []
        self.groups: list[int] = []  # how many came together
        self.refusal = ""
        self.failure: ProbegateError | None = None
        self.poison = ""  # a tracepoint whose batches the database does not take
        self.open = asyncio.Event()
        self.open.set()

    async def store_together(
        self, tenant: TenantId, agent: AgentId, batches: Sequence[records_pb2.Batch]
    ) -> tuple[str, ...]:
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        if self.poison in {batch.tracepoint_id for batch in batches}:
            raise IntegrityError("INSERT", {}, ValueError("poison"))
        self.groups.append(len(batches))
        if not self.refusal:
            self.batches += [(tenant, agent, batch) for batch in batches]
        return (self.refusal,) * len(batches)


@dataclass
class RunningGateway:
    port: int
    database: Database
    audit: AuditLog
    authority: CertificateAuthority
    enrolment: Enrolment
    fleet: Fleet
    signer: Signer
    store: SpecStore
    statuses: KeptStatuses = field(default_factory=KeptStatuses)
    batches: KeptBatches = field(default_factory=KeptBatches)

    async def token(self, tenant: str = "acme", uses: int = 1, life: timedelta = timedelta(minutes=10)) -> str:
        grant = principals.grant(Permission.AGENT_JOIN, tenant=tenant)
        return (await self.enrolment.mint(grant, life, uses)).token

    async def agent(self, tenant: str = "acme", hostname: str = "host-1") -> HandAgent:
        """An agent that has just enrolled."""
        agent = HandAgent(self.port, self.authority.pem)
        await agent.enroll(await self.token(tenant), hostname)
        return agent

    def seal(
        self,
        *agents: HandAgent,
        tracepoint_id: str = "tp_1",
        version: int = 1,
        tenant: str = "acme",
        life: timedelta = timedelta(minutes=10),
    ) -> SealedSpec:
        audience = [agent_uri(agent.agent_id) for agent in agents]
        now = datetime.now(UTC)
        context = seal_context(
            *audience, tracepoint_id=tracepoint_id, version=version, tenant=tenant, now=now, life=life
        )
        return self.signer.seal(masked_plan(), context)


@contextlib.asynccontextmanager
async def running_gateway(
    directory: Path,
    store: SpecStore,
    *,
    clock: Clock | None = None,
    lease: timedelta = timedelta(seconds=60),
    database: Database | None = None,
) -> AsyncIterator[RunningGateway]:
    clock = clock or SystemClock()
    async with contextlib.AsyncExitStack() as stack:
        database = database or await stack.enter_async_context(sqlite_database(directory))
        audit = AuditLog(database, clock, Ed25519PrivateKey.generate())
        authority = load_or_create(directory / "pki", clock)
        signer = Signer(SPEC_KEY)
        switchboard, identification = Switchboard(), Identification(database, clock)
        feeds = Feeds(store, signer.public_keys, clock)
        enrolment = Enrolment(database, audit, clock, authority)
        statuses, batches = KeptStatuses(), KeptBatches()
        exchange = Exchange(
            feeds=feeds,
            pulse=Pulse(database, store),
            deliveries=Deliveries(database, audit, clock),
            switchboard=switchboard,
            identification=identification,
            statuses=statuses,
            clock=clock,
            lease=lease,
            verification_keys=tuple(signer.verification_keys()),
        )
        gateway = Gateway(exchange, enrolment, identification, authority, batches, clock)
        server = GatewayServer(gateway, feeds, authority, clock)
        port = await server.start("127.0.0.1", 0)
        running = asyncio.create_task(server.run())
        fleet = Fleet(database, audit, clock, switchboard, identification)
        try:
            yield RunningGateway(port, database, audit, authority, enrolment, fleet, signer, store, statuses, batches)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await server.stop()


def certificate_request(key: ec.EllipticCurvePrivateKey, name: str = "anything") -> bytes:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.DER)


class HandAgent:
    """The agents' side of the protocol, one message at a time."""

    def __init__(self, port: int, ca: bytes) -> None:
        self.port = port
        self.ca = ca
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.agent_id = ""
        self.tenant = ""
        self.certificate = b""

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def channel(self, *, name: str = GATEWAY_SERVER_NAME, certified: bool = True) -> grpc.aio.Channel:
        own = (self.key_pem, self.certificate) if certified else (None, None)
        credentials = grpc.ssl_channel_credentials(self.ca, *own)
        options = [("grpc.ssl_target_name_override", name), ("grpc.enable_retries", 0)]
        return grpc.aio.secure_channel(f"127.0.0.1:{self.port}", credentials, options)

    async def enroll(self, token: str, hostname: str = "host-1") -> gateway_pb2.EnrollResponse:
        request = gateway_pb2.EnrollRequest(join_token=token, csr=certificate_request(self.key), hostname=hostname)
        async with self.channel(name=ENROLL_SERVER_NAME, certified=False) as channel:
            response = await GatewayStub(channel).Enroll(request, timeout=10)
        self.agent_id, self.tenant, self.certificate = response.agent_id, response.tenant, response.certificate
        assert JoinToken.parse(token).ca_sha256
        return response

    @contextlib.asynccontextmanager
    async def sync(self, running: dict[str, int] | None = None) -> AsyncIterator[HandSync]:
        """A stream that has said Hello and was welcomed."""
        async with self.channel() as channel:
            stream = HandSync(GatewayStub(channel).Sync())
            await stream.send(
                hello=gateway_pb2.Hello(agent_version="1", hostname="h", kernel="6", running=running or {})
            )
            stream.welcome = (await stream.receive("welcome")).welcome
            try:
                yield stream
            finally:
                await stream.close()


class HandSync:
    """What comes is read at once and kept: a read that is given up ends the whole call in grpc.aio."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.welcome = gateway_pb2.Welcome()
        self._came: asyncio.Queue[gateway_pb2.ServerMessage | grpc.aio.AioRpcError | None] = asyncio.Queue()
        self._pump = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for message in self.call:
                self._came.put_nowait(message)
            self._came.put_nowait(None)
        except grpc.aio.AioRpcError as error:
            self._came.put_nowait(error)

    async def close(self) -> None:
        self.call.cancel()
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)

    async def send(self, **message: Any) -> None:
        await self.call.write(gateway_pb2.AgentMessage(**message))

    async def receive(self, kind: str, seconds: float = 10) -> gateway_pb2.ServerMessage:
        """The next message of this kind; others are passed over. Raises AioRpcError when the gateway ends the stream."""
        async with asyncio.timeout(seconds):
            while True:
                message = await self._came.get()
                if isinstance(message, grpc.aio.AioRpcError):
                    raise message
                if message is None:
                    raise EOFError
                if message.WhichOneof("message") == kind:
                    return message

    async def silence(self, kind: str, seconds: float = 1.0) -> bool:
        """Whether no such message comes for so long."""
        try:
            await self.receive(kind, seconds)
        except TimeoutError:
            return True
        return False

    async def ended(self, seconds: float = 10) -> grpc.StatusCode:
        """How the gateway ended the stream."""
        async with asyncio.timeout(seconds):
            while True:
                message = await self._came.get()
                if message is None:
                    return await self.call.code()
                if isinstance(message, grpc.aio.AioRpcError):
                    return message.code()
