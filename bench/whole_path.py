"""Through the whole control plane: from an approval to a probe in the kernel, and what a loaded agent weighs.

A stack as `make demo` starts it: server, Redis, agent and shop are processes of their own, people use the command line.
The peer starts bpftrace with the same number of probes on the same program; it has no approval to wait for.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

from agents.runtime import inventory
from bench import bpftrace, workload
from bench.bpftrace import Bpftrace
from bench.figure import Figure
from bench.workload import Workload, cpu_seconds
from deploy.local_stack import LocalStack, Person, StackFailed

PROBES: Final = 10
ROUNDS: Final = 3
IDLE_SECONDS: Final = 10.0
PATIENCE_SECONDS: Final = 30.0
SERVICE: Final = "github.com/GoogleCloudPlatform/microservices-demo/src/checkoutservice"
ADMIN: Final = Person("admin", "admin-bench-password", ())
ADA: Final = Person("ada", "ada-bench-password", ("developer",))
GRACE: Final = Person("grace", "grace-bench-password", ("reviewer",))
TEMPLATE: Final = """\
apiVersion: probegate/v1
kind: ProbeTemplate
metadata: {{name: {name}, description: Sums of the bench}}
spec:
  target: {{service: checkoutservice, language: go}}
  probe: {{function: {service}/money.Sum, at: entry+return, capture: {{units: l.Units, sum: ret(0).Units, took: latency()}}}}
  table: {table}
"""


def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, LocalStack(Path(folder) / "stack") as stack:
        stack.start_server([ADMIN, ADA, GRACE], administrator=ADMIN)
        for person in (ADMIN, ADA, GRACE):
            stack.sign_in(person)
        stack.start_shop("-every", "1h")  # quiet: what is measured is the agent, not its rows
        stack.join_agent(ADMIN)
        taken = [_armed(stack, number) for number in range(PROBES)]
        agent = stack.started["agent"].pid
        idle = _idle_share(agent)
        weight = _resident_mb(agent)
    with Workload(workload.go_program()) as target:
        starts = [_peer_start(target) for _ in range(ROUNDS)]
    rival = _peer_weight()
    shown = f"from `template approve` through `run` to the program in the kernel, two commands started; {PROBES} times"
    held = f"{PROBES} probes armed through the control plane, nothing fires; lower is better"
    return [
        Figure(
            "approval_to_armed_ms", "ms", round(median(taken) * 1e3), round(median(starts) * 1e3), bpftrace.NAME, shown
        ),
        Figure("agent_rss_mb", "MB", round(weight, 1), round(rival[0], 1), bpftrace.NAME, held),
        Figure("agent_idle_cpu", "%", round(idle * 100, 3), round(rival[1] * 100, 3), bpftrace.NAME, held),
    ]


def _armed(stack: LocalStack, number: int) -> float:
    """One more probe; seconds from its approval."""
    template = stack.directory / f"bench-{number}.yaml"
    template.write_text(TEMPLATE.format(name=f"bench-{number}", table=f"bench_{number}", service=SERVICE))
    submitted = stack.json(ADA, "template", "submit", str(template))
    assert isinstance(submitted, list)
    before = {program.id for program in inventory.programs()}
    start = time.perf_counter()
    approved = stack.run(GRACE, "template", "approve", submitted[0]["name"], "--digest", submitted[0]["digest"])
    if approved.returncode:
        raise StackFailed(approved.stderr)
    command = stack.client_command(
        "run", str(template), "--pid", str(stack.started["shop"].pid), "--keep", "-o", "jsonl", "--ttl", "5m"
    )
    with subprocess.Popen(
        command, env=stack.person_environment(ADA), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as follower:
        _until(lambda: len({program.id for program in inventory.programs()} - before) >= 2)
        took = time.perf_counter() - start
        follower.terminate()
    return took


def _peer_start(target: Workload) -> float:
    with Bpftrace(target, "main.placeOrder", bpftrace.GO_FIELDS) as rival:
        return rival.arm_seconds


def _peer_weight() -> tuple[float, float]:
    """RSS in MB and idle CPU of one bpftrace with as many probes."""
    with Workload(workload.many_functions()) as target:
        places = "; ".join(
            f'uprobe:{target.binary}:f_99{digit} {{ printf("%d\\n", arg0); }}' for digit in range(PROBES)
        )
        command = [bpftrace.NAME, "-p", str(target.pid), "-e", places.replace("; ", " ")]
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            target.wait(probed=True)
            return _resident_mb(child.pid), _idle_share(child.pid)
        finally:
            child.terminate()
            child.wait()
            target.wait(probed=False)


def _idle_share(pid: int) -> float:
    time.sleep(1.0)
    start, used = time.perf_counter(), cpu_seconds(pid)
    time.sleep(IDLE_SECONDS)
    return (cpu_seconds(pid) - used) / (time.perf_counter() - start)


def _resident_mb(pid: int) -> float:
    line = next(one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def _until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > ends:
            raise TimeoutError("the probe was not armed")
        time.sleep(0.001)
