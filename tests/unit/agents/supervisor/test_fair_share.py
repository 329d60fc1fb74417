"""Two tenants probe one executable, each through its own agent: who takes more than a fair share pays for it, alone."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from wire.dsse import key_id

from agents.admission.model import HostLimits, HostPolicy
from agents.admission.seen_versions import SeenVersions
from agents.admission.service import Admission, Identity
from agents.compiler.model import Counter
from agents.supervisor import pulse
from agents.supervisor.host_budget import HostBudget
from agents.supervisor.ledger import FileLedger
from agents.supervisor.loading import Loading
from agents.supervisor.service import Supervisor
from language.model import LimitSpec
from tests.builders.probes import FakeArmed, FakeHost
from tests.builders.specs import ME, envelope, spec, template
from tests.unit.agents.supervisor.test_supervisor import KEY, Gateway, until

HOST = HostPolicy(limits=HostLimits(cpu=1.0, host_cpu=0.10))
WINDOWS = 40  # more than are needed: who stays, stays


class TenantsAgent:
    """One tenant's agent on the shared host; its ledger is the one of all."""

    def __init__(self, host: FakeHost, tenant: str) -> None:
        self.tenant = tenant
        self.gateway = Gateway()
        folder = host.folder / tenant
        folder.mkdir()
        admission = Admission(
            Identity(tenant, ME),
            {key_id(KEY.public_key()): KEY.public_key()},
            HOST,
            SeenVersions(folder / "seen.json"),
        )
        ledger = FileLedger(host.folder / "run", lambda: host.boot, tenant)
        budget, loading = HostBudget(HOST.limits.host_cpu, ledger), Loading(folder / "loading.json")
        self.supervisor = Supervisor(admission, host.prober(HOST), self, self.gateway, loading, budget)
        self.supervisor.leased(host.boot + 3600 * 10**9)

    def functions(self, file: str, pattern: str | None, limit: int) -> tuple[()]:
        return ()

    async def probe(self, host: FakeHost, tracepoint_id: str) -> FakeArmed:
        before = len(host.armed)
        sealed = spec(template(limits=LimitSpec(cpu=0.5)), tracepoint_id, tenant=self.tenant)
        await self.supervisor.desired(envelope(sealed, KEY), "n1")
        await until(lambda: len(host.armed) > before)
        return host.armed[-1]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    for name in ("BUSY_SECONDS", "IDLE_SECONDS", "SCAN_SECONDS"):
        monkeypatch.setattr(pulse, name, 0.005)


async def test_the_tenant_within_its_share_keeps_its_probe_of_the_file_that_both_probe(tmp_path):
    host = FakeHost(tmp_path)
    host.start(10)
    greedy, modest = TenantsAgent(host, "greedy"), TenantsAgent(host, "modest")
    async with asyncio.TaskGroup() as tasks:
        for agent in (greedy, modest):
            tasks.create_task(agent.supervisor.run())
        await asyncio.sleep(0)
        # Hits in half a second, a microsecond each: thrice 3% of a core, and 4.6% where 5% is the fair share of 10%.
        costs = [(await greedy.probe(host, f"tp_{number}"), 15_000) for number in range(3)]
        costs.append((await modest.probe(host, "tp_9"), 23_000))
        for _ in range(WINDOWS):
            for armed, hits in costs:
                armed.count(Counter.FILTERED, 0 if armed.detached else hits)
            host.pass_time(timedelta(seconds=0.5))
            await asyncio.sleep(0.03)
        ended = await until(lambda: [status for status in greedy.gateway.statuses if status.end_reason])
        assert {status.end_reason for status in ended} == {"budget"}
        assert all(status.detail.startswith("host budget: ") for status in ended)
        assert modest.supervisor.running() == {"tp_9": 1}
        assert len(greedy.supervisor.running()) == 1  # 3% and 4.6% fit
        for agent in (greedy, modest):
            agent.supervisor.stop()
