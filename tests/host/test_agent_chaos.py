"""The whole agent is killed again and again while twenty probes fire at speed: the program never notices, nothing stays.

Every other time it is killed at a moment that chance chooses, while it reads, compiles, loads or attaches.
PROBEGATE_LONG=1 kills it fifty times.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from wire.v1 import gateway_pb2

from agents.runtime import inventory
from language.model import At, LimitSpec
from tests.builders.agent_program import PACKAGE, SUM, Process, agent, calls, loaded_by, maps_of, shop
from tests.builders.scripted_gateway import TestGateway
from tests.builders.specs import envelope, spec, template

pytestmark = [pytest.mark.host, pytest.mark.xdist_group("kernel_memory")]

KILLS = 50 if os.environ.get("PROBEGATE_LONG") else 5
PROBES = 20
GONE_SECONDS = 10.0
SLAB_KB = 16 << 10  # other tests run beside this one
PER_CPU_KB = 1 << 10
SERVICE = "killed-shop"
UNBOUND = "limits: {cpu: 100%, hostCpu: 6400%}\n"


def kernel_kb(name: str) -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def deploy(gateway: TestGateway, version: int) -> None:
    for number in range(PROBES):
        if number % 2:
            captures, function = {"units": "l.Units", "sum": "ret(0).Units", "took": "latency()"}, SUM
        else:
            captures, function = (
                {"email": "o.Email", "items": "o.Items[:2]", "stack": "stack()"},
                f"{PACKAGE}/orders.Charge",
            )
        made = template(
            captures, function, At.ENTRY_AND_RETURN, limits=LimitSpec(cpu=1.0, max_events_per_second=20_000)
        )
        sealed = spec(made, f"tp_{number}", version, service=SERVICE)
        gateway.deploy(f"tp_{number}", envelope(sealed, gateway.spec_key))


def armed(gateway: TestGateway, version: int) -> bool:
    states = {
        s.tracepoint_id for s in gateway.heard.statuses if s.state == gateway_pb2.STATE_ARMED and s.version == version
    }
    return len(states) == PROBES


async def killed(
    gateway: TestGateway, command: tuple[str, ...], config: Path, version: int, moment: float | None
) -> set[int]:
    """One life of an agent; the ids of the maps and programs that it had in the kernel."""
    gateway.heard.hellos.clear()
    deploy(gateway, version)
    with agent(*command, config=config) as process:
        await gateway.until(lambda: gateway.heard.hellos, 60)
        if moment is None:
            await gateway.until(lambda: armed(gateway, version), 60)
            before = len(gateway.heard.batches)
            await gateway.until(lambda: len(gateway.heard.batches) > before + PROBES, 60)
        else:
            await asyncio.sleep(moment)
        held = loaded_by(process.pid) | maps_of(process.pid)
        process.stop(signal.SIGKILL)
        await asyncio.to_thread(process.ended)
    gateway.heard.statuses.clear()
    gateway.heard.batches.clear()
    return held


async def gone(ours: set[int]) -> set[int]:
    ends = asyncio.get_running_loop().time() + GONE_SECONDS
    while True:
        left = ours & (inventory.maps() | {each.id for each in inventory.programs()})
        if not left or asyncio.get_running_loop().time() > ends:
            return left
        await asyncio.sleep(0.05)


def expected(number: int) -> dict[str, object]:
    """The call that the shop prints for its n-th order."""
    left, right = (number % 1000, number % 10 * 99_000_000), (number % 7 + 4, 990_000_000)
    nanos = left[1] + right[1]
    total = (left[0] + right[0] + nanos // 10**9, nanos % 10**9)
    mixed = {"error": "currencies differ"} if number % 50 == 0 else {}
    names = ("lUnits", "lNanos", "rUnits", "rNanos", "retUnits", "retNanos")
    return dict(zip(names, (*left, *right, *((0, 0) if mixed else total)), strict=True)) | {"currency": "USD"} | mixed


def expect_unharmed(program: Process) -> int:
    printed = calls(program)
    assert program.child.poll() is None
    for number, call in enumerate(printed, start=1):
        assert call == expected(number), f"order {number}: {json.dumps(call)}"
    return len(printed)


@pytest.fixture
async def gateway() -> AsyncIterator[TestGateway]:
    made = TestGateway()
    await made.open()
    yield made
    await made.close()


async def test_an_agent_that_is_killed_leaves_the_program_unharmed_and_the_kernel_empty(gateway, tmp_path):
    chance = random.Random(5)
    config = tmp_path / "agent.yaml"
    config.write_text(UNBOUND)
    command = (
        "run",
        "--server",
        gateway.address,
        "--join-token",
        str(gateway.token),
        "--state",
        str(tmp_path / "state"),
    )
    with shop("-every", "500us", env={"PROBEGATE_SERVICE": SERVICE}) as program:
        assert len(await killed(gateway, command, config, 1, None)) > 2 * PROBES
        before = kernel_kb("SUnreclaim"), kernel_kb("Percpu")
        for kill in range(KILLS):
            ids = await killed(gateway, command, config, kill + 2, chance.uniform(0, 1.5) if kill % 2 else None)
            assert await gone(ids) == set()
        assert kernel_kb("SUnreclaim") - before[0] < SLAB_KB
        assert kernel_kb("Percpu") - before[1] < PER_CPU_KB
        counted = expect_unharmed(program)
        program.until(lambda: len(calls(program)) > counted)
