"""A gateway for agents under test: real grpc.aio servers with mutual TLS and a CA of its own; what it says, the test decides.

One port, two TLS sides chosen by the server name of the ClientHello, as the real one has it. It can be closed and opened
again on the same port, stop renewing the lease, and refuse batches.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID
from wire.dsse import key_id
from wire.identity import ENROLL_SERVER_NAME, GATEWAY_SERVER_NAME, JoinToken, agent_id_of, agent_uri
from wire.v1 import gateway_pb2, records_pb2
from wire.v1.gateway_pb2_grpc import GatewayServicer, add_GatewayServicer_to_server

T = TypeVar("T")


class Authority:
    """A certificate authority that lives as long as the test."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
        self.certificate = self._signed(
            self._name, self._key.public_key(), [x509.DNSName("ca.test")], timedelta(days=1), ca=True
        )
        self.pem = _pem(self.certificate)
        self.sha256 = hashlib.sha256(self.certificate.public_bytes(serialization.Encoding.DER)).hexdigest()

    def server(self) -> tuple[bytes, bytes]:
        """Key and chain; the chain ends in the CA, which is what an agent looks for."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.DNSName(ENROLL_SERVER_NAME), x509.DNSName(GATEWAY_SERVER_NAME)]
        return _private(key), _pem(
            self._signed(_name("gateway"), key.public_key(), names, timedelta(days=1))
        ) + self.pem

    def agent(self, csr: bytes, agent_id: str, life: timedelta) -> bytes:
        request = x509.load_der_x509_csr(csr)
        uri = x509.UniformResourceIdentifier(agent_uri(agent_id))
        return _pem(self._signed(request.subject, request.public_key(), [uri], life))

    def _signed(
        self, subject: x509.Name, key: Any, names: list[x509.GeneralName], life: timedelta, *, ca: bool = False
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + life)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )


@dataclass
class Heard:
    """Everything agents said, in order."""

    hellos: list[gateway_pb2.Hello] = field(default_factory=list)
    acks: list[gateway_pb2.Ack] = field(default_factory=list)
    nacks: list[gateway_pb2.Nack] = field(default_factory=list)
    statuses: list[gateway_pb2.Status] = field(default_factory=list)
    answers: list[gateway_pb2.FunctionsAnswer] = field(default_factory=list)
    batches: list[records_pb2.Batch] = field(default_factory=list)
    unbalanced: list[records_pb2.Batch] = field(default_factory=list)
    heartbeats: int = 0
    renewals: int = 0
    peers: set[str] = field(default_factory=set)

    def states(self, tracepoint_id: str) -> list[int]:
        return [status.state for status in self.statuses if status.tracepoint_id == tracepoint_id]

    def ended(self, tracepoint_id: str) -> str | None:
        """Why it ended, once it has."""
        reasons = [s.end_reason for s in self.statuses if s.tracepoint_id == tracepoint_id and s.end_reason]
        return reasons[-1] if reasons else None

    def final(self, tracepoint_id: str) -> records_pb2.Batch | None:
        finals = [batch for batch in self.batches if batch.tracepoint_id == tracepoint_id and batch.final]
        return finals[-1] if finals else None


class TestGateway(GatewayServicer):  # type: ignore[misc]
    """`await open()`, then `say(...)` and look at `heard`."""

    __test__ = False  # not a test class, whatever pytest thinks of its name

    def __init__(self, tenant: str = "acme") -> None:
        self.authority = Authority()
        self.tenant = tenant
        self.spec_key = Ed25519PrivateKey.generate()
        self.token = JoinToken("pgj_" + "s" * 40, self.authority.sha256)
        self.heard = Heard()
        self.lease_seconds = 60
        self.renews_lease = True
        self.refusal = ""
        self.acknowledges = True
        self.certificate_life = timedelta(hours=1)
        self.renew_after = timedelta(minutes=40)
        self.desired: dict[str, bytes] = {}
        self.port = 0
        self._streams: list[asyncio.Queue[gateway_pb2.ServerMessage]] = []
        self._servers: list[grpc.aio.Server] = []
        self._front: asyncio.Server | None = None
        self._pipes: set[asyncio.Task[None]] = set()
        self._agents = 0
        self._nonce = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def open(self) -> None:
        key, chain = self.authority.server()
        enrol = await self._serve(grpc.ssl_server_credentials([(key, chain)]))
        mutual = await self._serve(
            grpc.ssl_server_credentials([(key, chain)], self.authority.pem, require_client_auth=True)
        )

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            hello = await reader.read(1 << 16)
            port = enrol if ENROLL_SERVER_NAME.encode() in hello else mutual
            await self._pipe(reader, writer, hello, port)

        self._front = await asyncio.start_server(connected, "127.0.0.1", self.port)
        self.port = self._front.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Asserts that every last accounting that was heard adds up."""
        assert not self.heard.unbalanced, self.heard.unbalanced
        if self._front is not None:
            self._front.close()
        for server in self._servers:
            await server.stop(None)
        for pipe in self._pipes:
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)
        self._servers.clear()
        self._streams.clear()

    def say(self, **message: Any) -> None:
        """To every agent: say(retract=Retract(...))."""
        for stream in self._streams:
            stream.put_nowait(gateway_pb2.ServerMessage(**message))

    def deploy(self, tracepoint_id: str, envelope: bytes) -> str:
        """Desired from now on, also by agents that connect later."""
        self.desired[tracepoint_id] = envelope
        self._nonce += 1
        self.say(desired=gateway_pb2.Desired(envelope=envelope, nonce=str(self._nonce)))
        return str(self._nonce)

    def retract(self, tracepoint_id: str, reason: str = "deleted") -> None:
        self.desired.pop(tracepoint_id, None)
        self.say(retract=gateway_pb2.Retract(tracepoint_id=tracepoint_id, reason=reason, nonce="r"))

    async def until(self, true: Callable[[], T], seconds: float = 20.0) -> T:
        """Wait for something to be heard; the assertion that it was, with what was heard instead."""
        try:
            async with asyncio.timeout(seconds):
                while not (found := true()):  # noqa: ASYNC110 -- the test's own condition, over what was heard
                    await asyncio.sleep(0.02)
        except TimeoutError:
            heard = self.heard
            raise AssertionError(
                f"not heard within {seconds} s; statuses {heard.statuses}, nacks {heard.nacks},"
                f" {len(heard.batches)} batches, {len(heard.hellos)} hellos"
            ) from None
        return found

    # --- the service -----------------------------------------------------------------------------------------

    async def Enroll(self, request: gateway_pb2.EnrollRequest, context: Any) -> gateway_pb2.EnrollResponse:
        if request.join_token != str(self.token):
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "this join token is unknown, used or expired")
        self._agents += 1
        return self._response(f"ag_{self._agents}", request.csr)

    async def Renew(self, request: gateway_pb2.RenewRequest, context: Any) -> gateway_pb2.EnrollResponse:
        self.heard.renewals += 1
        self.renew_after = timedelta(minutes=40)
        return self._response(_peer(context), request.csr)

    async def Sync(
        self, requests: AsyncIterator[gateway_pb2.AgentMessage], context: Any
    ) -> AsyncIterator[gateway_pb2.ServerMessage]:
        self.heard.peers.add(_peer(context))
        out: asyncio.Queue[gateway_pb2.ServerMessage] = asyncio.Queue()
        reading = asyncio.create_task(self._listen(requests, out))
        try:
            while True:
                yield await out.get()
        finally:
            reading.cancel()
            if out in self._streams:
                self._streams.remove(out)

    async def Upload(
        self, requests: AsyncIterator[records_pb2.Batch], context: Any
    ) -> AsyncIterator[records_pb2.BatchAck]:
        async for batch in requests:
            self.heard.batches.append(batch)
            if batch.final and not adds_up(batch.accounting):
                self.heard.unbalanced.append(batch)
            if self.acknowledges:
                yield records_pb2.BatchAck(
                    tracepoint_id=batch.tracepoint_id, sequence=batch.sequence, refusal=self.refusal
                )

    # --- inside ----------------------------------------------------------------------------------------------

    async def _listen(self, requests: AsyncIterator[gateway_pb2.AgentMessage], out: asyncio.Queue[Any]) -> None:
        async for message in requests:
            match message.WhichOneof("message"):
                case "hello":
                    self.heard.hellos.append(message.hello)
                    self._greet(out)
                case "heartbeat":
                    self.heard.heartbeats += 1
                    if self.renews_lease:
                        lease = gateway_pb2.LeaseRenewal(nonce=message.heartbeat.nonce)
                        out.put_nowait(gateway_pb2.ServerMessage(lease=lease))
                case "ack":
                    self.heard.acks.append(message.ack)
                case "nack":
                    self.heard.nacks.append(message.nack)
                case "status":
                    self.heard.statuses.append(message.status)
                case "functions":
                    self.heard.answers.append(message.functions)

    def _greet(self, out: asyncio.Queue[Any]) -> None:
        out.put_nowait(gateway_pb2.ServerMessage(welcome=gateway_pb2.Welcome(lease_seconds=self.lease_seconds)))
        for envelope in self.desired.values():
            self._nonce += 1
            desired = gateway_pb2.Desired(envelope=envelope, nonce=str(self._nonce))
            out.put_nowait(gateway_pb2.ServerMessage(desired=desired))
        self._streams.append(out)

    def _response(self, agent_id: str, csr: bytes) -> gateway_pb2.EnrollResponse:
        public = self.spec_key.public_key()
        response = gateway_pb2.EnrollResponse(
            agent_id=agent_id,
            tenant=self.tenant,
            certificate=self.authority.agent(csr, agent_id, self.certificate_life) + self.authority.pem,
            ca=self.authority.pem,
            spec_keys=[gateway_pb2.VerificationKey(key_id=key_id(public), ed25519=public.public_bytes_raw())],
        )
        response.renew_after.FromDatetime(datetime.now(UTC) + self.renew_after)
        return response

    async def _serve(self, credentials: grpc.ServerCredentials) -> int:
        server = grpc.aio.server()
        add_GatewayServicer_to_server(self, server)
        port = server.add_secure_port("127.0.0.1:0", credentials)
        await server.start()
        self._servers.append(server)
        return port

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes, port: int) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        inner_writer.write(first)

        async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            try:
                while data := await source.read(1 << 16):
                    target.write(data)
                    await target.drain()
            except ConnectionError:
                return  # either side went away: so does the pipe
            finally:
                target.close()

        for each in (copy(reader, inner_writer), copy(inner_reader, writer)):
            task = asyncio.create_task(each)
            self._pipes.add(task)
            task.add_done_callback(self._pipes.discard)


def adds_up(accounting: records_pb2.Accounting) -> bool:
    """hits = delivered + filtered + sampled out + throttled + expired + lost(reason)."""
    kernel = accounting.filtered + accounting.sampled_out + accounting.throttled + accounting.expired
    return accounting.hits == accounting.delivered + kernel + sum(accounting.lost.values())


def _peer(context: Any) -> str:
    uris = [name.decode() for name in context.auth_context().get("x509_subject_alternative_name", [])]
    found = [agent for agent in map(agent_id_of, uris) if agent is not None]
    if len(found) != 1:
        raise AssertionError(f"the peer's certificate names {uris}")
    return found[0]


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
