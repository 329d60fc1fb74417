"""What a probed call costs the target, in us over a bare one: C and Go, three integers and a string at entry."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Final

from bench import bpftrace, c_places, workload
from bench.bpftrace import Bpftrace
from bench.figure import Figure
from bench.ours import Probegate, Resolver, resolve
from bench.workload import Workload

ROUNDS: Final = 5
CALLS: Final = 20_000


def measure_c() -> list[Figure]:
    note = "gcc -O2 -fcf-protection; entry, three integers and a string; over a bare call; lower is better"
    return [_compare("probed_call_c", workload.c_program(), "place_order", bpftrace.C_FIELDS, note, c_places.resolved)]


def measure_go() -> list[Figure]:
    note = "entry, three integers and a string; over a bare call; lower is better"
    return [_compare("probed_call_go", workload.go_program(), "main.placeOrder", bpftrace.GO_FIELDS, note, resolve)]


def _compare(name: str, binary: Path, function: str, fields: str, note: str, resolver: Resolver) -> Figure:
    bare, ours, peer = [], [], []
    with Workload(binary) as target:
        for _ in range(ROUNDS):
            bare.append(target.per_call_us(CALLS))
            with Probegate(target, function, resolver):
                ours.append(target.per_call_us(CALLS))
            with Bpftrace(target, function, fields):
                peer.append(target.per_call_us(CALLS))
    base = median(bare)
    return Figure(name, "us", round(median(ours) - base, 3), round(median(peer) - base, 3), bpftrace.NAME, note)
