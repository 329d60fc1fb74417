"""`probegate-agent run` against a real gRPC gateway: it runs what was signed for it, and nothing stays when it should go."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from wire.v1 import gateway_pb2, records_pb2

from agents.runtime import inventory
from language.model import At, LimitSpec, Template
from tests.builders.agent_program import SUM, Process, agent, calls, loaded_by, running, shop
from tests.builders.scripted_gateway import TestGateway
from tests.builders.specs import envelope, spec, template

pytestmark = [pytest.mark.host, pytest.mark.xdist_group("host")]

COLUMNS = {"lUnits": "l.Units", "rUnits": "r.Units", "retUnits": "ret(0).Units", "currency": "l.CurrencyCode"}


def sums(**limits: Any) -> Template:
    return template(COLUMNS, SUM, At.ENTRY_AND_RETURN, limits=LimitSpec(**({"cpu": 0.05} | limits)))


@pytest.fixture
async def gateway() -> AsyncIterator[TestGateway]:
    made = TestGateway()
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def program() -> Iterator[Process]:
    with shop(env={"PROBEGATE_SERVICE": "host-test-shop"}) as started:
        yield started


class Joined:
    """The agent process, and what it has in the kernel."""

    def __init__(self, process: Process, gateway: TestGateway) -> None:
        self.process = process
        self.gateway = gateway
        self.loaded: set[int] = set()

    def deploy(self, made: Template, tracepoint_id: str = "tp_1", version: int = 1, **fields: Any) -> None:
        sealed = spec(made, tracepoint_id, version, **({"service": "host-test-shop"} | fields))
        self.gateway.deploy(tracepoint_id, envelope(sealed, self.gateway.spec_key))

    async def armed(self, tracepoint_id: str = "tp_1") -> None:
        await self.gateway.until(lambda: gateway_pb2.STATE_ARMED in self.gateway.heard.states(tracepoint_id))
        self.loaded = loaded_by(self.process.pid)
        assert self.loaded

    async def gone(self, seconds: float = 10.0) -> None:
        await self.gateway.until(lambda: not self.remaining, seconds)

    @property
    def remaining(self) -> set[int]:
        return {each.id for each in inventory.remaining(self.loaded)}

    def rows(self, tracepoint_id: str = "tp_1") -> list[dict[str, Any]]:
        batches = [b for b in self.gateway.heard.batches if b.tracepoint_id == tracepoint_id and b.arrow]
        return [row for b in batches for row in pa.ipc.open_stream(b.arrow).read_all().to_pylist()]


@pytest.fixture
async def joined(gateway, program, tmp_path) -> AsyncIterator[Joined]:
    with agent(*join(gateway, tmp_path)) as process:
        made = Joined(process, gateway)
        await gateway.until(lambda: gateway.heard.hellos or process.child.poll() is not None)
        assert process.child.poll() is None, "".join(process.err)
        yield made


def join(gateway: TestGateway, state: Path) -> tuple[str, ...]:
    return ("run", "--server", gateway.address, "--join-token", str(gateway.token), "--state", str(state))


async def test_what_was_signed_is_armed_and_its_rows_are_what_the_shop_printed(joined, gateway, program):
    joined.deploy(sums())
    await joined.armed()
    await gateway.until(lambda: len(joined.rows()) >= 50)
    gateway.retract("tp_1")
    await joined.gone()
    final = await gateway.until(lambda: gateway.heard.final("tp_1"))
    shown = [tuple(row[column] for column in COLUMNS) for row in joined.rows()]
    await gateway.until(lambda: calls(program)[-1]["lUnits"] > shown[-1][0])
    printed = [tuple(call[column] for column in COLUMNS) for call in calls(program)]
    start = printed.index(shown[0])
    assert shown == printed[start : start + len(shown)]
    accounting = final.accounting
    assert accounting.delivered == len(shown)
    parts = accounting.delivered + accounting.filtered + accounting.sampled_out + accounting.throttled
    assert accounting.hits == parts + accounting.expired + sum(accounting.lost.values())
    assert final.end_reason == gateway.heard.ended("tp_1") == "deleted"
    assert [b.sequence for b in gateway.heard.batches] == list(range(1, len(gateway.heard.batches) + 1))
    events = [status.event for status in gateway.heard.statuses if status.event]
    assert events == ["agent.admit", "agent.compile", "agent.attach", "agent.detach"]


async def test_what_was_not_signed_for_it_is_refused_with_the_reason(joined, gateway):
    forged = envelope(spec(sums(), "tp_forged"), Ed25519PrivateKey.generate())
    gateway.deploy("tp_forged", forged)
    joined.deploy(sums(), "tp_other", audience="spiffe://probegate/agent/ag_99")
    joined.deploy(sums(), "tp_tenant", tenant="evil")
    joined.deploy(sums(max_string=4096, max_items=256), "tp_fine", service="nobody-runs-this")
    await gateway.until(lambda: len(gateway.heard.nacks) == 3 and gateway.heard.acks)
    assert [nack.reason for nack in gateway.heard.nacks] == ["bad_signature", "wrong_audience", "wrong_tenant"]
    assert all(nack.detail and nack.nonce for nack in gateway.heard.nacks)
    assert [ack.tracepoint_id for ack in gateway.heard.acks] == ["tp_fine"]


async def test_an_older_version_is_refused_after_a_restart_of_the_agent(joined, gateway, tmp_path):
    joined.deploy(sums(), version=2)
    await joined.armed()
    joined.process.stop(signal.SIGTERM)
    assert joined.process.ended() == 0
    await joined.gone()
    joined.deploy(sums(), version=1)
    without_token = ("run", "--server", gateway.address, "--state", str(tmp_path))
    with agent(*without_token):
        await gateway.until(lambda: gateway.heard.nacks)
    assert gateway.heard.nacks[0].reason == "replayed"


async def test_a_function_that_does_not_exist_is_reported_with_the_nearest_names(joined, gateway):
    joined.deploy(template({"x": "l.Units"}, SUM + "s"))
    await gateway.until(lambda: gateway_pb2.STATE_FAILED in gateway.heard.states("tp_1"))
    failed = gateway.heard.statuses[-1]
    assert failed.detail.startswith("no_function: ")
    assert SUM in failed.detail


async def test_the_time_to_live_ends_it(joined, gateway):
    joined.deploy(sums(), ttl=timedelta(seconds=2))
    await joined.armed()
    await joined.gone()
    await gateway.until(lambda: gateway.heard.ended("tp_1") == "ttl")


async def test_a_lost_lease_ends_it_though_the_connection_stands(joined, gateway):
    gateway.lease_seconds = 2
    await gateway.close()
    await gateway.open()
    await gateway.until(lambda: len(gateway.heard.hellos) == 2)
    joined.deploy(sums())
    await joined.armed()
    gateway.renews_lease = False
    await joined.gone()
    await gateway.until(lambda: gateway.heard.ended("tp_1") == "lease")


async def test_contact_lost_ends_it_and_contact_regained_runs_it_again(joined, gateway):
    gateway.lease_seconds = 2
    await gateway.close()
    await gateway.open()
    await gateway.until(lambda: len(gateway.heard.hellos) == 2)
    joined.deploy(sums())
    await joined.armed()
    await gateway.close()
    await joined.gone()
    rows = len(joined.rows())
    await gateway.open()
    await gateway.until(lambda: len(gateway.heard.hellos) == 3)
    await gateway.until(lambda: len(joined.rows()) > rows + 20, 30)


async def test_a_short_break_of_the_connection_ends_nothing_and_loses_no_row(joined, gateway, program):
    joined.deploy(sums())
    await joined.armed()
    await gateway.until(lambda: len(joined.rows()) >= 10)
    await gateway.close()
    await asyncio.sleep(1.0)
    assert joined.remaining == joined.loaded
    await gateway.open()
    await gateway.until(lambda: len(gateway.heard.hellos) == 2)
    assert dict(gateway.heard.hellos[1].running) == {"tp_1": 1}
    gateway.retract("tp_1")
    final = await gateway.until(lambda: gateway.heard.final("tp_1"))
    batches = {b.sequence: b for b in gateway.heard.batches}
    assert sorted(batches) == list(range(1, len(batches) + 1))
    assert final.accounting.delivered == final.accounting.hits == sum(b.rows for b in batches.values())


async def test_rows_of_an_outage_survive_a_sigkill_on_disk_masked_and_are_sent_later(
    joined, gateway, program, tmp_path
):
    charge = template({"email": "o.Email"}, SUM.replace("money.Sum", "orders.Charge"), limits=LimitSpec(cpu=0.05))
    joined.deploy(charge, action="detect", pids=(program.pid,))  # nothing is armed later: a kill then is a tombstone
    await joined.armed()
    await gateway.until(lambda: len(joined.rows()) >= 10)
    await gateway.close()
    spool = tmp_path / "spool"
    await gateway.until(lambda: len(list(spool.rglob("*.batch"))) >= 3)
    joined.process.stop(signal.SIGKILL)
    await asyncio.to_thread(joined.process.ended)
    kept = [records_pb2.Batch.FromString(file.read_bytes()) for file in sorted(spool.rglob("*.batch"))]
    assert all(batch.rows for batch in kept)
    on_disk = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert b"@example" not in on_disk
    assert b"EMAIL" in on_disk
    await gateway.open()
    with agent("run", "--server", gateway.address, "--state", str(tmp_path)):
        wanted = {batch.sequence for batch in kept}
        await gateway.until(lambda: wanted <= {batch.sequence for batch in gateway.heard.batches})
        await gateway.until(lambda: gateway.heard.batches[-1].sequence > max(wanted))
    by_number = {batch.sequence: batch for batch in gateway.heard.batches}
    assert all(by_number[batch.sequence].arrow == batch.arrow for batch in kept)


async def test_sigkill_leaves_nothing_and_the_program_goes_on(joined, gateway, program):
    joined.deploy(sums())
    await joined.armed()
    joined.process.stop(signal.SIGKILL)
    joined.process.ended()
    await joined.gone(5)
    before = len(program.out)
    await gateway.until(lambda: len(program.out) > before + 10)


async def test_a_version_that_was_being_loaded_when_the_agent_died_is_not_loaded_again(gateway, program, tmp_path):
    loading = tmp_path / "loading.json"
    version = 0
    found: dict[str, int] = {}
    while not found:  # the window is some ms wide: once in a while it is over before the signal comes
        version += 1
        with agent(*join(gateway, tmp_path)) as process:
            made = Joined(process, gateway)
            await gateway.until(lambda: gateway.heard.hellos)
            made.deploy(sums(), version=version)
            await asyncio.to_thread(_kill_while_loading, process, loading)
            found = json.loads(loading.read_text())
        gateway.heard.hellos.clear()
    assert found == {"tp_1": version}
    gateway.heard.statuses.clear()
    with agent(*join(gateway, tmp_path)) as process:
        made = Joined(process, gateway)
        await gateway.until(lambda: gateway_pb2.STATE_FAILED in gateway.heard.states("tp_1"))
        assert gateway.heard.statuses[-1].detail.startswith("tombstone: ")
        assert loaded_by(process.pid) == set()
        made.deploy(sums(), version=version + 1)
        await made.armed()


def _kill_while_loading(process: Process, loading: Path) -> None:
    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        if loading.exists() and b"tp_1" in loading.read_bytes():
            process.stop(signal.SIGKILL)
            process.ended()
            return


async def test_sigterm_detaches_sends_the_rest_and_ends_no_tracepoint(joined, gateway):
    joined.deploy(sums())
    await joined.armed()
    await gateway.until(joined.rows)
    joined.process.stop(signal.SIGTERM)
    assert await asyncio.to_thread(joined.process.ended) == 0
    await joined.gone(1)
    assert gateway.heard.final("tp_1") is None
    assert gateway.heard.ended("tp_1") is None


async def test_a_renewal_does_not_attach_again(joined, gateway):
    joined.deploy(sums(), ttl=timedelta(seconds=3))
    await joined.armed()
    joined.deploy(sums(), version=2, ttl=timedelta(seconds=30))
    await gateway.until(lambda: any(s.version == 2 for s in gateway.heard.statuses))
    await asyncio.sleep(4)
    assert joined.remaining == joined.loaded


async def test_the_end_of_the_program_ends_it(joined, gateway, program):
    joined.deploy(sums(), pids=(program.pid,))
    await joined.armed()
    program.stop(signal.SIGTERM)
    await gateway.until(lambda: gateway.heard.ended("tp_1") == "target_exited")
    await joined.gone()


async def test_a_second_process_of_the_service_is_probed_too(joined, gateway, program):
    joined.deploy(sums())
    await joined.armed()
    with running(program.child.args, {"PROBEGATE_SERVICE": "host-test-shop"}) as second:
        await gateway.until(lambda: second.pid in {row["pid"] for row in joined.rows()})
        assert {row["pid"] for row in joined.rows()} >= {program.pid, second.pid}


async def test_max_hits_ends_it(joined, gateway):
    joined.deploy(sums(max_hits=5))
    await gateway.until(lambda: gateway.heard.ended("tp_1") == "max_hits")
    final = await gateway.until(lambda: gateway.heard.final("tp_1"))
    assert final.accounting.delivered == len(joined.rows()) == 5


async def test_functions_of_the_service_are_answered(joined, gateway):
    gateway.say(functions=gateway_pb2.FunctionsQuestion(question_id="q", service="host-test-shop", pattern="money"))
    answer = await gateway.until(lambda: gateway.heard.answers)
    assert SUM in answer[0].json


async def test_no_captured_value_stands_in_the_log(joined, gateway):
    joined.deploy(template({"email": "o.Email", "note": "note"}, SUM.replace("money.Sum", "orders.Charge")))
    await gateway.until(lambda: len(joined.rows()) >= 5)
    joined.process.stop(signal.SIGTERM)
    assert await asyncio.to_thread(joined.process.ended) == 0
    log = "".join(joined.process.err)
    assert "armed tp_1" in log
    assert "@example" not in log
    assert str(gateway.token) not in log
