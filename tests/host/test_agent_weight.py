"""An agent stays small: ten probes whose rows flow, half of them searched for personal data."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from wire.v1 import gateway_pb2

from agents.masking.scanner_file import FILE
from language.model import At, LimitSpec
from tests.builders.agent_program import PACKAGE, SUM, agent_command, agent_environment, running, shop
from tests.builders.scripted_gateway import TestGateway
from tests.builders.specs import envelope, spec, template

pytestmark = [pytest.mark.host, pytest.mark.xdist_group("host")]

PROBES = 10
RESIDENT_MB = 150
ROWS = 20_000
NUMBERS = {"units": "l.Units", "sum": "ret(0).Units", "took": "latency()"}
TEXTS = {"email": "o.Email", "note": "note", "took": "latency()"}


def resident_mb(pid: int) -> float:
    line = next(one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


async def test_ten_probes_with_rows_take_less_than_150_mb(tmp_path):
    gateway = TestGateway()
    await gateway.open()
    join = ("run", "--server", gateway.address, "--join-token", str(gateway.token), "--state", str(tmp_path))
    cache = tmp_path / "cache"  # empty: this agent compiles its scanner, which needs most memory
    first_start = running(agent_command(*join), agent_environment() | {"PROBEGATE_AGENT_CACHE": str(cache)})
    with shop("-every", "2ms", env={"PROBEGATE_SERVICE": "weighed-shop"}), first_start as process:
        await gateway.until(lambda: gateway.heard.hellos, 60)
        assert (cache / FILE).exists(), "the scanner must be ready before the first probe can be armed"
        for number in range(PROBES):
            captures, function = (NUMBERS, SUM) if number % 2 else (TEXTS, f"{PACKAGE}/orders.Charge")
            made = template(captures, function, At.ENTRY_AND_RETURN, limits=LimitSpec(cpu=0.05))
            sealed = spec(made, f"tp_{number}", service="weighed-shop", action="allow" if number % 2 else "detect")
            gateway.deploy(f"tp_{number}", envelope(sealed, gateway.spec_key))
        await gateway.until(lambda: sum(batch.rows for batch in gateway.heard.batches) >= ROWS, 60)
        armed = {s.tracepoint_id for s in gateway.heard.statuses if s.state == gateway_pb2.STATE_ARMED}
        assert len(armed) == PROBES
        weights = []
        for _ in range(5):
            weights.append(resident_mb(process.pid))
            await asyncio.sleep(1)
        assert sorted(weights)[2] < RESIDENT_MB, f"{weights} MB resident"
    await gateway.close()
