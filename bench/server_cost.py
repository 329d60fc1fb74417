"""What rows cost the control plane: CPU of the server for a thousand of them, at fifty a second from one probe.

Every batch is a transaction with its entry in the audit log, so it is batches that cost, not rows: the agent gathers them
(`agents.supervisor.life`). The peer is the agent's own CPU for the same rows, everything from the ring to the upload.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from bench.figure import Figure
from bench.whole_path import ADA, ADMIN, GRACE, SERVICE, TEMPLATE
from bench.workload import cpu_seconds
from deploy.local_stack import LocalStack, StackFailed

SETTLE_SECONDS: Final = 5.0
SECONDS: Final = 30.0
NAME: Final = "bench-server"


def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, LocalStack(Path(folder) / "stack") as stack:
        stack.start_server([ADMIN, ADA, GRACE], administrator=ADMIN)
        for person in (ADMIN, ADA, GRACE):
            stack.sign_in(person)
        stack.start_shop("-every", "20ms")
        stack.join_agent(ADMIN)
        _follow(stack)
        time.sleep(SETTLE_SECONDS)
        before, start = _used(stack), time.monotonic()
        time.sleep(SECONDS)
        after, took = _used(stack), time.monotonic() - start
    server, agent, calls = (now - then for then, now in zip(before, after, strict=True))
    rate = f"{calls / took:.0f} rows a second from one probe, followed by one person; lower is better"
    ours, beside = (round(used * 1e6 / calls, 1) for used in (server, agent))
    return [Figure("server_cpu_ms_per_1000_events", "ms", ours, beside, "the agent for the same rows", rate)]


def _follow(stack: LocalStack) -> None:
    """`run` of an approved template; returns when its first row has come."""
    template = stack.directory / f"{NAME}.yaml"
    template.write_text(TEMPLATE.format(name=NAME, table="bench_server", service=SERVICE))
    submitted = stack.json(ADA, "template", "submit", str(template))
    assert isinstance(submitted, list)
    approved = stack.run(GRACE, "template", "approve", NAME, "--digest", submitted[0]["digest"])
    if approved.returncode:
        raise StackFailed(approved.stderr)
    command = stack.client_command("run", str(template), "--pid", str(stack.started["shop"].pid), "-o", "jsonl")
    with (stack.directory / "follower.log").open("wb") as log:
        follower = subprocess.Popen(command, env=stack.person_environment(ADA), stdout=log, stderr=log)
    stack.started["follower"] = follower  # ends with the stack
    ends = time.monotonic() + 30
    while not any(line.startswith("{") for line in stack.log_of("follower").splitlines()):
        if time.monotonic() > ends:
            raise TimeoutError(f"no row came: {stack.log_of('follower')[-2000:]}")
        time.sleep(0.1)


def _used(stack: LocalStack) -> tuple[float, float, int]:
    """CPU seconds of server and agent, and how many calls the shop has printed."""
    calls = sum(line.startswith("{") for line in stack.log_of("shop").splitlines())
    return cpu_seconds(stack.started["server"].pid), cpu_seconds(stack.started["agent"].pid), calls
