"""What a probed call costs the target, in us over a bare one: C and Go, three integers and a string at entry.

Against bpftrace and against the floor, all of them interleaved in the same rounds on the same running program.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Final

from bench import bpftrace, floor, workload
from bench.bpftrace import Bpftrace
from bench.figure import Figure
from bench.floor import Floor
from bench.ours import Probegate
from bench.workload import Workload

ROUNDS: Final = 7
CALLS: Final = 10_000
TRIES: Final = 3  # the quickest counts: whatever else the machine does only adds time
WHAT: Final = "entry, three integers and a string; over a bare call; lower is better"


def measure_c() -> list[Figure]:
    note = f"gcc -O2 -fcf-protection; {WHAT}"
    return _compare("probed_call_c", workload.c_program(), "place_order", bpftrace.C_FIELDS, note)


def measure_go() -> list[Figure]:
    return _compare("probed_call_go", workload.go_program(), "main.placeOrder", bpftrace.GO_FIELDS, WHAT)


def _compare(name: str, binary: Path, function: str, fields: str, note: str) -> list[Figure]:
    bare, ours, peer, least = [], [], [], []
    with Workload(binary) as target:

        def call() -> float:
            return min(target.per_call_us(CALLS) for _ in range(TRIES))

        for _ in range(ROUNDS):
            bare.append(call())
            with Probegate(target, function):
                ours.append(call())
            with Floor(target, function):
                least.append(call())
            with Bpftrace(target, function, fields):
                peer.append(call())
    base = median(bare)
    cost, rival, bottom = (round(median(each) - base, 3) for each in (ours, peer, least))
    return [
        Figure(name, "us", cost, rival, bpftrace.NAME, note),
        Figure(f"{name}_floor", "us", cost, bottom, floor.NAME, f"{note}; the same rows, nothing else"),
    ]
