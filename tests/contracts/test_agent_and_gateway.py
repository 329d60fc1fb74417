"""The agent's own uplink and admission against the real gateway: what one side says, the other understands."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from wire.identity import JoinToken
from wire.v1 import gateway_pb2, records_pb2

from agents.admission.model import HostPolicy, RefusalReason, Refused
from agents.admission.seen_versions import SeenVersions
from agents.admission.service import Admission, Identity
from agents.masking.model import MaskedBatch
from agents.supervisor.sample_rows import sample_rows
from agents.uplink.channel import NotTrusted, Server
from agents.uplink.enrolment import EnrolmentFailed, enroll
from agents.uplink.identity import AgentIdentity, IdentityStore
from agents.uplink.model import BatchHead, DryRunRows, QuestionRefused
from agents.uplink.service import Uplink
from control_plane.bootstrap.server import PLATFORM_RULES
from control_plane.delivery.ports import RetractReason
from control_plane.delivery.sample_rows import SamplePreviews
from control_plane.foundation.clock import SystemClock
from control_plane.foundation.errors import Conflict, Invalid
from control_plane.foundation.identifiers import AgentId, TenantId
from control_plane.masking.key_wrapping import KeyWrapper
from control_plane.masking.service import MaskingService
from control_plane.policy.model import Permission
from language.masking_rules import load_rules
from tests.builders import principals
from tests.builders.gateway import RunningGateway, running_gateway
from tests.builders.plans import masked_plan, seal_context
from tests.builders.spec_store import FakeSpecStore
from tests.builders.templates import SUM_YAML

ACME = TenantId("acme")


@dataclass
class Supervisor:
    """The Handler port: admits what comes with the agent's real admission and keeps what it was told."""

    admission: Admission
    uplink: Uplink | None = None
    lease_until: int = 0
    admitted: list[str] = field(default_factory=list)
    refused: list[RefusalReason] = field(default_factory=list)
    retractions: list[tuple[str, str]] = field(default_factory=list)
    whole: list[Mapping[str, int]] = field(default_factory=list)
    locked_builds: frozenset[str] = frozenset()

    def running(self) -> Mapping[str, int]:
        return {}

    def connected(self) -> None: ...

    def leased(self, until_boot_ns: int) -> None:
        self.lease_until = max(self.lease_until, until_boot_ns)

    async def desired(self, envelope: bytes, nonce: str) -> None:
        assert self.uplink is not None
        try:
            spec = self.admission.admit(envelope)
        except Refused as refused:
            self.refused.append(refused.reason)
            self.uplink.refuse(gateway_pb2.Nack(tracepoint_id=refused.tracepoint_id, reason=refused.reason.value))
            return
        self.admitted.append(spec.tracepoint_id)
        self.uplink.acknowledge(spec.tracepoint_id, spec.version, nonce)

    async def retracted(self, tracepoint_id: str, reason: str) -> None:
        self.retractions.append((tracepoint_id, reason))

    async def reconciled(self, desired: Mapping[str, int]) -> None:
        self.whole.append(desired)

    async def functions(self, service: str, pattern: str, limit: int) -> str:
        if service != "shop":
            raise QuestionRefused(f"no process of service {service!r} here")
        return json.dumps([{"name": f"money.{pattern}"}])

    async def explain(self, question: gateway_pb2.ExplainQuestion) -> str:
        if question.rows:
            return sample_rows(question)
        raise QuestionRefused(f"nothing is explained here, {question.service!r} neither")

    async def dry_run(self, envelope: bytes) -> DryRunRows:
        raise QuestionRefused(f"nothing is run here, {len(envelope)} bytes neither")

    def locked(self, build_ids: Collection[str]) -> None:
        self.locked_builds = frozenset(build_ids)


@pytest.fixture
async def store() -> FakeSpecStore:
    made = FakeSpecStore(SystemClock())
    await made.restored()
    return made


@pytest.fixture
async def gateway(tmp_path: Path, store: FakeSpecStore) -> AsyncIterator[RunningGateway]:
    async with running_gateway(tmp_path, store, lease=timedelta(seconds=3)) as running:
        yield running


async def enrolled(gateway: RunningGateway) -> AgentIdentity:
    server = Server.parse(f"127.0.0.1:{gateway.port}")
    return await enroll(server, JoinToken.parse(await gateway.token()))


@contextlib.asynccontextmanager
async def connected(gateway: RunningGateway, state: Path) -> AsyncIterator[tuple[AgentIdentity, Uplink, Supervisor]]:
    identity = await enrolled(gateway)
    await asyncio.to_thread(state.mkdir, exist_ok=True)
    admission = Admission(
        Identity(identity.tenant, identity.spiffe_id),
        identity.spec_keys,
        HostPolicy(),
        SeenVersions(state / "seen.json"),
    )
    supervisor = Supervisor(admission)
    uplink = Uplink(Server.parse(f"127.0.0.1:{gateway.port}"), identity, IdentityStore(state), state)
    supervisor.uplink = uplink
    task = asyncio.create_task(uplink.run(supervisor))
    try:
        await until(lambda: bool(supervisor.whole))
        yield identity, uplink, supervisor
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("not within 10 s")


def sealed_for(gateway: RunningGateway, *uris: str, **context: object):
    now = SystemClock().now()
    return gateway.signer.seal(masked_plan(), seal_context(*uris, now=now, **context))  # type: ignore[arg-type]


async def test_an_agent_enrols_by_the_hash_of_the_ca_in_its_token(gateway: RunningGateway) -> None:
    identity = await enrolled(gateway)
    assert identity.tenant == "acme"
    assert identity.ca == gateway.authority.pem
    assert dict(identity.spec_keys).keys() == gateway.signer.public_keys.keys()


async def test_an_agent_with_the_token_of_another_installation_does_not_say_it(gateway: RunningGateway) -> None:
    token = JoinToken.parse(await gateway.token())
    foreign = JoinToken(token.secret, "0" * 64)
    with pytest.raises(NotTrusted):
        await enroll(Server.parse(f"127.0.0.1:{gateway.port}"), foreign)


async def test_a_used_token_is_told_as_such(gateway: RunningGateway) -> None:
    token = JoinToken.parse(await gateway.token())
    server = Server.parse(f"127.0.0.1:{gateway.port}")
    await enroll(server, token)
    with pytest.raises(EnrolmentFailed, match="unknown, expired or used up"):
        await enroll(server, token)


async def test_what_the_signer_seals_an_agent_of_the_audience_admits(
    gateway: RunningGateway, store: FakeSpecStore, tmp_path: Path
) -> None:
    async with connected(gateway, tmp_path / "agent") as (identity, _, supervisor):
        await store.publish(sealed_for(gateway, identity.spiffe_id))
        await until(lambda: supervisor.admitted == ["tp_1"])
        await until(lambda: len(gateway.statuses.reports) == 1)
    ((tenant, agent, ack),) = gateway.statuses.reports
    assert (tenant, agent, ack.tracepoint_id, ack.version) == ("acme", identity.agent_id, "tp_1", 1)
    assert supervisor.refused == []


async def test_a_retraction_reaches_the_agent_with_its_reason(
    gateway: RunningGateway, store: FakeSpecStore, tmp_path: Path
) -> None:
    async with connected(gateway, tmp_path / "agent") as (identity, _, supervisor):
        await store.publish(sealed_for(gateway, identity.spiffe_id))
        await until(lambda: bool(supervisor.admitted))
        await store.retract(ACME, "tp_1", RetractReason.LOCKED)
        await until(lambda: supervisor.retractions == [("tp_1", "locked")])


async def test_the_lease_goes_on_while_all_is_well_and_stops_with_the_store(
    gateway: RunningGateway, store: FakeSpecStore, tmp_path: Path
) -> None:
    async with connected(gateway, tmp_path / "agent") as (_, _, supervisor):
        first = supervisor.lease_until
        await until(lambda: supervisor.lease_until > first)
        store.away = True
        await asyncio.sleep(4.2)  # the lease, and what counts as "just now"
        assert supervisor.lease_until < time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        store.away = False
        await until(lambda: supervisor.lease_until > time.clock_gettime_ns(time.CLOCK_BOOTTIME))


async def test_masked_rows_arrive_once_and_are_acknowledged(gateway: RunningGateway, tmp_path: Path) -> None:
    async with connected(gateway, tmp_path / "agent") as (identity, uplink, _):
        columns = pa.RecordBatch.from_pydict({"units": [1, 2, 3]})
        head = BatchHead("tp_1", "sums", 1, records_pb2.Accounting(hits=3, delivered=3))
        for _ in range(3):
            uplink.send(MaskedBatch(columns, ()), head)
        async with asyncio.timeout(10):
            await uplink.flushed()
    assert [batch.sequence for _, _, batch in gateway.batches.batches] == [1, 2, 3]
    assert {(tenant, agent) for tenant, agent, _ in gateway.batches.batches} == {("acme", identity.agent_id)}
    assert pa.ipc.open_stream(gateway.batches.batches[0][2].arrow).read_all().to_pydict() == {"units": [1, 2, 3]}


async def test_functions_are_asked_and_answered(gateway: RunningGateway, tmp_path: Path) -> None:
    grant = principals.grant(Permission.FUNCTIONS_READ)
    async with connected(gateway, tmp_path / "agent"):
        found = await gateway.fleet.functions(grant, "shop", "Sum")
        assert [each.function.name for each in found.functions] == ["money.Sum"]


async def test_sample_rows_are_masked_by_a_connected_agent_and_by_nobody_else(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    platform = load_rules(PLATFORM_RULES.read_text(encoding="utf-8"))
    masking = MaskingService(gateway.database, SystemClock(), platform, KeyWrapper(bytes(32)))
    previews = SamplePreviews(masking, gateway.fleet)
    grant = principals.grant(Permission.MASKING_READ)
    rows = [{"currency": "bob@example.com", "units": 4111111111111112}]
    with pytest.raises(Conflict, match="no agent of this tenant is connected"):
        await previews.show(grant, SUM_YAML, rows)
    async with connected(gateway, tmp_path / "agent"):
        found = {each.column: each for each in await previews.show(grant, SUM_YAML, rows)}
        with pytest.raises(Invalid, match="no column 'colour'"):
            await previews.show(grant, SUM_YAML, [{"colour": "red"}])
    assert (found["currency"].shown, found["currency"].rule) == ("<EMAIL>", "platform:default.string")
    assert next((one.why, one.kinds[0]) for one in found["units"].near) == ("checksum", "CARD")


async def test_a_revoked_agent_gets_nothing_any_more(
    gateway: RunningGateway, store: FakeSpecStore, tmp_path: Path
) -> None:
    async with connected(gateway, tmp_path / "agent") as (identity, _, supervisor):
        await gateway.fleet.revoke(principals.grant(Permission.AGENT_JOIN), AgentId(identity.agent_id))
        await store.publish(sealed_for(gateway, identity.spiffe_id))
        lease = supervisor.lease_until
        await asyncio.sleep(2.5)
        assert supervisor.admitted == []
        assert supervisor.lease_until == lease
