"""How many events a second arrive without loss, and how many are lost at one offered load: three integers and a string.

The program is built without endbr64, so that both tracers trap on the same cheap instruction (Debian's bpftrace cannot
probe at an offset). Ours counts a row when it stands in an Arrow column, bpftrace when its line stands in a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Final

from bench import bpftrace, workload
from bench.bpftrace import Bpftrace
from bench.figure import Figure
from bench.ours import Probegate
from bench.workload import Workload

FUNCTION: Final = "place_order"
THREADS: Final = 2  # a busy server calls from several threads, and leaves the tracer little time
LADDER: Final = (20_000, 60_000, 120_000, 240_000, 480_000)  # calls a second; after them as fast as the program can
FULL_SPEED: Final = 0
STEP_SECONDS: Final = 1
FULL_SPEED_CALLS: Final = 1_000_000
OFFERED: Final = 300_000  # calls a second
OFFERED_SECONDS: Final = 10
TRIES: Final = 2  # one unlucky moment of the machine is not a tracer's limit


@dataclass(frozen=True)
class Run:
    lost: int
    rate: float  # calls a second that the program really made: every trap costs it time
    event_us: float  # CPU of the tracer for an event


def measure() -> list[Figure]:
    with Workload(workload.c_program(branch_targets=False)) as target:
        ours, peer = _lossless(target)
        calls = OFFERED * OFFERED_SECONDS
        all_ours, all_peer = _ours(target, calls, OFFERED), _peer(target, calls, OFFERED)
    steps = f"highest lossless rate the program reached, {LADDER[0]:,} a second to full speed; higher is better"
    load = (
        f"of {calls:,} calls offered by {THREADS} threads at {OFFERED:,} a second; the program made"
        f" {all_ours.rate:,.0f} a second under ours, {all_peer.rate:,.0f} under {bpftrace.NAME}; lower is better"
    )
    cost = "CPU of the tracer for an event at that load: drain and decode with the looks between, median over 8,192 rows each; bpftrace's mean; lower is better"
    return [
        Figure("events_per_s", "1/s", round(ours), round(peer), bpftrace.NAME, steps),
        Figure("events_lost", "events", all_ours.lost, all_peer.lost, bpftrace.NAME, load),
        Figure(
            "agent_us_per_event", "us", round(all_ours.event_us, 3), round(all_peer.event_us, 3), bpftrace.NAME, cost
        ),
    ]


def _lossless(target: Workload) -> tuple[float, float]:
    """The rates that were reached, ours and the peer's; a tracer that lost something is not asked for more."""
    best = {_ours: 0.0, _peer: 0.0}
    running = list(best)
    for rate in (*LADDER, FULL_SPEED):
        calls = rate * STEP_SECONDS or FULL_SPEED_CALLS
        for tracer in tuple(running):
            runs = (tracer(target, calls, rate) for _ in range(TRIES))
            lossless = next((run for run in runs if run.lost == 0), None)
            if lossless is None:
                running.remove(tracer)
            else:
                best[tracer] = max(best[tracer], lossless.rate)
    return best[_ours], best[_peer]


def _ours(target: Workload, calls: int, rate: int) -> Run:
    with Probegate(target, FUNCTION) as tracer:
        tracer.count_from_here()
        took = target.command(f"paced {calls} {rate} {THREADS}")
    assert tracer.hits == calls, f"the program made {calls} calls, {tracer.hits} hits were counted"
    return Run(
        calls - tracer.delivered, calls / took * 1e9, median(tracer.batch_costs) if tracer.batch_costs else float("nan")
    )


def _peer(target: Workload, calls: int, rate: int) -> Run:
    with Bpftrace(target, FUNCTION, bpftrace.C_FIELDS) as tracer:
        took = target.command(f"paced {calls} {rate} {THREADS}")
    return Run(calls - tracer.delivered, calls / took * 1e9, tracer.cpu_seconds * 1e6 / max(1, tracer.delivered))
