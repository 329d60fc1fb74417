"""What a probed call costs the target, in us over a bare one: C and Go, three integers and a string at entry.

Against bpftrace in a few rounds, since it takes long to start; against the floor in many short ones, each with a bare
call, ours and the floor one right after the other, in turns. The target keeps one core and this process another, and
while a floor's round is timed nobody reads either ring: what differs is the program alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Final

from bench import bpftrace, floor, workload
from bench.bpftrace import Bpftrace
from bench.figure import Figure
from bench.floor import Floor
from bench.ours import Probegate
from bench.workload import Workload

ROUNDS: Final = 5
PAIRS: Final = 41
CALLS: Final = 10_000
PAIR_CALLS: Final = 2_000
TRIES: Final = 3  # the quickest counts: whatever else the machine does only adds time
PAIR_TRIES: Final = 12  # 24,000 records: neither ring is full
WHAT: Final = "entry, three integers and a string; over a bare call; lower is better"


def measure_c() -> list[Figure]:
    note = f"gcc -O2 -fcf-protection; {WHAT}"
    return _compare("probed_call_c", workload.c_program(), "place_order", bpftrace.C_FIELDS, note)


def measure_go() -> list[Figure]:
    return _compare("probed_call_go", workload.go_program(), "main.placeOrder", bpftrace.GO_FIELDS, WHAT)


def _compare(name: str, binary: Path, function: str, fields: str, note: str) -> list[Figure]:
    with Workload(binary) as target, _a_core_each(target):
        cost, rival = _against_bpftrace(target, function, fields)
        pairs = _against_floor(target, function)
    ratios = [ours / least for ours, least in pairs]
    low, _, high = quantiles(ratios, n=4)
    least = median(bottom for _, bottom in pairs)
    said = f"{note}; the same rows, nothing else; {PAIRS} pairs, half of the ratios are within {low:.2f} and {high:.2f}"
    return [
        Figure(name, "us", round(cost, 3), round(rival, 3), bpftrace.NAME, note),
        Figure(f"{name}_floor", "us", round(least * median(ratios), 3), round(least, 3), floor.NAME, said),
    ]


def _against_bpftrace(target: Workload, function: str, fields: str) -> tuple[float, float]:
    bare, ours, peer = [], [], []

    def call() -> float:
        return min(target.per_call_us(CALLS) for _ in range(TRIES))

    for _ in range(ROUNDS):
        bare.append(call())
        with Probegate(target, function):
            ours.append(call())
        with Bpftrace(target, function, fields):
            peer.append(call())
    return median(ours) - median(bare), median(peer) - median(bare)


def _against_floor(target: Workload, function: str) -> list[tuple[float, float]]:
    """(ours, the floor) of each pair, both over the bare call of the same pair."""

    def call() -> float:
        return min(target.per_call_us(PAIR_CALLS) for _ in range(PAIR_TRIES))

    def ours() -> float:
        with Probegate(target, function, reading=False):
            return call()

    def least() -> float:
        with Floor(target, function):
            return call()

    return [_pair(call, ours, least, swapped=bool(number % 2)) for number in range(PAIRS)]


def _pair(
    bare: Callable[[], float], ours: Callable[[], float], least: Callable[[], float], *, swapped: bool
) -> tuple[float, float]:
    base = bare()
    if swapped:
        bottom = least()
        return ours() - base, bottom - base
    return ours() - base, least() - base


@contextmanager
def _a_core_each(target: Workload) -> Iterator[None]:
    """Where there are two: a target that moves between cores pays for it in every figure."""
    before = os.sched_getaffinity(0)
    if len(before) < 2:
        yield
        return
    first, *others = sorted(before)
    for thread in Path(f"/proc/{target.pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {first})
    os.sched_setaffinity(0, set(others))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
