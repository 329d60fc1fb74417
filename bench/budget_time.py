"""How long a probe that is over its CPU budget from its first hit on stays, and when its people hear why.

Both from armed on: until the kernel has no link of it, and until the gateway hears that it ended. Once with an agent that
has run for a while, once as the first thing a new agent does, when nothing of it is warm. A second probe within its budget
is armed beside it and must stay. The peer is the bound that is promised.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import median
from typing import Final

from wire.v1 import gateway_pb2

from bench.agent_idle import NUMBERS
from bench.figure import Figure
from language.model import At, LimitSpec
from tests.builders.agent_program import Process, agent, links_of, shop
from tests.builders.scripted_gateway import TestGateway
from tests.builders.specs import envelope, spec, template

BOUND_MS: Final = 2000
ROUNDS: Final = 5
STARTS: Final = 5
SERVICE: Final = "bench-budget"
COSTLY: Final = 0.0001  # of a core; a thousand sums a second take some 0.003


@dataclass(frozen=True)
class Gone:
    """Milliseconds since it was armed."""

    detached: float
    ended: float


def measure() -> list[Figure]:
    running, first = asyncio.run(_running()), asyncio.run(_first())
    return [
        _figure("budget_detach_ms", running, "an agent that runs"),
        _figure("budget_detach_first_ms", first, "the first probe of an agent that just started"),
    ]


def _figure(name: str, gone: list[Gone], what: str) -> Figure:
    ended, detached = [one.ended for one in gone], [one.detached for one in gone]
    note = (
        f"{what}, until the gateway hears it: median of {len(gone)}, the longest {max(ended):,.0f}; out of the kernel "
        f"after {median(detached):,.0f}, at the longest {max(detached):,.0f}; one within its budget stays; lower is better"
    )
    return Figure(name, "ms", round(median(ended)), BOUND_MS, "what is promised", note)


async def _running() -> list[Gone]:
    async with _agent() as (gateway, process):
        await _armed(gateway, "tp_modest", 0.05)
        gone = [await _round(gateway, process, f"tp_{number}") for number in range(ROUNDS)]
        assert gateway.heard.ended("tp_modest") is None
        return gone


async def _first() -> list[Gone]:
    gone = []
    for _ in range(STARTS):
        async with _agent() as (gateway, process):
            gone.append(await _round(gateway, process, "tp_first"))
    return gone


@asynccontextmanager
async def _agent() -> AsyncIterator[tuple[TestGateway, Process]]:
    """A new one, beside a shop that sums a thousand times a second."""
    gateway = TestGateway()
    await gateway.open()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="bench-") as state,
            shop("-every", "1ms", env={"PROBEGATE_SERVICE": SERVICE}),
            agent("run", "--server", gateway.address, "--join-token", str(gateway.token), "--state", state) as process,
        ):
            await gateway.until(lambda: gateway.heard.hellos)
            yield gateway, process
    finally:
        await gateway.close()


async def _round(gateway: TestGateway, process: Process, tracepoint_id: str) -> Gone:
    others = links_of(process.pid)
    await _armed(gateway, tracepoint_id, COSTLY)
    start = time.perf_counter()
    await gateway.until(lambda: links_of(process.pid) <= others)
    detached = time.perf_counter()
    await gateway.until(lambda: gateway.heard.ended(tracepoint_id) == "budget")
    return Gone((detached - start) * 1e3, (time.perf_counter() - start) * 1e3)


async def _armed(gateway: TestGateway, tracepoint_id: str, cpu: float) -> None:
    made = template(*NUMBERS, At.ENTRY_AND_RETURN, limits=LimitSpec(cpu=cpu))
    gateway.deploy(tracepoint_id, envelope(spec(made, tracepoint_id, service=SERVICE), gateway.spec_key))
    await gateway.until(lambda: gateway_pb2.STATE_ARMED in gateway.heard.states(tracepoint_id))
