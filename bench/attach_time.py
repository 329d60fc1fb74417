"""How long a probe at a thousand places takes to come and to go.

Ours is from a compiled program to the last site attached, and from the first link closed to the last. bpftrace attaches
one perf event after the other, so a hundredth of the places is enough to know what it takes, times a hundred.
"""

from __future__ import annotations

import dataclasses
import subprocess
import time
from statistics import median
from typing import Final

from agents.binaries.elf_image import opened
from agents.binaries.function_names import symbol_functions
from agents.binaries.model import ResolvedProbe
from agents.compiler.model import BpfProgram, CaptureRequest, CompileRequest
from agents.compiler.service import compile_probe
from agents.processes.proc import ProcFs
from agents.runtime.features import probe_kernel
from agents.runtime.maps import possible_cpus
from agents.runtime.model import ArmRequest
from agents.runtime.service import arm
from bench import bpftrace, workload
from bench.figure import Figure
from bench.ours import LIMITS, resolve
from bench.workload import Workload
from language import expressions
from language.model import At

SITES: Final = 1000
PEER_PATTERN: Final = "f_99*"
PEER_SHARE: Final = 100  # of the sites: a thousand take bpftrace minutes
ROUNDS: Final = 5
PEER_SITES: Final = SITES // PEER_SHARE
PEER_SECONDS: Final = 60.0  # ten sites take it one to three to come and to go


def measure() -> list[Figure]:
    attach, detach = [], []
    with Workload(workload.many_functions()) as target:
        resolved = resolve(target.binary, "f_000")
        program = _everywhere(resolved)
        process = ProcFs().find(target.pid)
        assert process is not None
        bias, kernel = ProcFs().load_bias(process), probe_kernel()
        for _ in range(ROUNDS):
            deadline = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + 60_000_000_000
            limits = ArmRequest(deadline, LIMITS.max_hits, LIMITS.max_events_per_second)
            start = time.perf_counter()
            with arm(program, [(process, bias)], limits, process.file, kernel, resolved.binary) as probe:
                attach.append(time.perf_counter() - start)
                assert target.probed()
                start = time.perf_counter()
                probe.detach()
                detach.append(time.perf_counter() - start)
            target.wait(probed=False)
        came, went = _peer(target)
    stayed = (
        "" if went else f"; it did not stop within {bpftrace.SIGNALS} times {bpftrace.STOP_SECONDS} s and was killed"
    )
    note = f"{SITES:,} functions of one program; bpftrace at {SITES // PEER_SHARE}, times {PEER_SHARE}; lower is better"
    return [
        Figure("attach_1000_ms", "ms", round(median(attach) * 1e3, 2), round(came * 1e3), bpftrace.NAME, note),
        Figure("detach_1000_ms", "ms", round(median(detach) * 1e3, 2), round(went * 1e3), bpftrace.NAME, note + stayed),
    ]


def _everywhere(resolved: ResolvedProbe) -> BpfProgram:
    """The program of one function, at the same place in all thousand: they have the same code."""
    request = CompileRequest(At.ENTRY, None, (CaptureRequest("number", expressions.parse("number")),), LIMITS)
    compiled = compile_probe(resolved, request)
    with opened(resolved.binary.path) as image:
        starts = [each.address for each in symbol_functions(image) if each.name.startswith("f_")]
    assert len(starts) == SITES
    moved = (start - resolved.low_pc for start in starts)
    sites = tuple(
        dataclasses.replace(resolved.entry, address=resolved.entry.address + by, offset=resolved.entry.offset + by)
        for by in moved
    )
    (one,) = compiled.programs
    return dataclasses.replace(compiled, programs=(dataclasses.replace(one, sites=sites),))


def _peer(target: Workload) -> tuple[float, float]:
    """Seconds to come and to go, for all sites; 0 to go when it did not."""
    probe = f"uprobe:{target.binary}:{PEER_PATTERN} {{ @ = count(); }}"
    start = time.perf_counter()
    child = subprocess.Popen([bpftrace.NAME, "-e", probe], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while bpftrace.attached(child) < PEER_SITES + possible_cpus():
            if child.poll() is not None or time.perf_counter() - start > PEER_SECONDS:
                raise TimeoutError(f"bpftrace did not attach to {PEER_SITES} functions within {PEER_SECONDS:.0f} s")
            time.sleep(0.0005)
        target.wait(probed=True)
        came = time.perf_counter() - start
    finally:
        went = bpftrace.stop(child)
    return came * PEER_SHARE, (went or 0.0) * PEER_SHARE
