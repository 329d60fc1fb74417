"""An agent that is killed at any moment, while many probes fire: the target goes on, and the kernel holds nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agents.runtime import inventory
from tests.builders.programs import ROOT
from tests.builders.traced import Counted, counted_binary, offset_of

pytestmark = [pytest.mark.host, pytest.mark.xdist_group("kernel_memory")]

KILLS = 50 if os.environ.get("PROBEGATE_LONG") else 5
PROBES = 20
GROWTH_KB = 16 << 10  # of the kernel's unreclaimable slabs: other tests run beside this one
GONE_SECONDS = 10.0
HOLDER = """
import sys, time
from agents.runtime.features import probe_kernel
from agents.runtime.model import ArmRequest
from agents.runtime.service import arm
from agents.processes.proc import ProcFs
from tests.builders.bpf_programs import counting_program
pid, offset, path, probes = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
kernel, process = probe_kernel(), ProcFs().find(pid)
limits = ArmRequest(time.clock_gettime_ns(time.CLOCK_BOOTTIME) + 60_000_000_000, 1 << 40, 2_000_000_000)
program = counting_program((offset,), ring_size=64 << 10)
held = [arm(program, [(process, 0)], limits, path, kernel) for _ in range(probes)]
print(*(number for each in held for number in each.program_ids()), flush=True)
while True:
    for each in held:
        each.drain(1 << 16)
"""


def unreclaimable_kb() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("SUnreclaim:"))


def killed_while_firing(target: Counted, offset: int) -> tuple[int, ...]:
    """One life of an agent; the ids of what it had in the kernel."""
    command = [sys.executable, "-c", HOLDER, str(target.pid), str(offset), str(target.binary), str(PROBES)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "proto")])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as agent:
        assert agent.stdout is not None
        ids = tuple(int(word) for word in agent.stdout.readline().split())
        target.start("call 20000")
        time.sleep(0.05)
        agent.kill()
    target.finish()  # every call was made: the program says how many
    return ids


def test_a_killed_agent_leaves_the_target_alive_and_nothing_in_the_kernel():
    binary = counted_binary()
    offset = offset_of(binary, "probed")
    with Counted(binary) as target:
        assert len(killed_while_firing(target, offset)) == PROBES
        before = unreclaimable_kb()
        for _ in range(KILLS):
            ids = killed_while_firing(target, offset)
            assert len(ids) == PROBES
            assert inventory.wait_until_gone(ids, GONE_SECONDS) == ()
        target.call(1000)
        assert unreclaimable_kb() - before < GROWTH_KB
