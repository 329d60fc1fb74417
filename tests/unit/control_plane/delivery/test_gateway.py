"""Specs reach the agents of their audience and no others, over real mutual TLS and a real Redis."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from sqlalchemy import select
from wire.v1 import gateway_pb2, records_pb2
from wire.v1.gateway_pb2_grpc import GatewayStub

from control_plane.audit.tables import AuditEntryRow
from control_plane.delivery.pki import load_or_create
from control_plane.delivery.ports import RetractReason
from control_plane.delivery.redis_store import RedisStore
from control_plane.foundation.clock import ManualClock, SystemClock
from control_plane.foundation.database import NO_TENANT, Database, EveryTenant
from control_plane.foundation.errors import AuditUnavailable, Conflict, DependencyUnavailable, NotFound
from control_plane.foundation.identifiers import AgentId, TenantId
from control_plane.policy.model import Permission
from tests.builders import principals
from tests.builders.gateway import HandAgent, RunningGateway, certificate_request, running_gateway
from tests.builders.redis_server import RedisServer, redis_server
from tests.builders.spec_store import sealed

pytestmark = pytest.mark.peer
ACME = TenantId("acme")
LEASE = timedelta(seconds=60)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as started:
        yield started


@pytest.fixture
async def store(server: RedisServer) -> AsyncIterator[RedisStore]:
    server.kill()
    server.start()
    opened = RedisStore(server.url, SystemClock())
    await opened.restored()
    yield opened
    await opened.close()


@pytest.fixture
async def gateway(database: Database, tmp_path: Path, store: RedisStore) -> AsyncIterator[RunningGateway]:
    async with running_gateway(tmp_path, store, lease=LEASE, database=database) as running:
        yield running


async def entries(gateway: RunningGateway, action: str) -> list[dict]:
    wanted = select(AuditEntryRow.entry).where(AuditEntryRow.action == action).order_by(AuditEntryRow.number)
    async with gateway.database.transaction(EveryTenant("a test reads every log")) as session:
        return [json.loads(entry) for entry in await session.scalars(wanted)]


async def until(condition) -> None:
    for _ in range(250):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("not within 5 s")


# --- delivering ----------------------------------------------------------------------------------------------


async def test_an_agent_is_welcomed_with_its_lease_and_the_keys(gateway: RunningGateway) -> None:
    agent = await gateway.agent()
    async with agent.sync() as stream:
        assert stream.welcome.lease_seconds == 60
        assert list(stream.welcome.spec_keys) == gateway.signer.verification_keys()


async def test_what_is_desired_comes_first_and_then_the_whole(gateway: RunningGateway, store: RedisStore) -> None:
    agent = await gateway.agent()
    spec = gateway.seal(agent, version=3)
    await store.publish(spec)
    async with agent.sync() as stream:
        desired = (await stream.receive("desired")).desired
        assert desired.envelope == spec.envelope
        assert desired.nonce
        assert dict((await stream.receive("reconcile")).reconcile.desired) == {"tp_1": 3}


async def test_what_is_published_later_comes_at_once(gateway: RunningGateway, store: RedisStore) -> None:
    agent = await gateway.agent()
    async with agent.sync() as stream:
        await stream.receive("reconcile")
        await store.publish(gateway.seal(agent))
        await stream.receive("desired", 1)
        newer = gateway.seal(agent, version=2)
        await store.publish(newer)
        assert (await stream.receive("desired", 1)).desired.envelope == newer.envelope


async def test_what_is_retracted_is_called_back_with_the_reason(gateway: RunningGateway, store: RedisStore) -> None:
    agent = await gateway.agent()
    await store.publish(gateway.seal(agent))
    async with agent.sync() as stream:
        await stream.receive("reconcile")
        await store.retract(ACME, "tp_1", RetractReason.REVOKED)
        retract = (await stream.receive("retract", 1)).retract
        assert (retract.tracepoint_id, retract.reason) == ("tp_1", "revoked")


async def test_what_an_agent_still_runs_is_not_sent_again(gateway: RunningGateway, store: RedisStore) -> None:
    agent = await gateway.agent()
    await store.publish(gateway.seal(agent, version=3))
    async with agent.sync({"tp_1": 3}) as stream:
        assert await stream.silence("desired")
    async with agent.sync({"tp_1": 2}) as stream:
        await stream.receive("desired")


async def test_what_was_retracted_while_the_agent_was_away_is_missing_from_the_whole(
    gateway: RunningGateway, store: RedisStore
) -> None:
    agent = await gateway.agent()
    async with agent.sync({"tp_gone": 1}) as stream:
        assert "tp_gone" not in (await stream.receive("reconcile")).reconcile.desired


async def test_a_spec_for_another_agent_is_not_delivered(gateway: RunningGateway, store: RedisStore) -> None:
    mine, other = await gateway.agent(), await gateway.agent()
    await store.publish(gateway.seal(other))
    async with mine.sync() as stream, other.sync() as others:
        await others.receive("desired")
        assert dict((await stream.receive("reconcile")).reconcile.desired) == {}
        assert await stream.silence("desired")


async def test_a_spec_of_another_tenant_is_never_delivered(gateway: RunningGateway, store: RedisStore) -> None:
    """Not even one that names the agent, nor one that somebody put under the agent's own tenant in Redis."""
    agent = await gateway.agent("acme")
    foreign = gateway.seal(agent, tenant="globex", tracepoint_id="tp_globex")
    await store.publish(foreign)
    await store.publish(sealed("tp_moved", foreign.not_after, tenant="acme", envelope=foreign.envelope))
    async with agent.sync() as stream:
        assert dict((await stream.receive("reconcile")).reconcile.desired) == {}
        assert await stream.silence("desired")


async def test_what_our_key_did_not_sign_is_not_delivered(gateway: RunningGateway, store: RedisStore) -> None:
    agent = await gateway.agent()
    spec = gateway.seal(agent)
    forged = spec.envelope.replace(b'"sig":"', b'"sig":"AAAA')[: len(spec.envelope)]
    await store.publish(sealed("tp_forged", spec.not_after, envelope=forged))
    await store.publish(sealed("tp_noise", spec.not_after, envelope=b"\x00" * 100))
    await store.publish(spec)
    async with agent.sync() as stream:
        await stream.receive("desired")
        assert dict((await stream.receive("reconcile")).reconcile.desired) == {"tp_1": 1}


async def test_the_first_delivery_to_an_agent_is_in_the_log_and_only_the_first(
    gateway: RunningGateway, store: RedisStore
) -> None:
    agent = await gateway.agent()
    await store.publish(gateway.seal(agent))
    for _ in range(2):
        async with agent.sync() as stream:
            await stream.receive("desired")
    (entry,) = await entries(gateway, "tracepoint.deliver")
    assert entry["resource"] == "tracepoint/tp_1"
    assert (entry["detail"]["agent"], entry["detail"]["version"]) == (agent.agent_id, 1)


async def test_nothing_is_delivered_that_cannot_be_logged(gateway: RunningGateway, store: RedisStore) -> None:
    agent = await gateway.agent()
    await store.publish(gateway.seal(agent))

    async def away(*_: object) -> int:
        raise AuditUnavailable("the log is away")

    gateway.audit.append = away  # type: ignore[method-assign]
    async with agent.sync() as stream:
        with pytest.raises(grpc.aio.AioRpcError, match="the log is away") as raised:
            await stream.receive("desired")
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_probe_that_ended_with_the_lease_is_offered_again(gateway: RunningGateway, store: RedisStore) -> None:
    agent = await gateway.agent()
    await store.publish(gateway.seal(agent))
    async with agent.sync() as stream:
        await stream.receive("desired")
        ended = gateway_pb2.Status(tracepoint_id="tp_1", version=1, state=gateway_pb2.STATE_ENDED, end_reason="lease")
        await stream.send(status=ended)
        await until(lambda: gateway.statuses.reports)
        await store.publish(gateway.seal(agent, tracepoint_id="tp_2"))  # any change is an occasion
        names = {json.loads((await stream.receive("desired")).desired.envelope)["payload"] for _ in range(2)}
        assert len(names) == 2


# --- reports -------------------------------------------------------------------------------------------------


async def test_what_an_agent_reports_arrives_as_its_own(gateway: RunningGateway) -> None:
    agent = await gateway.agent()
    async with agent.sync() as stream:
        await stream.send(ack=gateway_pb2.Ack(tracepoint_id="tp_1", version=1, nonce="1"))
        await stream.send(nack=gateway_pb2.Nack(tracepoint_id="tp_2", version=1, reason="expired", detail="x" * 9000))
        await stream.send(status=gateway_pb2.Status(tracepoint_id="tp_1", state=gateway_pb2.STATE_ARMED))
        await until(lambda: len(gateway.statuses.reports) == 3)
    tenants_and_agents = {(tenant, agent_id) for tenant, agent_id, _ in gateway.statuses.reports}
    assert tenants_and_agents == {("acme", agent.agent_id)}
    ack, nack, status = (report for _, _, report in gateway.statuses.reports)
    assert ack.version == 1
    assert len(nack.detail) == 2048
    assert status.state == gateway_pb2.STATE_ARMED


async def test_a_report_that_cannot_be_kept_ends_the_stream_so_that_it_is_said_again(gateway: RunningGateway) -> None:
    agent = await gateway.agent()
    gateway.statuses.failure = AuditUnavailable("the log is away")
    async with agent.sync() as stream:
        await stream.send(ack=gateway_pb2.Ack(tracepoint_id="tp_1"))
        assert await stream.ended() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    "message",
    [
        {"hello": gateway_pb2.Hello()},
        {},
        {"ack": gateway_pb2.Ack()},
        {"status": gateway_pb2.Status(tracepoint_id="x" * 1000)},
    ],
)
async def test_a_message_that_makes_no_sense_ends_the_stream(gateway: RunningGateway, message: dict) -> None:
    agent = await gateway.agent()
    async with agent.sync() as stream:
        await stream.send(**message)
        assert await stream.ended() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_stream_begins_with_hello(gateway: RunningGateway) -> None:
    agent = await gateway.agent()
    async with agent.channel() as channel:
        call = GatewayStub(channel).Sync()
        await call.write(gateway_pb2.AgentMessage(heartbeat=gateway_pb2.Heartbeat(nonce=1)))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.read()
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


# --- the lease -----------------------------------------------------------------------------------------------


async def test_a_heartbeat_renews_the_lease(gateway: RunningGateway) -> None:
    agent = await gateway.agent()
    async with agent.sync() as stream:
        await stream.send(heartbeat=gateway_pb2.Heartbeat(nonce=7))
        assert (await stream.receive("lease", 2)).lease.nonce == 7


async def test_without_redis_no_lease_is_renewed(gateway: RunningGateway, server: RedisServer) -> None:
    agent = await gateway.agent()
    async with agent.sync() as stream:
        await stream.receive("reconcile")
        server.kill()
        await asyncio.sleep(1.1)  # past what counts as "just now"
        await stream.send(heartbeat=gateway_pb2.Heartbeat(nonce=1))
        assert await stream.silence("lease", 2)
        server.start()
        await asyncio.sleep(1.1)
        await stream.send(heartbeat=gateway_pb2.Heartbeat(nonce=2))
        assert (await stream.receive("lease", 5)).lease.nonce == 2


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_without_the_database_no_lease_is_renewed(gateway: RunningGateway) -> None:
    agent = await gateway.agent()
    async with agent.sync() as stream:
        await stream.receive("reconcile")
        async with gateway.database.transaction(NO_TENANT) as session:  # SQLite has one writer: nobody else gets in
            await session.execute(select(1))
            await asyncio.sleep(1.1)
            await stream.send(heartbeat=gateway_pb2.Heartbeat(nonce=1))
            assert await stream.silence("lease", 2)


async def test_a_redis_that_came_back_empty_ends_nothing(
    gateway: RunningGateway, store: RedisStore, server: RedisServer
) -> None:
    agent = await gateway.agent()
    spec = gateway.seal(agent)
    await store.publish(spec)
    async with agent.sync() as stream:
        await stream.receive("reconcile")
    server.kill()
    server.start()
    async with agent.sync({"tp_1": 1}) as stream:
        assert await stream.silence("reconcile", 1.5)
    await store.publish(spec)
    await store.restored()
    async with agent.sync({"tp_1": 1}) as stream:
        assert dict((await stream.receive("reconcile")).reconcile.desired) == {"tp_1": 1}


# --- who may -------------------------------------------------------------------------------------------------


async def test_without_a_certificate_nobody_gets_in(gateway: RunningGateway) -> None:
    agent = await gateway.agent()
    async with agent.channel(certified=False) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await GatewayStub(channel).Renew(gateway_pb2.RenewRequest(), timeout=5)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


async def refused(agent: HandAgent) -> grpc.StatusCode:
    async with agent.channel() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await GatewayStub(channel).Renew(gateway_pb2.RenewRequest(csr=certificate_request(agent.key)), timeout=5)
    return raised.value.code()


async def test_a_certificate_of_another_ca_does_not_get_in(gateway: RunningGateway, tmp_path: Path) -> None:
    agent = await gateway.agent()
    other = load_or_create(tmp_path / "other", SystemClock())
    agent.certificate = other.issue_agent(AgentId(agent.agent_id), certificate_request(agent.key)).chain
    assert await refused(agent) is grpc.StatusCode.UNAVAILABLE


async def test_an_expired_certificate_does_not_get_in(gateway: RunningGateway, tmp_path: Path) -> None:
    agent = await gateway.agent()
    yesterday = ManualClock(SystemClock().now() - timedelta(hours=25))
    past = load_or_create(tmp_path / "pki", yesterday)
    agent.certificate = past.issue_agent(AgentId(agent.agent_id), certificate_request(agent.key)).chain
    assert await refused(agent) is grpc.StatusCode.UNAVAILABLE


async def test_a_server_s_certificate_is_no_agent_s(gateway: RunningGateway) -> None:
    agent = await gateway.agent()
    made = gateway.authority.issue_server()
    agent.certificate = made.chain
    credentials = grpc.ssl_channel_credentials(agent.ca, made.key, made.chain)
    options = [("grpc.ssl_target_name_override", "gateway.probegate")]
    async with grpc.aio.secure_channel(f"127.0.0.1:{gateway.port}", credentials, options) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await GatewayStub(channel).Renew(gateway_pb2.RenewRequest(), timeout=5)
    assert raised.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED}


async def test_an_agent_that_never_enrolled_is_refused(gateway: RunningGateway) -> None:
    agent = await gateway.agent()
    agent.certificate = gateway.authority.issue_agent(AgentId("ag_unknown"), certificate_request(agent.key)).chain
    assert await refused(agent) is grpc.StatusCode.PERMISSION_DENIED


async def test_a_stream_does_not_outlive_the_certificate(gateway: RunningGateway, tmp_path: Path) -> None:
    agent = await gateway.agent()
    almost = ManualClock(SystemClock().now() - timedelta(hours=24) + timedelta(seconds=2))
    past = load_or_create(tmp_path / "pki", almost)
    agent.certificate = past.issue_agent(AgentId(agent.agent_id), certificate_request(agent.key)).chain
    async with agent.sync() as stream:
        assert await stream.ended() is grpc.StatusCode.UNAUTHENTICATED


async def test_an_agent_renews_its_certificate_for_a_new_key(gateway: RunningGateway) -> None:
    agent = await gateway.agent()
    fresh = HandAgent(gateway.port, agent.ca)
    async with agent.channel() as channel:
        response = await GatewayStub(channel).Renew(
            gateway_pb2.RenewRequest(csr=certificate_request(fresh.key)), timeout=5
        )
    assert (response.agent_id, response.tenant) == (agent.agent_id, "acme")
    fresh.certificate = response.certificate
    async with fresh.sync() as stream:
        assert stream.welcome.lease_seconds
    assert (await entries(gateway, "agent.enroll"))[-1]["detail"]["renewed"] is True


async def test_a_revoked_agent_is_cut_off_and_stays_out(gateway: RunningGateway, store: RedisStore) -> None:
    agent = await gateway.agent()
    grant = principals.grant(Permission.AGENT_JOIN, name=agent.agent_id)
    async with agent.sync() as stream:
        await gateway.fleet.revoke(grant, AgentId(agent.agent_id))
        async with asyncio.timeout(2):
            assert await stream.ended() is grpc.StatusCode.FAILED_PRECONDITION
    assert await refused(agent) is grpc.StatusCode.PERMISSION_DENIED
    (entry,) = await entries(gateway, "agent.revoke")
    assert entry["resource"] == f"agent/{agent.agent_id}"


async def test_an_agent_of_another_tenant_cannot_be_revoked(gateway: RunningGateway) -> None:
    agent = await gateway.agent("globex")
    with pytest.raises(NotFound):
        await gateway.fleet.revoke(principals.grant(Permission.AGENT_JOIN), AgentId(agent.agent_id))
    async with agent.sync() as stream:
        assert stream.welcome.lease_seconds


async def test_an_agent_has_one_stream_and_the_newer_one_wins(gateway: RunningGateway) -> None:
    agent = await gateway.agent()
    async with agent.sync() as old, agent.sync() as new:
        assert await old.ended() is grpc.StatusCode.FAILED_PRECONDITION
        await new.send(heartbeat=gateway_pb2.Heartbeat(nonce=1))
        await new.receive("lease", 2)


# --- the fleet -----------------------------------------------------------------------------------------------


async def test_an_agent_counts_as_active_once_it_has_connected(gateway: RunningGateway) -> None:
    agent, foreign = await gateway.agent("acme"), await gateway.agent("globex")

    async def active(tenant: str) -> list[str]:
        async with gateway.database.transaction(TenantId(tenant)) as session:
            return [row.agent_id for row in await gateway.fleet.active_agents(session, TenantId(tenant))]

    assert await active("acme") == []
    async with agent.sync(), foreign.sync():
        assert await active("acme") == [agent.agent_id]
    (row,) = await gateway.fleet.list(principals.grant(Permission.AGENT_READ))
    assert (row.version, row.kernel, gateway.fleet.is_active(row)) == ("1", "6", True)


async def test_functions_are_asked_of_the_tenant_s_agents(gateway: RunningGateway) -> None:
    agent, foreign = await gateway.agent("acme"), await gateway.agent("globex")
    async with agent.sync() as stream, foreign.sync() as others:
        asking = asyncio.create_task(
            gateway.fleet.functions(principals.grant(Permission.FUNCTIONS_READ), "shop", "Sum", 5)
        )
        question = (await stream.receive("functions")).functions
        assert (question.service, question.pattern, question.limit) == ("shop", "Sum", 5)
        listed = json.dumps([{"name": f"money.Sum{n}"} for n in range(9)])
        await stream.send(functions=gateway_pb2.FunctionsAnswer(question_id=question.question_id, json=listed))
        found = await asking
        assert [each.function.name for each in found.functions] == [f"money.Sum{n}" for n in range(5)]
        assert {each.agents for each in found.functions} == {(agent.agent_id,)}
        assert await others.silence("functions", 0.2)


async def test_an_answer_that_is_no_list_or_a_problem_is_told_as_one(gateway: RunningGateway) -> None:
    agent = await gateway.agent()
    grant = principals.grant(Permission.FUNCTIONS_READ)
    async with agent.sync() as stream:
        for sent, told in (
            ({"json": "{"}, "not JSON"),
            ({"json": "{}"}, "not a list"),
            ({"json": "[1]"}, "no function"),
            ({"problem": "no such service"}, "no such service"),
        ):
            asking = asyncio.create_task(gateway.fleet.functions(grant, "shop"))
            question = (await stream.receive("functions")).functions
            await stream.send(functions=gateway_pb2.FunctionsAnswer(question_id=question.question_id, **sent))
            with pytest.raises(NotFound, match=told):
                await asking


async def test_an_agent_that_leaves_while_it_is_asked_is_a_problem(gateway: RunningGateway) -> None:
    agent = await gateway.agent()
    async with agent.sync() as stream:
        asking = asyncio.create_task(gateway.fleet.functions(principals.grant(Permission.FUNCTIONS_READ), "shop"))
        await stream.receive("functions")
    async with asyncio.timeout(5):
        with pytest.raises(NotFound, match="lost its connection"):
            await asking


async def test_without_an_agent_nothing_can_be_asked(gateway: RunningGateway) -> None:
    with pytest.raises(Conflict, match="no agent of this tenant is connected"):
        await gateway.fleet.functions(principals.grant(Permission.FUNCTIONS_READ), "shop")


# --- rows ----------------------------------------------------------------------------------------------------


async def upload(agent: HandAgent, *batches: records_pb2.Batch) -> list[records_pb2.BatchAck]:
    async with agent.channel() as channel:
        call = GatewayStub(channel).Upload()
        acks = []
        for batch in batches:
            await call.write(batch)
            acks.append(await call.read())
        return acks


async def test_batches_are_stored_as_the_caller_s_and_acknowledged_one_by_one(gateway: RunningGateway) -> None:
    agent = await gateway.agent()
    acks = await upload(agent, *(records_pb2.Batch(tracepoint_id="tp_1", sequence=n, rows=1) for n in (1, 2)))
    assert [(ack.tracepoint_id, ack.sequence, ack.refusal) for ack in acks] == [("tp_1", 1, ""), ("tp_1", 2, "")]
    assert [(tenant, by) for tenant, by, _ in gateway.batches.batches] == [("acme", agent.agent_id)] * 2


async def test_a_refused_batch_is_acknowledged_with_the_reason(gateway: RunningGateway) -> None:
    agent = await gateway.agent()
    gateway.batches.refusal = "quota"
    (ack,) = await upload(agent, records_pb2.Batch(tracepoint_id="tp_1", sequence=1))
    assert ack.refusal == "quota"


@pytest.mark.parametrize(
    "batch",
    [
        records_pb2.Batch(sequence=1),
        records_pb2.Batch(tracepoint_id="tp_1"),
        records_pb2.Batch(tracepoint_id="t", sequence=1, rows=1 << 40),
    ],
)
async def test_a_batch_that_is_none_is_refused_for_good(gateway: RunningGateway, batch: records_pb2.Batch) -> None:
    (ack,) = await upload(await gateway.agent(), batch)
    assert ack.refusal
    assert gateway.batches.batches == []


async def test_a_batch_that_cannot_be_kept_now_ends_the_stream(gateway: RunningGateway) -> None:
    agent = await gateway.agent()
    gateway.batches.failure = DependencyUnavailable("away")
    with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
        await upload(agent, records_pb2.Batch(tracepoint_id="tp_1", sequence=1))


async def test_a_message_over_the_bound_is_refused(gateway: RunningGateway) -> None:
    agent = await gateway.agent()
    with pytest.raises((grpc.aio.AioRpcError, asyncio.InvalidStateError)):
        await upload(agent, records_pb2.Batch(tracepoint_id="tp_1", sequence=1, arrow=bytes(5 << 20)))
    assert gateway.batches.batches == []


async def test_batches_that_came_together_are_stored_together_and_each_is_acknowledged(gateway: RunningGateway) -> None:
    agent = await gateway.agent()
    gateway.batches.open.clear()
    async with agent.channel() as channel:
        call = GatewayStub(channel).Upload()
        for number in range(10):
            await call.write(records_pb2.Batch(tracepoint_id=f"tp_{number}", sequence=1, rows=1))
        await asyncio.sleep(0.5)  # the gateway has read them all while the first is being stored
        gateway.batches.open.set()
        acks = [await call.read() for _ in range(10)]
    assert [ack.tracepoint_id for ack in acks] == [f"tp_{number}" for number in range(10)]
    assert len(gateway.batches.groups) < 10


async def test_a_batch_that_the_database_does_not_take_holds_no_other_back(gateway: RunningGateway) -> None:
    agent = await gateway.agent()
    gateway.batches.poison = "tp_3"
    gateway.batches.open.clear()
    async with agent.channel() as channel:
        call = GatewayStub(channel).Upload()
        for number in range(10):
            await call.write(records_pb2.Batch(tracepoint_id=f"tp_{number}", sequence=1, rows=1))
        await asyncio.sleep(0.5)
        gateway.batches.open.set()
        with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
            while await call.read() is not grpc.aio.EOF:
                pass
            await call
    kept = {batch.tracepoint_id for _, _, batch in gateway.batches.batches}
    assert "tp_3" not in kept
    assert kept >= {"tp_0", "tp_1", "tp_2"}


async def test_reports_that_came_together_are_taken_together_in_their_order(gateway: RunningGateway) -> None:
    agent = await gateway.agent()
    gateway.statuses.open.clear()
    async with agent.sync() as stream:
        for number in range(10):
            await stream.send(status=gateway_pb2.Status(tracepoint_id=f"tp_{number}", state=gateway_pb2.STATE_ENDED))
        await asyncio.sleep(0.5)  # the gateway has read them all while the first is being taken
        gateway.statuses.open.set()
        await until(lambda: len(gateway.statuses.reports) == 10)
    assert [report.tracepoint_id for _, _, report in gateway.statuses.reports] == [f"tp_{n}" for n in range(10)]
    assert len(gateway.statuses.groups) < 10


async def test_what_was_said_before_a_senseless_report_counts(gateway: RunningGateway) -> None:
    agent = await gateway.agent()
    async with agent.sync() as stream:
        await stream.send(status=gateway_pb2.Status(tracepoint_id="tp_1", state=gateway_pb2.STATE_ENDED))
        await stream.send(status=gateway_pb2.Status(tracepoint_id="x" * 1000))
        assert await stream.ended() is grpc.StatusCode.INVALID_ARGUMENT
    assert [report.tracepoint_id for _, _, report in gateway.statuses.reports] == ["tp_1"]
