"""An agent enrols with the server its token names, speaks mutual TLS, and stays connected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from wire.identity import JoinToken
from wire.v1 import gateway_pb2, records_pb2

from agents.masking.model import MaskedBatch
from agents.uplink.channel import NotTrusted, Server
from agents.uplink.enrolment import EnrolmentFailed, enroll
from agents.uplink.identity import AgentIdentity, BadIdentity, IdentityStore
from agents.uplink.model import BatchHead, QuestionRefused
from agents.uplink.service import Uplink
from tests.builders.scripted_gateway import Authority, TestGateway

SECRET = "pgj_" + "s" * 40


class Listener:
    """The agent's side of the Handler port, keeping what came."""

    def __init__(self) -> None:
        self.lease = 0
        self.connections = 0
        self.envelopes: list[bytes] = []
        self.retractions: list[tuple[str, str]] = []
        self.reconciliations: list[Mapping[str, int]] = []

    def running(self) -> Mapping[str, int]:
        return {"tp_1": 4}

    def connected(self) -> None:
        self.connections += 1

    def leased(self, until_boot_ns: int) -> None:
        self.lease = max(self.lease, until_boot_ns)

    async def desired(self, envelope: bytes, nonce: str) -> None:
        self.envelopes.append(envelope)

    async def retracted(self, tracepoint_id: str, reason: str) -> None:
        self.retractions.append((tracepoint_id, reason))

    async def reconciled(self, desired: Mapping[str, int]) -> None:
        self.reconciliations.append(desired)

    async def functions(self, service: str, pattern: str, limit: int) -> str:
        if service != "shop":
            raise QuestionRefused(f"no process of service {service!r} here")
        return '[{"name": "main.main"}]'


@pytest.fixture
async def gateway() -> AsyncIterator[TestGateway]:
    made = TestGateway()
    await made.open()
    yield made
    await made.close()


async def enrolled(gateway: TestGateway) -> AgentIdentity:
    return await enroll(Server.parse(gateway.address), gateway.token)


@asynccontextmanager
async def connected(gateway: TestGateway, state: Path) -> AsyncIterator[tuple[Uplink, Listener]]:
    store = IdentityStore(state)
    identity = store.load() or await enrolled(gateway)
    store.save(identity)
    listener = Listener()
    uplink = Uplink(Server.parse(gateway.address), identity, store, state)
    task = asyncio.create_task(uplink.run(listener))
    try:
        await gateway.until(lambda: listener.connections)
        yield uplink, listener
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def batch(rows: int = 2) -> MaskedBatch:
    return MaskedBatch(pa.record_batch({"units": pa.array(range(rows), pa.int64())}), ())


def head(delivered: int = 2, end_reason: str = "") -> BatchHead:
    return BatchHead("tp_1", "sums", 1, records_pb2.Accounting(hits=delivered, delivered=delivered), end_reason)


# --- enrolment -----------------------------------------------------------------------------------------------------


async def test_a_token_gives_an_identity_that_names_the_agent(gateway):
    identity = await enrolled(gateway)
    assert (identity.agent_id, identity.tenant) == ("ag_1", "acme")
    assert identity.spiffe_id == "spiffe://probegate/agent/ag_1"


async def test_a_server_with_another_ca_is_not_told_the_token(gateway):
    token = JoinToken(SECRET, "0" * 64)
    with pytest.raises(NotTrusted, match="does not present the CA"):
        await enroll(Server.parse(gateway.address), token)


async def test_a_ca_file_that_is_not_the_tokens_is_refused(gateway):
    with pytest.raises(NotTrusted, match="--ca"):
        await enroll(Server.parse(gateway.address), gateway.token, Authority().pem)


async def test_an_unknown_token_is_refused_with_the_servers_words(gateway):
    with pytest.raises(EnrolmentFailed, match="unknown, used or expired"):
        await enroll(Server.parse(gateway.address), JoinToken("pgj_" + "x" * 40, gateway.authority.sha256))


async def test_a_server_that_is_not_there_is_named():
    with pytest.raises(EnrolmentFailed, match=r"127\.0\.0\.1:1 cannot be reached"):
        await enroll(Server("127.0.0.1", 1), JoinToken(SECRET, "0" * 64))


async def test_an_identity_is_kept_and_only_its_owner_reads_it(gateway, tmp_path):
    store = IdentityStore(tmp_path / "state")
    identity = await enrolled(gateway)
    store.save(identity)
    assert (tmp_path / "state" / "identity.json").stat().st_mode & 0o777 == 0o600
    kept = store.load()
    assert kept is not None
    assert (kept.agent_id, kept.key, set(kept.spec_keys)) == (identity.agent_id, identity.key, set(identity.spec_keys))


async def test_an_identity_that_others_can_read_is_not_used(gateway, tmp_path):
    store = IdentityStore(tmp_path)
    store.save(await enrolled(gateway))
    (tmp_path / "identity.json").chmod(0o644)
    with pytest.raises(BadIdentity, match="chmod 600"):
        store.load()


def test_a_damaged_identity_says_what_to_do(tmp_path):
    (tmp_path / "identity.json").write_text("{}")
    (tmp_path / "identity.json").chmod(0o600)
    with pytest.raises(BadIdentity, match="join-token"):
        IdentityStore(tmp_path).load()


@pytest.mark.parametrize("text", ["", "host", "host:", ":1", "host:0", "host:65536", "a b:1", "http://x:1", "[::1]"])
def test_what_is_no_server_address_is_refused(text):
    with pytest.raises(ValueError, match="HOST:PORT"):
        Server.parse(text)


@pytest.mark.parametrize("text", ["localhost:8441", "[::1]:8441", "10.0.0.1:1"])
def test_server_addresses_are_read_and_written_alike(text):
    assert str(Server.parse(text)) == text


# --- the streams ---------------------------------------------------------------------------------------------------


async def test_the_gateway_learns_who_the_agent_is_from_its_certificate_and_what_runs(gateway, tmp_path):
    async with connected(gateway, tmp_path):
        assert gateway.heard.peers == {"ag_1"}
        assert dict(gateway.heard.hellos[0].running) == {"tp_1": 4}


async def test_what_the_gateway_wants_reaches_the_handler(gateway, tmp_path):
    async with connected(gateway, tmp_path) as (_, listener):
        gateway.deploy("tp_2", b"envelope")
        gateway.retract("tp_1", "locked")
        gateway.say(reconcile=gateway_pb2.Reconcile(desired={"tp_2": 1}))
        await gateway.until(lambda: listener.reconciliations)
        assert listener.envelopes == [b"envelope"]
        assert listener.retractions == [("tp_1", "locked")]
        assert listener.reconciliations == [{"tp_2": 1}]


async def test_answered_heartbeats_lengthen_the_lease_and_silence_does_not(gateway, tmp_path):
    gateway.lease_seconds = 1
    async with connected(gateway, tmp_path) as (_, listener):
        first = listener.lease
        await gateway.until(lambda: listener.lease > first)
        gateway.renews_lease = False
        await asyncio.sleep(0.2)
        last, beats = listener.lease, gateway.heard.heartbeats
        await gateway.until(lambda: gateway.heard.heartbeats >= beats + 2)
        assert listener.lease == last


async def test_a_renewal_that_answers_no_heartbeat_lengthens_nothing(gateway, tmp_path):
    gateway.renews_lease = False
    async with connected(gateway, tmp_path) as (_, listener):
        first = listener.lease
        gateway.say(lease=gateway_pb2.LeaseRenewal(nonce=99))
        gateway.retract("tp_1")
        await gateway.until(lambda: listener.retractions)
        assert listener.lease == first


async def test_a_question_is_answered_or_refused_with_a_reason(gateway, tmp_path):
    async with connected(gateway, tmp_path):
        gateway.say(functions=gateway_pb2.FunctionsQuestion(question_id="q1", service="shop"))
        gateway.say(functions=gateway_pb2.FunctionsQuestion(question_id="q2", service="nobody"))
        await gateway.until(lambda: len(gateway.heard.answers) == 2)
        answers = {answer.question_id: answer for answer in gateway.heard.answers}
        assert answers["q1"].json == '[{"name": "main.main"}]'
        assert "no process of service 'nobody'" in answers["q2"].problem


async def test_batches_arrive_numbered_and_are_acknowledged(gateway, tmp_path):
    async with connected(gateway, tmp_path) as (uplink, _):
        uplink.send(batch(), head())
        uplink.send(batch(), head(4, "deleted"))
        async with asyncio.timeout(10):
            await uplink.flushed()
        assert [(b.sequence, b.rows, b.final) for b in gateway.heard.batches] == [(1, 2, False), (2, 2, True)]
        rows = pa.ipc.open_stream(gateway.heard.batches[0].arrow).read_all().to_pylist()
        assert rows == [{"units": 0}, {"units": 1}]


async def test_batches_made_while_disconnected_arrive_in_order_after_reconnecting(gateway, tmp_path):
    async with connected(gateway, tmp_path) as (uplink, listener):
        await gateway.close()
        for _ in range(3):
            uplink.send(batch(), head())
        await asyncio.sleep(0.3)
        await gateway.open()
        async with asyncio.timeout(20):
            await uplink.flushed()
        assert [b.sequence for b in gateway.heard.batches] == [1, 2, 3]
        await gateway.until(lambda: listener.connections == 2)


async def test_an_unacknowledged_batch_is_sent_again_under_its_number(gateway, tmp_path):
    gateway.acknowledges = False
    async with connected(gateway, tmp_path) as (uplink, _):
        uplink.send(batch(), head())
        await gateway.until(lambda: gateway.heard.batches)
        await gateway.close()
        gateway.acknowledges = True
        await gateway.open()
        async with asyncio.timeout(20):
            await uplink.flushed()
        assert [b.sequence for b in gateway.heard.batches] == [1, 1]


async def test_refused_rows_are_counted_as_lost_from_then_on(gateway, tmp_path):
    gateway.refusal = "over quota"
    async with connected(gateway, tmp_path) as (uplink, _):
        uplink.send(batch(), head(2))
        async with asyncio.timeout(10):
            await uplink.flushed()
        gateway.refusal = ""
        uplink.send(batch(), head(4, "ttl"))
        async with asyncio.timeout(10):
            await uplink.flushed()
        accounting = gateway.heard.batches[-1].accounting
        assert (accounting.hits, accounting.delivered, dict(accounting.lost)) == (4, 2, {"refused": 2})


async def test_a_status_that_was_not_confirmed_is_said_again_on_the_next_stream(gateway, tmp_path):
    gateway.renews_lease = False  # so that nothing confirms it
    async with connected(gateway, tmp_path) as (uplink, listener):
        uplink.report(gateway_pb2.Status(tracepoint_id="tp_1", event="agent.attach"))
        await gateway.until(lambda: gateway.heard.statuses)
        await gateway.close()
        await gateway.open()
        await gateway.until(lambda: listener.connections == 2 and len(gateway.heard.statuses) == 2)


async def test_a_confirmed_status_is_not_said_again(gateway, tmp_path):
    gateway.lease_seconds = 1
    async with connected(gateway, tmp_path) as (uplink, listener):
        uplink.report(gateway_pb2.Status(tracepoint_id="tp_1", event="agent.attach"))
        await gateway.until(lambda: gateway.heard.statuses)
        beats = gateway.heard.heartbeats
        await gateway.until(lambda: gateway.heard.heartbeats >= beats + 2)
        await gateway.close()
        await gateway.open()
        await gateway.until(lambda: listener.connections == 2)
        await asyncio.sleep(0.1)
        assert len(gateway.heard.statuses) == 1


async def test_numbers_are_not_used_again_after_a_restart(gateway, tmp_path):
    async with connected(gateway, tmp_path) as (uplink, _):
        uplink.send(batch(), head())
        await uplink.flushed()
    async with connected(gateway, tmp_path) as (uplink, _):
        uplink.send(batch(), head())
        await uplink.flushed()
    first, second = (b.sequence for b in gateway.heard.batches)
    assert second > first == 1


async def test_big_batches_are_cut_into_messages_that_fit(gateway, tmp_path):
    async with connected(gateway, tmp_path) as (uplink, _):
        wide = MaskedBatch(pa.record_batch({"text": pa.array(["x" * 1000] * 5000)}), ())
        uplink.send(wide, head(5000, "ttl"))
        async with asyncio.timeout(20):
            await uplink.flushed()
        assert sum(b.rows for b in gateway.heard.batches) == 5000
        assert max(len(b.arrow) for b in gateway.heard.batches) <= 1 << 20
        assert [b.final for b in gateway.heard.batches].count(True) == 1


async def test_the_certificate_is_renewed_and_used(gateway, tmp_path):
    gateway.renew_after = timedelta(seconds=0)
    async with connected(gateway, tmp_path) as (_, listener):
        await gateway.until(
            lambda: gateway.heard.renewals == 1 and listener.connections and len(gateway.heard.hellos) > 1
        )
        kept = IdentityStore(tmp_path).load()
        assert kept is not None
        assert kept.renew_after > datetime.now(UTC)
