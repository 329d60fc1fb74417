"""What an agent with ten armed probes costs its host: CPU while nothing fires, memory while rows flow.

`probegate-agent run` as a process of its own on a gateway in this one, so that nothing of the control plane is counted.
The peer is one bpftrace with as many probes. CPU is only measured, never asserted: the machine decides it as well.
"""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bench import bpftrace, workload
from bench.figure import Figure
from bench.workload import Workload, cpu_seconds
from language.model import At, LimitSpec
from tests.builders.agent_program import PACKAGE, SUM, Process, agent, shop
from tests.builders.scripted_gateway import TestGateway
from tests.builders.specs import envelope, spec, template

PROBES: Final = 10
SETTLE_SECONDS: Final = 5.0
IDLE_SECONDS: Final = 20.0
ROWS_SECONDS: Final = 10.0
QUIET: Final = ("-every", "1h")
BUSY: Final = ("-every", "2ms")
# Half of them with texts that are searched for personal data: that is what weighs.
NUMBERS: Final = ({"units": "l.Units", "sum": "ret(0).Units", "took": "latency()"}, SUM)
TEXTS: Final = ({"email": "o.Email", "note": "note", "took": "latency()"}, f"{PACKAGE}/orders.Charge")


def measure() -> list[Figure]:
    idle, quiet = asyncio.run(_agent(QUIET, IDLE_SECONDS))
    _, busy = asyncio.run(_agent(BUSY, ROWS_SECONDS))
    peer_memory, peer_idle = _peer()
    held = f"{PROBES} probes armed, nothing fires; lower is better"
    flows = f"{PROBES} probes, 5,000 rows a second, half of them searched for personal data; lower is better"
    return [
        Figure("agent_idle_cpu_percent", "%", round(idle * 100, 3), round(peer_idle * 100, 3), bpftrace.NAME, held),
        Figure("agent_rss_idle_mb", "MB", round(quiet, 1), round(peer_memory, 1), bpftrace.NAME, held),
        Figure("agent_rss_mb", "MB", round(busy, 1), round(peer_memory, 1), bpftrace.NAME, flows),
    ]


async def _agent(flags: tuple[str, ...], seconds: float) -> tuple[float, float]:
    """Share of a core, and MB resident after it."""
    gateway = TestGateway()
    await gateway.open()
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as state, shop(*flags, env={"PROBEGATE_SERVICE": "bench"}):
            join = ("run", "--server", gateway.address, "--join-token", str(gateway.token), "--state", state)
            with agent(*join) as process:
                await gateway.until(lambda: gateway.heard.hellos)
                await _arm(gateway)
                await asyncio.sleep(SETTLE_SECONDS)
                return await _watched(process, seconds)
    finally:
        await gateway.close()


async def _arm(gateway: TestGateway) -> None:
    for number in range(PROBES):
        captures, function = (NUMBERS, TEXTS)[number % 2]
        made = template(captures, function, At.ENTRY_AND_RETURN, limits=LimitSpec(cpu=0.05))
        action = "detect" if number % 2 else "allow"
        sealed = spec(made, f"tp_{number}", service="bench", action=action)
        gateway.deploy(f"tp_{number}", envelope(sealed, gateway.spec_key))
    await gateway.until(lambda: sum(status.event == "agent.attach" for status in gateway.heard.statuses) == PROBES)


async def _watched(process: Process, seconds: float) -> tuple[float, float]:
    start, used = time.perf_counter(), cpu_seconds(process.pid)
    await asyncio.sleep(seconds)
    return (cpu_seconds(process.pid) - used) / (time.perf_counter() - start), resident_mb(process.pid)


def _peer() -> tuple[float, float]:
    """MB resident and idle share of one bpftrace with as many probes."""
    with Workload(workload.many_functions()) as target, _many(target) as child:
        target.wait(probed=True)
        time.sleep(SETTLE_SECONDS)
        start, used = time.perf_counter(), cpu_seconds(child.pid)
        time.sleep(IDLE_SECONDS)
        return resident_mb(child.pid), (cpu_seconds(child.pid) - used) / (time.perf_counter() - start)


@contextmanager
def _many(target: Workload) -> Iterator[subprocess.Popen[Any]]:
    places = " ".join(f'uprobe:{target.binary}:f_99{digit} {{ printf("%d\\n", arg0); }}' for digit in range(PROBES))
    command = [bpftrace.NAME, "-p", str(target.pid), "-e", places]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        try:
            yield child
        finally:
            child.terminate()
            child.wait()


def resident_mb(pid: int) -> float:
    line = next(one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024
