"""Who becomes an agent, over real TLS: a good token and a request, and nobody else."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from sqlalchemy import select
from wire.identity import ENROLL_SERVER_NAME, GATEWAY_SERVER_NAME, JoinToken
from wire.v1 import gateway_pb2
from wire.v1.gateway_pb2_grpc import GatewayStub

from control_plane.audit.tables import AuditEntryRow
from control_plane.delivery.gateway import ENROLMENTS_A_SECOND
from control_plane.delivery.pki import load_or_create
from control_plane.delivery.tables import AgentRow, JoinTokenRow
from control_plane.foundation.clock import ManualClock, SystemClock
from control_plane.foundation.database import Database, EveryTenant
from control_plane.foundation.errors import Invalid
from control_plane.policy.model import Permission
from tests.builders import principals
from tests.builders.gateway import HandAgent, RunningGateway, certificate_request, running_gateway
from tests.builders.spec_store import FakeSpecStore


@pytest.fixture
async def gateway(database: Database, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(tmp_path, FakeSpecStore(SystemClock()), database=database) as running:
        yield running


def stranger(gateway: RunningGateway) -> HandAgent:
    return HandAgent(gateway.port, gateway.authority.pem)


async def entries(gateway: RunningGateway, tenant: str, action: str) -> list[dict]:
    wanted = select(AuditEntryRow.entry).where(AuditEntryRow.tenant == tenant, AuditEntryRow.action == action)
    async with gateway.database.transaction(tenant) as session:
        return [json.loads(entry) for entry in await session.scalars(wanted)]


async def refusal(agent: HandAgent, token: str) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await agent.enroll(token)
    return raised.value


async def test_a_token_makes_one_host_an_agent_of_its_tenant(gateway: RunningGateway) -> None:
    agent = await gateway.agent("acme", "web-1")
    leaf, ca = x509.load_pem_x509_certificates(agent.certificate)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [f"spiffe://probegate/agent/{agent.agent_id}"]
    assert len(names) == 1
    assert leaf.public_key() == agent.key.public_key()
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc <= timedelta(hours=24, minutes=5)
    leaf.verify_directly_issued_by(ca)
    assert agent.tenant == "acme"
    async with gateway.database.transaction(EveryTenant("a test looks")) as session:
        row = (await session.scalars(select(AgentRow))).one()
    assert (row.tenant, row.agent_id, row.hostname) == ("acme", agent.agent_id, "web-1")


async def test_an_enrolment_is_in_the_log_with_where_it_came_from(gateway: RunningGateway) -> None:
    agent = await gateway.agent()
    (entry,) = await entries(gateway, "acme", "agent.enroll")
    assert (entry["actor"], entry["outcome"]) == (f"agent:{agent.agent_id}", "success")
    assert entry["detail"]["peer"] == "127.0.0.1"
    (made,) = await entries(gateway, "acme", "agent.token")
    assert made["resource"] == f"join-token/{entry['detail']['join_token']}"


async def test_the_answer_pins_the_spec_keys_and_the_ca(gateway: RunningGateway) -> None:
    agent = stranger(gateway)
    response = await agent.enroll(await gateway.token())
    assert list(response.spec_keys) == gateway.signer.verification_keys()
    assert response.ca == gateway.authority.pem
    renew_after = response.renew_after.ToDatetime(UTC)
    assert timedelta(hours=11) < renew_after - datetime.now(UTC) < timedelta(hours=13)


async def test_a_token_is_kept_as_a_hash_only(gateway: RunningGateway) -> None:
    token = JoinToken.parse(await gateway.token())
    async with gateway.database.transaction(EveryTenant("a test looks")) as session:
        row = (await session.scalars(select(JoinTokenRow))).one()
    assert token.secret not in str(vars(row))
    assert token.ca_sha256 == gateway.authority.sha256


async def test_a_used_token_is_refused_and_logged(gateway: RunningGateway) -> None:
    token = await gateway.token()
    await stranger(gateway).enroll(token)
    error = await refusal(stranger(gateway), token)
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "unknown, expired or used up" in error.details()
    refused = (await entries(gateway, "acme", "agent.enroll"))[-1]
    assert (refused["outcome"], refused["detail"]["reason"]) == ("refused", "used up")


async def test_the_last_use_of_a_token_goes_to_one_host(gateway: RunningGateway) -> None:
    token = await gateway.token(uses=2)
    results = await asyncio.gather(*(stranger(gateway).enroll(token) for _ in range(6)), return_exceptions=True)
    assert sum(isinstance(result, gateway_pb2.EnrollResponse) for result in results) == 2


async def test_an_expired_token_is_refused(gateway: RunningGateway) -> None:
    token = await gateway.token(life=timedelta(milliseconds=1))
    await asyncio.sleep(0.01)
    error = await refusal(stranger(gateway), token)
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert (await entries(gateway, "acme", "agent.enroll"))[-1]["detail"]["reason"] == "expired"


async def test_a_made_up_token_is_refused_in_the_same_words_and_logged_for_the_platform(
    gateway: RunningGateway,
) -> None:
    used = await gateway.token()
    await stranger(gateway).enroll(used)
    made_up = str(JoinToken("pgj_" + "x" * 43, gateway.authority.sha256))
    assert (await refusal(stranger(gateway), made_up)).details() == (await refusal(stranger(gateway), used)).details()
    (entry,) = await entries(gateway, "platform", "agent.enroll")
    assert entry["detail"]["reason"] == "unknown"


async def test_no_token_at_all_is_refused(gateway: RunningGateway) -> None:
    for text in ("", "pgj_short.00", "x" * 10_000):
        assert (await refusal(stranger(gateway), text)).code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_flood_of_attempts_is_slowed_down(database: Database, tmp_path: Path) -> None:
    clock = ManualClock(SystemClock().now())  # stands still: all attempts come at one moment
    async with running_gateway(tmp_path, FakeSpecStore(clock), clock=clock, database=database) as gateway:
        made_up = str(JoinToken("pgj_" + "x" * 43, gateway.authority.sha256))
        results = await asyncio.gather(*(stranger(gateway).enroll(made_up) for _ in range(40)), return_exceptions=True)
        codes = Counter(result.code() for result in results if isinstance(result, grpc.aio.AioRpcError))
        refused, too_many = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.RESOURCE_EXHAUSTED
        assert codes == {refused: ENROLMENTS_A_SECOND, too_many: 40 - ENROLMENTS_A_SECOND}
        clock.advance(timedelta(seconds=1))
        assert (await refusal(stranger(gateway), made_up)).code() is refused


@pytest.mark.parametrize("damage", [b"", b"\x30\x03\x02\x01\x00", b"x" * 20_000])
async def test_a_request_that_cannot_be_read_costs_no_use(gateway: RunningGateway, damage: bytes) -> None:
    token = await gateway.token()
    agent = stranger(gateway)
    async with agent.channel(name=ENROLL_SERVER_NAME, certified=False) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await GatewayStub(channel).Enroll(
                gateway_pb2.EnrollRequest(join_token=token, csr=damage, hostname="h"), timeout=10
            )
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    await agent.enroll(token)


def test_of_a_request_only_the_key_counts(tmp_path: Path) -> None:
    authority = load_or_create(tmp_path, SystemClock())
    request = certificate_request(ec.generate_private_key(ec.SECP256R1()), "spiffe://probegate/agent/somebody-else")
    leaf = x509.load_pem_x509_certificates(authority.issue_agent("ag_1", request).chain)[0]
    assert leaf.subject.rfc4514_string() == "CN=ag_1"
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [name.value for name in names] == ["spiffe://probegate/agent/ag_1"]


def test_a_weak_or_foreign_key_gets_no_certificate(tmp_path: Path) -> None:
    authority = load_or_create(tmp_path, SystemClock())
    for key in (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256K1())):
        with pytest.raises(Invalid, match="must be on one of"):
            authority.issue_agent("ag_1", certificate_request(key))


def test_a_request_that_its_key_did_not_sign_gets_no_certificate(tmp_path: Path) -> None:
    request = bytearray(certificate_request(ec.generate_private_key(ec.SECP256R1())))
    request[-1] ^= 1
    with pytest.raises(Invalid):
        load_or_create(tmp_path, SystemClock()).issue_agent("ag_1", bytes(request))


async def test_the_ca_is_in_the_chain_that_the_server_sends(gateway: RunningGateway) -> None:
    def chain() -> list[bytes]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=ENROLL_SERVER_NAME) as secure,
        ):
            return [item.public_bytes(1) for item in secure._sslobj.get_unverified_chain()]

    found = await asyncio.to_thread(chain)
    assert gateway.authority.pem.decode() in found


async def test_only_enroll_is_served_where_no_certificate_is_asked_for(gateway: RunningGateway) -> None:
    agent = await gateway.agent()
    async with agent.channel(name=ENROLL_SERVER_NAME) as channel:
        for call in (
            GatewayStub(channel).Renew(gateway_pb2.RenewRequest(), timeout=5),
            GatewayStub(channel).Sync().read(),
            GatewayStub(channel).Upload().read(),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call
            assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_enroll_is_not_served_where_a_certificate_is_demanded(gateway: RunningGateway) -> None:
    agent = await gateway.agent()
    async with agent.channel(name=GATEWAY_SERVER_NAME) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await GatewayStub(channel).Enroll(gateway_pb2.EnrollRequest(join_token=await gateway.token()), timeout=5)
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_token_lives_and_serves_within_bounds(gateway: RunningGateway) -> None:
    grant = principals.grant(Permission.AGENT_JOIN)
    for life, uses in ((timedelta(0), 1), (timedelta(days=31), 1), (timedelta(hours=1), 0), (timedelta(hours=1), 1001)):
        with pytest.raises(Invalid):
            await gateway.enrolment.mint(grant, life, uses)
