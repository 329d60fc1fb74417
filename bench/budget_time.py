"""How long a probe that is over its CPU budget from its first hit on stays: from armed to ended, as the gateway hears it.

A second probe within its budget is armed beside it and must stay. The peer is the bound that is promised.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from statistics import median
from typing import Final

from wire.v1 import gateway_pb2

from bench.agent_idle import NUMBERS
from bench.figure import Figure
from language.model import At, LimitSpec
from tests.builders.agent_program import agent, shop
from tests.builders.scripted_gateway import TestGateway
from tests.builders.specs import envelope, spec, template

BOUND_MS: Final = 2000
ROUNDS: Final = 5
SERVICE: Final = "bench-budget"
COSTLY: Final = 0.0001  # of a core; a thousand sums a second take some 0.003


def measure() -> list[Figure]:
    taken = asyncio.run(_taken())
    note = (
        f"median of {ROUNDS}, the longest {max(taken):.0f}; a probe within its budget beside it stays; lower is better"
    )
    return [Figure("budget_detach_ms", "ms", round(median(taken)), BOUND_MS, "what is promised", note)]


async def _taken() -> list[float]:
    gateway = TestGateway()
    await gateway.open()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="bench-") as state,
            shop("-every", "1ms", env={"PROBEGATE_SERVICE": SERVICE}),
        ):
            join = ("run", "--server", gateway.address, "--join-token", str(gateway.token), "--state", state)
            with agent(*join):
                await gateway.until(lambda: gateway.heard.hellos)
                await _armed(gateway, "tp_modest", 0.05)
                taken = [await _round(gateway, f"tp_{number}") for number in range(ROUNDS)]
                assert gateway.heard.ended("tp_modest") is None
                return taken
    finally:
        await gateway.close()


async def _round(gateway: TestGateway, tracepoint_id: str) -> float:
    await _armed(gateway, tracepoint_id, COSTLY)
    start = time.perf_counter()
    await gateway.until(lambda: gateway.heard.ended(tracepoint_id) == "budget")
    return (time.perf_counter() - start) * 1e3


async def _armed(gateway: TestGateway, tracepoint_id: str, cpu: float) -> None:
    made = template(*NUMBERS, At.ENTRY_AND_RETURN, limits=LimitSpec(cpu=cpu))
    gateway.deploy(tracepoint_id, envelope(spec(made, tracepoint_id, service=SERVICE), gateway.spec_key))
    await gateway.until(lambda: gateway_pb2.STATE_ARMED in gateway.heard.states(tracepoint_id))
