"""Reviewing on a whole stack: the page with a live agent's forecast, locks that detach within five seconds, a pipeline."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from agents.runtime import inventory
from deploy.local_stack import LocalStack
from tests.integration.conftest import ADA, ADMIN, GRACE

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "templates" / "demo" / "checkout-money-sum.yaml"
LATENCY = """\
apiVersion: probegate/v1
kind: ProbeTemplate
metadata: {{name: {name}, description: How long a sum takes}}
spec:
  target: {{service: checkoutservice, language: go}}
  probe:
    function: github.com/GoogleCloudPlatform/microservices-demo/src/checkoutservice/money.Sum
    at: entry+return
    capture: {{latency: latency()}}
  table: {table}
  limits: {{ttl: {ttl}}}
"""
DENIED = 3

pytestmark = [pytest.mark.host, pytest.mark.peer]


def armed(stack: LocalStack, name: str) -> bool:
    return any(agent["state"] == "armed" for agent in stack.json(ADA, "tracepoint", "show", name)["agents"])


def until(holds, seconds: float):
    ends = time.monotonic() + seconds
    while not (found := holds()) and time.monotonic() < ends:
        time.sleep(0.1)
    return found


def test_a_reviewer_sees_fields_classes_and_a_live_forecast(stack: LocalStack) -> None:
    assert stack.run(ADA, "template", "submit", str(TEMPLATE), "-m", "sums").returncode == 0
    page = stack.run(GRACE, "template", "review", "checkout-money-sum")
    assert page.returncode == 0, page.stderr
    for part in ("class     masked", "1 approval", "int64", "1 process(es)", "us a call", "could run it", "|ada"):
        assert part in page.stdout, page.stdout
    found = stack.json(GRACE, "template", "review", "checkout-money-sum")
    types = {field["column"]: field["type"] for field in found["fields"]}
    assert (types["lUnits"], types["lNanos"], types["currency"]) == ("int64", "int32", "string")
    assert [forecast["binds"] for forecast in found["forecasts"]] == [True]


def test_a_pipeline_submits_and_waits(stack: LocalStack, tmp_path: Path) -> None:
    file = tmp_path / "latency.yaml"
    file.write_text(LATENCY.format(name="sum-latency", table="sum_latency", ttl="5m"))
    assert stack.run(ADA, "template", "lint", str(file)).returncode == 0
    done = stack.run(ADA, "template", "submit", str(file), "--wait", "--idempotency-key", "run-00001", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert [(found["state"], found["risk"]) for found in json.loads(done.stdout)] == [("approved", "metadata")]
    file.write_text(TEMPLATE.read_text().replace("name: checkout-money-sum", "name: pipeline-sum"))
    waiting = stack.run(ADA, "template", "submit", str(file), "--wait", "--for", "1s")
    assert waiting.returncode == 5, waiting.stderr
    command = stack.client_command("template", "submit", str(file), "--wait", "--for", "60s")
    environment = stack.person_environment(ADA)
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as pipeline:
        assert pipeline.stderr is not None
        assert "waiting for a reviewer" in pipeline.stderr.readline()
        assert stack.run(GRACE, "template", "deny", "pipeline-sum", "--reason", "no").returncode == 0
        out, _ = pipeline.communicate(timeout=30)
    assert (pipeline.returncode, "rejected" in out) == (DENIED, True)
    file.write_text("kind: nothing\n")
    assert stack.run(ADA, "template", "lint", str(file)).returncode == 2


def test_locks_detach_their_own_within_five_seconds_and_a_release_starts_none(
    stack: LocalStack, tmp_path: Path
) -> None:
    names = ("lock-a", "lock-b")
    for number, name in enumerate(names):
        file = tmp_path / f"{name}.yaml"
        file.write_text(LATENCY.format(name=name, table=name.replace("-", "_"), ttl=f"{6 + number}m"))
        assert stack.run(ADA, "template", "submit", str(file)).returncode == 0
        assert stack.run(ADA, "run", name, "--keep", "--rows", "1").returncode == 0
    agent = stack.json(ADMIN, "agent", "ls")[0]["id"]

    lock = stack.json(ADMIN, "lock", "add", "template", "lock-a", "--reason", "an incident")[0]
    started = time.monotonic()
    assert until(lambda: stack.json(ADA, "tracepoint", "show", "lock-a")["state"] == "ended", 8.0)
    assert time.monotonic() - started < 5.0 + 1.0, "a second for the command line itself"
    assert stack.json(ADA, "tracepoint", "show", "lock-a")["end_reason"] == "locked"
    assert armed(stack, "lock-b")
    refused = stack.run(ADA, "run", "lock-a")
    assert refused.returncode == DENIED, refused.stderr
    assert stack.run(ADMIN, "lock", "release", lock["id"]).returncode == 0

    programs = {program.id for program in inventory.programs()}
    lock = stack.json(ADMIN, "lock", "add", "agent", agent, "--reason", "compromised")[0]
    assert until(lambda: not armed(stack, "lock-b"), 6.0)
    assert stack.json(ADA, "tracepoint", "show", "lock-b")["agents"][0]["end_reason"] == "locked"
    assert {program.id for program in inventory.programs()} < programs
    assert stack.run(ADMIN, "lock", "release", lock["id"]).returncode == 0
    time.sleep(2)
    assert not armed(stack, "lock-b")
