"""Through the whole control plane: from an approval to a probe in the kernel.

A stack as `make demo` starts it: server, Redis, agent and shop are processes of their own, people use the command line.
The peer is bpftrace's start; it has no approval to wait for.
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
from bench.workload import Workload
from deploy.local_stack import LocalStack, Person, StackFailed

PROBES: Final = 10
ROUNDS: Final = 3
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
        stack.start_shop("-every", "1h")
        stack.join_agent(ADMIN)
        taken = [_armed(stack, number) for number in range(PROBES)]
    with Workload(workload.go_program()) as target:
        starts = [_peer_start(target) for _ in range(ROUNDS)]
    shown = f"from `template approve` through `run` to the program in the kernel, two commands started; {PROBES} times"
    return [
        Figure(
            "approval_to_armed_ms", "ms", round(median(taken) * 1e3), round(median(starts) * 1e3), bpftrace.NAME, shown
        )
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


def _until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > ends:
            raise TimeoutError("the probe was not armed")
        time.sleep(0.001)
