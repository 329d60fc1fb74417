"""From the order to the first trap: resolve (cached), compile, load and attach, against bpftrace's start.

Both are over when the program itself notices that its calls trap. The way from an approval through the control plane
comes on top; it is measured where the control plane is.
"""

from __future__ import annotations

from statistics import median
from typing import Final

from bench import bpftrace, workload
from bench.bpftrace import Bpftrace
from bench.figure import Figure
from bench.ours import Probegate
from bench.workload import Workload

FUNCTION: Final = "main.placeOrder"
ROUNDS: Final = 5


def measure() -> list[Figure]:
    ours, peer = [], []
    with Workload(workload.go_program()) as target:
        with Probegate(target, FUNCTION):
            pass  # the binary's index is in the cache from here on
        for _ in range(ROUNDS):
            with Probegate(target, FUNCTION) as tracer:
                ours.append(tracer.arm_seconds)
            with Bpftrace(target, FUNCTION, bpftrace.GO_FIELDS) as rival:
                peer.append(rival.arm_seconds)
    note = (
        "running agent, cached binary: resolve, compile, attach, first trap; bpftrace from its start; lower is better"
    )
    return [Figure("arm_ms", "ms", round(median(ours) * 1e3, 2), round(median(peer) * 1e3, 2), bpftrace.NAME, note)]
