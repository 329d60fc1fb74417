"""What the gateway wants runs, what it does not want ends, and everything ends by itself."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import TypeVar

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from wire.dsse import key_id
from wire.v1 import gateway_pb2, spec_pb2

from agents.admission import seen_versions
from agents.admission.model import HostLimits, HostPolicy
from agents.admission.seen_versions import SeenVersions
from agents.admission.service import Admission, Identity
from agents.binaries.model import FunctionSummary, Language, Unresolved, UnresolvedReason
from agents.compiler.model import Counter
from agents.masking.model import MaskedBatch
from agents.runtime.model import ArmReason
from agents.supervisor import life, pulse, service, workers
from agents.supervisor.host_budget import HostBudget
from agents.supervisor.ledger import FileLedger
from agents.supervisor.loading import Loading
from agents.supervisor.service import Supervisor
from agents.uplink.model import BatchHead, QuestionRefused
from language.model import LimitSpec
from tests.builders.probes import FakeHost, numbers
from tests.builders.specs import ME, envelope, spec, template

T = TypeVar("T")
KEY = Ed25519PrivateKey.generate()
LEASE = timedelta(seconds=60)


class Gateway:
    """The Answers port, keeping what the agent says."""

    def __init__(self) -> None:
        self.acks: list[tuple[str, int, str]] = []
        self.nacks: list[gateway_pb2.Nack] = []
        self.statuses: list[gateway_pb2.Status] = []
        self.batches: list[tuple[MaskedBatch, BatchHead]] = []

    def acknowledge(self, tracepoint_id: str, version: int, nonce: str) -> None:
        self.acks.append((tracepoint_id, version, nonce))

    def refuse(self, nack: gateway_pb2.Nack) -> None:
        self.nacks.append(nack)

    def report(self, status: gateway_pb2.Status) -> None:
        self.statuses.append(status)

    def send(self, batch: MaskedBatch, head: BatchHead) -> None:
        self.batches.append((batch, head))

    @property
    def rows(self) -> list[int]:
        return numbers(batch for batch, _ in self.batches)

    @property
    def events(self) -> list[str]:
        return [status.event for status in self.statuses if status.event]

    @property
    def last_state(self) -> int | None:
        return self.statuses[-1].state if self.statuses else None

    @property
    def ended(self) -> str:
        return self.statuses[-1].end_reason if self.statuses else ""


class Agent:
    """A supervisor on a fake host, between a fake gateway and a fake kernel."""

    def __init__(self, host: FakeHost, policy: HostPolicy | None = None) -> None:
        self.host = host
        self.gateway = Gateway()
        keys = {key_id(KEY.public_key()): KEY.public_key()}
        seen = SeenVersions(host.folder / "seen.json")
        prober = host.prober(policy)
        admission = Admission(Identity("acme", ME), keys, prober.host, seen)
        loading = Loading(host.folder / "loading.json")
        budget = HostBudget(
            (policy or HostPolicy()).limits.host_cpu, FileLedger(host.folder / "run", lambda: host.boot)
        )
        self.supervisor = Supervisor(admission, prober, self, self.gateway, loading, budget)
        self.supervisor.leased(host.boot + int(LEASE.total_seconds() * 1e9))

    def functions(self, file: str, pattern: str | None, limit: int) -> tuple[FunctionSummary, ...]:
        return (FunctionSummary("shop/money.Sum", "money.go", 1, (("l", "Money"),), (), 2, Language.GO),)[:limit]

    async def want(self, sealed: spec_pb2.ProbeSpec, nonce: str = "n1") -> None:
        await self.supervisor.desired(envelope(sealed, KEY), nonce)

    async def armed(self, count: int = 1) -> None:
        await until(lambda: len(self.host.in_kernel) == count)

    async def gone(self) -> None:
        await until(lambda: not self.host.in_kernel and not self.supervisor.running())


async def until(true: Callable[[], T]) -> T:
    async with asyncio.timeout(5):
        while not (found := true()):  # noqa: ASYNC110 -- the test's own condition
            await asyncio.sleep(0.005)
    return found


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    for name in ("BUSY_SECONDS", "IDLE_SECONDS", "SCAN_SECONDS"):
        monkeypatch.setattr(pulse, name, 0.005)
    monkeypatch.setattr(life, "GATHER_SECONDS", 0.005)


@pytest.fixture
def host(tmp_path) -> FakeHost:
    made = FakeHost(tmp_path)
    made.start(10)
    return made


@pytest.fixture
async def agent(host) -> AsyncIterator[Agent]:
    made = Agent(host)
    task = asyncio.create_task(made.supervisor.run())
    await asyncio.sleep(0)
    yield made
    made.supervisor.stop()
    async with asyncio.timeout(5):
        await task
    assert host.in_kernel == []


async def test_what_is_wanted_is_acknowledged_armed_and_delivers(agent, host):
    await agent.want(spec(template()))
    await agent.armed()
    host.armed[0].fire(1, 2, 3)
    await until(lambda: agent.gateway.rows == [1, 2, 3])
    assert agent.gateway.acks == [("tp_1", 1, "n1")]
    assert agent.gateway.events == ["agent.admit", "agent.compile", "agent.attach"]
    armed = agent.gateway.statuses[2]
    assert (armed.state, armed.sites, armed.processes) == (gateway_pb2.STATE_ARMED, 1, 1)


async def test_what_is_refused_is_answered_with_its_reason(agent, host):
    await agent.want(spec(template(), tenant="evil"), "n7")
    (nack,) = agent.gateway.nacks
    assert (nack.tracepoint_id, nack.nonce, nack.reason) == ("tp_1", "n7", "wrong_tenant")
    assert nack.detail
    assert host.armed == []


async def test_a_function_that_does_not_exist_is_reported_and_nothing_runs(agent):
    await agent.want(spec(template(function="shop/none.Such")))
    await until(lambda: agent.gateway.last_state == gateway_pb2.STATE_FAILED)
    assert agent.gateway.statuses[-1].detail.startswith("no_function: ")
    assert agent.supervisor.running() == {}


async def test_a_kernel_that_refuses_is_reported(agent, host):
    host.arm_problem = ArmReason.VERIFIER
    await agent.want(spec(template()))
    await until(lambda: agent.gateway.last_state == gateway_pb2.STATE_FAILED)
    assert agent.gateway.statuses[-1].detail.startswith("verifier: ")


async def test_an_unforeseen_error_fails_its_probe_and_no_other(agent, host):
    await agent.want(spec(template()))
    await agent.armed()
    host.start(11, service="other", file="other")
    host.resolve_problem = KeyError("secret-value")
    await agent.want(spec(template(), "tp_2", service="other"))
    await until(lambda: agent.gateway.last_state == gateway_pb2.STATE_FAILED)
    assert agent.gateway.statuses[-1].detail.startswith("internal: KeyError at ")
    assert "secret-value" not in agent.gateway.statuses[-1].detail
    assert agent.supervisor.running() == {"tp_1": 1}


async def test_a_version_that_took_the_agent_down_is_not_loaded_again_until_it_changes(host):
    (host.folder / "loading.json").write_text('{"tp_1": 1}')
    agent = Agent(host)
    task = asyncio.create_task(agent.supervisor.run())
    await asyncio.sleep(0)
    await agent.want(spec(template()))
    assert agent.gateway.acks == [("tp_1", 1, "n1")]
    assert agent.gateway.last_state == gateway_pb2.STATE_FAILED
    assert agent.gateway.statuses[-1].detail.startswith("tombstone: ")
    assert host.armed == []
    await agent.want(spec(template({"nanos": "l.Nanos"}), version=2))
    await agent.armed()
    agent.supervisor.stop()
    await task


# --- ends ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["deleted", "revoked", "locked"])
async def test_a_retracted_probe_is_detached_and_counted(agent, host, reason):
    await agent.want(spec(template()))
    await agent.armed()
    host.armed[0].fire(1, 2)
    await agent.supervisor.retracted("tp_1", reason)
    await agent.gone()
    _batch, head = agent.gateway.batches[-1]
    assert (head.end_reason, head.accounting.hits, head.accounting.delivered) == (reason, 2, 2)
    last = agent.gateway.statuses[-1]
    assert (last.state, last.end_reason, last.event) == (gateway_pb2.STATE_ENDED, reason, "agent.detach")
    assert last.accounting.hits == 2


async def test_a_probe_without_rows_still_sends_a_last_batch(agent):
    await agent.want(spec(template()))
    await agent.armed()
    await agent.supervisor.retracted("tp_1", "deleted")
    await agent.gone()
    (sent,) = agent.gateway.batches
    assert sent[1].end_reason == "deleted"
    assert sent[0].columns.num_rows == 0


async def test_retracting_what_never_ran_is_answered(agent):
    await agent.supervisor.retracted("tp_9", "deleted")
    assert agent.gateway.statuses[-1].state == gateway_pb2.STATE_ENDED


async def test_the_time_to_live_ends_it_on_the_boot_clock(agent, host):
    await agent.want(spec(template(), ttl=timedelta(seconds=30)))
    await agent.armed()
    host.pass_time(timedelta(seconds=31))
    await agent.gone()
    assert agent.gateway.ended == "ttl"


async def test_a_lost_lease_ends_everything(agent, host):
    host.start(11, service="other", file="other")
    await agent.want(spec(template()))
    await agent.want(spec(template(), "tp_2", service="other"))
    await agent.armed(2)
    host.pass_time(LEASE)
    await agent.gone()
    assert {s.end_reason for s in agent.gateway.statuses if s.state == gateway_pb2.STATE_ENDED} == {"lease"}


async def test_rows_that_are_masked_after_the_lease_carry_types_and_lengths_only(agent, host):
    await agent.want(spec(template()))
    await agent.armed()
    host.armed[0].fire(3)
    host.pass_time(LEASE)
    await agent.gone()
    late = [batch for batch, _ in agent.gateway.batches if batch.columns.num_rows]
    assert [batch.columns.num_rows for batch in late] == [1]
    assert all(receipt.rule == "outdated-policy" for receipt in late[0].receipts)
    assert set(map(type, numbers(late))) == {str}


async def test_after_a_lost_lease_the_same_spec_runs_again_and_counts_on(agent, host):
    sealed = spec(template())
    await agent.want(sealed)
    await agent.armed()
    host.armed[0].fire(1)
    host.pass_time(LEASE)
    await agent.gone()
    agent.supervisor.leased(host.boot + 60 * 10**9)
    await agent.want(sealed)
    await agent.armed()
    host.armed[1].fire(2)
    await agent.supervisor.retracted("tp_1", "deleted")
    await agent.gone()
    assert agent.gateway.batches[-1][1].accounting.hits == 2


async def test_max_hits_ends_it(agent, host):
    await agent.want(spec(template(limits=LimitSpec(max_hits=2))))
    await agent.armed()
    host.armed[0].fire(1, 2, 3)
    await agent.gone()
    assert agent.gateway.ended == "max_hits"
    accounting = agent.gateway.batches[-1][1].accounting
    assert (accounting.hits, accounting.delivered, accounting.expired) == (3, 2, 1)


async def test_a_broken_cpu_budget_ends_it(agent, host):
    await agent.want(spec(template(limits=LimitSpec(cpu=0.01))))
    await agent.armed()
    for _ in range(8):
        host.armed[0].count(Counter.FILTERED, 100_000)
        host.pass_time(timedelta(seconds=1.1))
        agent.supervisor.leased(host.boot + 60 * 10**9)
        await asyncio.sleep(0.05)
    await agent.gone()
    assert agent.gateway.ended == "budget"
    assert "allowed 1.00%" in agent.gateway.statuses[-1].detail


async def overspend(agent: Agent, host: FakeHost) -> None:
    """Every armed probe uses a tenth of a core, until none is in the kernel any more."""
    for _ in range(50):
        for armed in host.in_kernel:
            armed.count(Counter.FILTERED, 50_000)
        host.pass_time(timedelta(seconds=0.5))
        agent.supervisor.leased(host.boot + 60 * 10**9)
        await asyncio.sleep(0.02)
        if not host.in_kernel:
            return


@pytest.mark.parametrize("probes", [1, workers.ROWS_THREADS + 1])
async def test_a_broken_cpu_budget_detaches_while_every_thread_masks(agent, host, probes):
    for number in range(probes):
        host.start(20 + number, service=f"s{number}", file=f"f{number}")
        await agent.want(spec(template(limits=LimitSpec(cpu=0.01)), f"tp_{number}", service=f"s{number}"))
    await agent.armed(probes)
    host.masks.clear()
    for armed in host.armed:
        armed.fire(1)
    await until(lambda: sum(not armed.ring for armed in host.armed) >= min(probes, workers.ROWS_THREADS))
    await overspend(agent, host)
    assert host.in_kernel == []
    said = await until(lambda: [status for status in agent.gateway.statuses if "allowed 1.00%" in status.detail])
    assert {(status.state, status.sites) for status in said} == {(gateway_pb2.STATE_ARMED, 0)}
    host.masks.set()
    await agent.gone()
    assert agent.gateway.rows == [1] * probes
    assert agent.gateway.ended == "budget"


async def test_a_retracted_probe_is_detached_while_its_rows_are_masked(agent, host):
    await agent.want(spec(template()))
    await agent.armed()
    host.masks.clear()
    host.armed[0].fire(1)
    await until(lambda: not host.armed[0].ring)
    await agent.supervisor.retracted("tp_1", "locked")
    await agent.armed(0)
    host.masks.set()
    await agent.gone()
    assert agent.gateway.rows == [1]
    assert agent.gateway.ended == "locked"


async def test_a_broken_host_budget_ends_the_most_expensive_and_leaves_the_others(host):
    agent = Agent(host, HostPolicy(limits=HostLimits(cpu=1.0, host_cpu=0.04)))
    task = asyncio.create_task(agent.supervisor.run())
    await asyncio.sleep(0)
    for number in range(3):
        await agent.want(spec(template(limits=LimitSpec(cpu=0.5)), f"tp_{number}"))
        await agent.armed(number + 1)
    for _ in range(12):
        for number, armed in enumerate(host.in_kernel):
            armed.count(Counter.FILTERED, 5_000 * (number + 1))
        host.pass_time(timedelta(seconds=0.5))
        agent.supervisor.leased(host.boot + 60 * 10**9)
        await asyncio.sleep(0.03)
    ended = await until(lambda: [status for status in agent.gateway.statuses if status.end_reason])
    assert [(status.tracepoint_id, status.end_reason) for status in ended] == [("tp_2", "budget")]
    assert ended[0].detail.startswith("host budget: ")
    assert agent.supervisor.running() == {"tp_0": 1, "tp_1": 1}
    agent.supervisor.stop()
    await task


async def test_the_end_of_a_named_process_ends_it(agent, host):
    await agent.want(spec(template(), service="", pids=(10,)))
    await agent.armed()
    host.armed[0].fire(1)
    host.stop(10)
    await agent.gone()
    assert agent.gateway.ended == "target_exited"
    assert agent.gateway.rows == [1]


async def test_a_service_that_restarts_is_probed_again(agent, host):
    await agent.want(spec(template()))
    await agent.armed()
    host.stop(10)
    host.start(11)
    host.pass_time(timedelta(seconds=2))
    await until(lambda: len(host.armed) == 2)
    assert host.armed[1].pids == [11]
    assert agent.supervisor.running() == {"tp_1": 1}


async def test_a_service_that_starts_later_is_waited_for(agent, host):
    await agent.want(spec(template(), service="later"))
    await until(lambda: any("not_found" in status.detail for status in agent.gateway.statuses))
    host.start(12, service="later")
    await agent.armed()


async def test_waiting_for_a_service_ends_with_the_time_to_live(agent, host):
    await agent.want(spec(template(), service="never", ttl=timedelta(seconds=10)))
    await until(agent.supervisor.running)
    host.pass_time(timedelta(seconds=10))
    await agent.gone()
    assert agent.gateway.ended == "ttl"
    assert agent.gateway.batches == []


async def test_what_is_not_desired_any_more_ends(agent, host):
    host.start(11, service="other", file="other")
    await agent.want(spec(template()))
    await agent.want(spec(template(), "tp_2", service="other"))
    await agent.armed(2)
    await agent.supervisor.reconciled({"tp_2": 1})
    await agent.armed(1)
    await until(lambda: agent.supervisor.running() == {"tp_2": 1})


# --- versions ------------------------------------------------------------------------------------------------------


async def test_the_same_version_twice_arms_once(agent, host):
    sealed = spec(template())
    await agent.want(sealed)
    await agent.want(sealed, "n2")
    await agent.armed()
    await asyncio.sleep(0.05)
    assert len(host.armed) == 1
    assert [ack[2] for ack in agent.gateway.acks] == ["n1", "n2"]


async def test_a_renewal_lengthens_the_life_without_attaching_again(agent, host):
    await agent.want(spec(template(), ttl=timedelta(seconds=30)))
    await agent.armed()
    await agent.want(spec(template(), version=2, ttl=timedelta(seconds=50)))
    await until(lambda: host.armed[0].deadline > host.boot + 40 * 10**9)
    host.pass_time(timedelta(seconds=35))
    await asyncio.sleep(0.05)
    assert agent.supervisor.running() == {"tp_1": 2}
    assert len(host.armed) == 1


async def test_a_change_replaces_the_probe_and_its_hits_count_on(agent, host):
    await agent.want(spec(template()))
    await agent.armed()
    host.armed[0].fire(1)
    await agent.want(spec(template({"nanos": "l.Nanos"}), version=2))
    await until(lambda: len(host.armed) == 2)
    assert len(host.in_kernel) == 1
    host.armed[1].fire(2)
    await agent.supervisor.retracted("tp_1", "deleted")
    await agent.gone()
    assert agent.gateway.rows == [1, 2]
    assert agent.gateway.batches[-1][1].accounting.hits == 2
    assert [head.end_reason for _, head in agent.gateway.batches if head.end_reason] == ["deleted"]


async def test_what_was_deleted_does_not_run_again_even_after_a_restart(agent, host):
    sealed = spec(template())
    await agent.want(sealed)
    await agent.armed()
    await agent.supervisor.retracted("tp_1", "deleted")
    await agent.gone()
    await agent.want(sealed, "n2")
    again = Agent(host)
    await again.want(sealed, "n3")
    await asyncio.sleep(0.05)
    assert len(host.armed) == 1
    assert again.gateway.acks == [("tp_1", 1, "n3")]
    assert again.gateway.ended == "deleted"


async def test_a_newer_version_of_a_deleted_tracepoint_runs(agent, host):
    await agent.want(spec(template()))
    await agent.armed()
    await agent.supervisor.retracted("tp_1", "deleted")
    await agent.gone()
    await agent.want(spec(template(), version=2))
    await agent.armed()


async def test_too_many_probes_are_refused(agent, monkeypatch):
    monkeypatch.setattr(service, "MAX_PROBES", 1)
    await agent.want(spec(template()))
    await agent.want(spec(template(), "tp_2"))
    assert [(nack.tracepoint_id, nack.reason) for nack in agent.gateway.nacks] == [("tp_2", "over_local_limits")]


async def test_stopping_the_agent_detaches_but_ends_no_tracepoint(host):
    agent = Agent(host)
    task = asyncio.create_task(agent.supervisor.run())
    await asyncio.sleep(0)
    await agent.want(spec(template()))
    await agent.armed()
    host.armed[0].fire(1)
    agent.supervisor.stop()
    await task
    assert host.in_kernel == []
    assert agent.gateway.rows == [1]
    assert agent.gateway.batches[-1][1].end_reason == ""


# --- questions -----------------------------------------------------------------------------------------------------


async def test_functions_of_a_service_are_listed(agent):
    listed = json.loads(await agent.supervisor.functions("shop", "Sum", 10))
    assert listed[0]["name"] == "shop/money.Sum"
    assert listed[0]["arguments"] == [{"name": "l", "type": "Money"}]


async def test_a_question_about_a_service_that_is_not_here_is_refused(agent):
    with pytest.raises(QuestionRefused, match="not_found"):
        await agent.supervisor.functions("nobody", "", 10)


async def test_a_question_about_a_denied_executable_is_refused(host):
    agent = Agent(host, HostPolicy(deny_paths=("/srv/*",)))
    with pytest.raises(QuestionRefused, match="denied_by_host"):
        await agent.supervisor.functions("shop", "", 10)


async def test_a_bad_executable_is_said_in_the_answer(agent, host, monkeypatch):
    def damaged(*_: object) -> None:
        raise Unresolved(UnresolvedReason.DAMAGED, "its header contradicts itself")

    monkeypatch.setattr(agent, "functions", damaged)
    with pytest.raises(QuestionRefused, match="damaged"):
        await agent.supervisor.functions("shop", "", 10)


# --- many ends at once ---------------------------------------------------------------------------------------------


async def many(agent: Agent, host: FakeHost, count: int) -> dict[str, spec_pb2.ProbeSpec]:
    sealed = {f"tp_{number}": spec(template(), f"tp_{number}", service=f"s{number}") for number in range(count)}
    for number, one in enumerate(sealed.values()):
        host.start(20 + number, service=f"s{number}", file=f"f{number}")
        await agent.want(one)
    await agent.armed(count)
    return sealed


async def test_a_lock_on_many_detaches_all_writes_them_down_in_few_writings_and_loses_no_row(agent, host, monkeypatch):
    names = await many(agent, host, 12)
    for number, armed in enumerate(host.armed):
        armed.fire(number)
    writings = []
    write = seen_versions._write
    monkeypatch.setattr(seen_versions, "_write", lambda path, seen: writings.append(path) or write(path, seen))
    await asyncio.gather(*(agent.supervisor.retracted(name, "locked") for name in names))
    await agent.gone()
    assert len(writings) <= 4, "twelve ends are written together"
    assert sorted(agent.gateway.rows) == list(range(12))
    last = {head.tracepoint_id: head for _, head in agent.gateway.batches if head.end_reason}
    assert {
        name: (head.end_reason, head.accounting.hits, head.accounting.delivered) for name, head in last.items()
    } == dict.fromkeys(names, ("locked", 1, 1))


async def test_a_retracted_one_is_out_of_its_target_before_its_end_is_written_and_told_only_after(
    agent, host, monkeypatch
):
    ((name, sealed),) = (await many(agent, host, 1)).items()
    may_write = threading.Event()
    write = seen_versions._write

    def slow(path, seen):
        assert may_write.wait(5)
        write(path, seen)

    monkeypatch.setattr(seen_versions, "_write", slow)
    told = asyncio.create_task(agent.supervisor.retracted(name, "locked"))
    await agent.armed(0)
    await asyncio.sleep(0.05)
    assert agent.gateway.ended == ""  # a crash here: out of the kernel, and nobody believes that it is over for good
    may_write.set()
    await told
    await agent.gone()
    assert agent.gateway.ended == "locked"
    await agent.want(sealed, "n2")
    assert (name, 1, "n2") in agent.gateway.acks
    assert (agent.gateway.ended, agent.supervisor.running()) == ("locked", {})


async def test_after_a_retraction_the_same_envelope_waits_for_its_writing_and_starts_nothing(agent, host):
    ((name, sealed),) = (await many(agent, host, 1)).items()
    retracted = asyncio.create_task(agent.supervisor.retracted(name, "deleted"))
    again = asyncio.create_task(agent.want(sealed, "n2"))
    await asyncio.gather(retracted, again)
    await agent.gone()
    await agent.want(sealed, "n3")
    assert (name, 1, "n3") in agent.gateway.acks
    assert agent.gateway.ended == "deleted"
    assert agent.supervisor.running() == {}


async def test_a_newer_version_that_comes_while_the_older_one_ends_lives(agent, host):
    (name,) = await many(agent, host, 1)
    retracted = asyncio.create_task(agent.supervisor.retracted(name, "locked"))
    await asyncio.sleep(0)
    await agent.want(spec(template(), name, version=2, service="s0"), "n2")
    await retracted
    await agent.armed(1)
    assert agent.supervisor.running() == {name: 2}


async def test_a_probe_that_sends_rows_all_the_time_tells_its_counts_beside_them(agent, host, monkeypatch):
    monkeypatch.setattr(life, "STATUS_SECONDS", 0.0)
    await agent.want(spec(template()))
    await agent.armed()
    host.armed[0].fire(1, 2, 3)
    await until(lambda: agent.gateway.rows == [1, 2, 3])
    host.pass_time(timedelta(seconds=1))
    host.armed[0].fire(4)
    await until(lambda: any(status.accounting.delivered == 4 for status in agent.gateway.statuses))
    assert agent.gateway.last_state == gateway_pb2.STATE_ARMED
