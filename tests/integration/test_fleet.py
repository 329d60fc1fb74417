"""Requests, broken glass and staged roll-outs with several real agents: what starts when, and what stops it everywhere."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.runtime import inventory
from deploy.local_stack import LocalStack, Person
from tests.integration.conftest import ADA, ADMIN, DORA, VERA

ROOT = Path(__file__).parents[2]
ROY = Person("roy", "roy-test-password", ("responder",))
WAITING, DENIED = 5, 3
SUM = "github.com/GoogleCloudPlatform/microservices-demo/src/checkoutservice/money.Sum"
CHARGE = SUM.replace("money.Sum", "orders.Charge")
LATENCY = """\
apiVersion: probegate/v1
kind: ProbeTemplate
metadata: {{name: {name}, description: How long a sum takes}}
spec:
  target: {{service: checkoutservice, language: go}}
  probe:
    function: {function}
    at: entry+return
    capture: {{latency: latency()}}
  table: {table}
  limits: {{ttl: 20m, cpu: {cpu}, maxHits: 1000000}}
"""
# Three agents that see one shop each are three processes: one more than is let through.
APPROVALS = (
    (ROOT / "policies" / "approvals.yaml")
    .read_text()
    .replace(
        "fleetGuard: {processes: 100, approvals: 1, soak: 1m}", "fleetGuard: {processes: 2, approvals: 1, soak: 1s}"
    )
)
# On this host nobody may probe orders.Charge.
STRICT_HOST = f'deny: {{functions: ["{CHARGE}"], paths: []}}\n'

pytestmark = [pytest.mark.host, pytest.mark.peer]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Three agents on this host, one of which denies orders.Charge; the shop sums a thousand times a second."""
    directory = tmp_path_factory.mktemp("fleet") / "stack"
    directory.mkdir()
    approvals = directory / "approvals.yaml"
    assert "processes: 2" in APPROVALS
    approvals.write_text(APPROVALS)
    stack = LocalStack(
        directory,
        lease_seconds=10,
        settings={"PROBEGATE_APPROVALS": str(approvals), "OTEL_RESOURCE_ATTRIBUTES": "environment=staging"},
    )
    try:
        people = (ADMIN, ADA, VERA, DORA, ROY)
        stack.start_server(people, administrator=ADMIN)
        stack.sign_in_all(people)
        stack.start_shop("-every", "1ms", "-quiet")
        stack.join_agent(ADMIN, "agent-1", host_file=STRICT_HOST)
        stack.join_agent(ADMIN, "agent-2", host_file="allowDryRuns: true\n")
        stack.join_agent(ADMIN, "agent-3")
        yield stack
    finally:
        stack.close()
        shutil.rmtree(directory, ignore_errors=True)


def until(holds, seconds: float = 30.0):
    ends = time.monotonic() + seconds
    while not (found := holds()) and time.monotonic() < ends:
        time.sleep(0.05)
    return found


def submitted(stack: LocalStack, tmp_path: Path, name: str, function: str = SUM, cpu: str = "5%") -> None:
    file = tmp_path / f"{name}.yaml"
    file.write_text(LATENCY.format(name=name, function=function, table=name.replace("-", "_"), cpu=cpu))
    assert stack.run(ADA, "template", "submit", str(file)).returncode == 0


def asked(stack: LocalStack, name: str) -> dict:
    """A request above the guard: it waits, and Dora says yes to it."""
    done = stack.run(ADA, "run", name)
    assert done.returncode == WAITING, done.stderr
    assert "the fleet guard: about 3 processes, 2 are let through" in done.stderr
    waiting = shown(stack, name)
    own = stack.run(ADA, "tracepoint", "approve", name, "--digest", waiting["request"]["digest"])
    assert own.returncode == DENIED, own.stderr
    yes = stack.run(DORA, "tracepoint", "approve", name, "--digest", waiting["request"]["digest"])
    assert yes.returncode == 0, yes.stderr
    return waiting


def shown(stack: LocalStack, name: str) -> dict:
    return stack.api(ADA).tracepoint(name)


def armed(tracepoint: dict) -> int:
    return sum(agent["state"] == "armed" for agent in tracepoint["agents"])


def programs() -> set[int]:
    return {program.id for program in inventory.programs()}


def test_above_the_guard_it_goes_out_in_stages_until_all_have_it(stack, tmp_path) -> None:
    submitted(stack, tmp_path, "staged")
    asked(stack, "staged")
    first = until(lambda: (found := shown(stack, "staged"))["rollout"] and found)
    assert (first["rollout"]["stage"], first["rollout"]["stages"], len(first["agents"])) == (1, 2, 1)
    done = until(lambda: (found := shown(stack, "staged"))["rollout"]["state"] == "done" and found)
    assert done, shown(stack, "staged")
    assert (armed(done), done["rollout"]["agents"]) == (3, 3)
    assert stack.run(ADA, "tracepoint", "stop", "staged").returncode == 0
    assert until(lambda: shown(stack, "staged")["state"] == "ended")


def test_a_server_that_dies_between_two_stages_goes_on(stack, tmp_path) -> None:
    submitted(stack, tmp_path, "survives")
    asked(stack, "survives")
    assert until(lambda: shown(stack, "survives")["rollout"])
    stack.kill("server")
    stack.serve()
    assert until(lambda: (found := shown(stack, "survives"))["rollout"]["state"] == "done" and armed(found) == 3, 60.0)
    assert stack.run(ADA, "tracepoint", "stop", "survives").returncode == 0


def test_a_nack_stops_the_roll_out_and_takes_back_what_runs(stack, tmp_path) -> None:
    before = programs()
    submitted(stack, tmp_path, "refused", function=CHARGE)
    asked(stack, "refused")
    stopped = until(
        lambda: (found := shown(stack, "refused"))["rollout"] and found["rollout"]["state"] == "stopped" and found
    )
    assert stopped, shown(stack, "refused")
    assert "refused it: denied_by_host" in stopped["detail"], json.dumps([stopped["rollout"], stopped["agents"]])
    assert until(lambda: shown(stack, "refused")["state"] in {"ended", "failed"})
    assert until(lambda: programs() <= before), "the kernel still holds some of it"
    assert any("refused it" in notice["text"] for notice in stack.json(VERA, "notices"))


def test_a_broken_budget_stops_the_roll_out(stack, tmp_path) -> None:
    before = programs()
    submitted(stack, tmp_path, "costly", cpu="0.1%")
    asked(stack, "costly")
    stopped = until(
        lambda: (found := shown(stack, "costly"))["rollout"] and found["rollout"]["state"] == "stopped" and found
    )
    assert stopped, shown(stack, "costly")
    assert "ended it, budget: used" in stopped["detail"]
    assert until(lambda: programs() <= before)


def test_breaking_the_glass_starts_at_once_in_stages_and_everybody_is_told(stack, tmp_path) -> None:
    submitted(stack, tmp_path, "incident")
    why = ("--break-glass", "--reason", "checkout is down", "--ticket", "INC-4711")
    assert stack.run(ADA, "run", "incident", *why).returncode == DENIED, "a developer has no such right"
    long = stack.run(ROY, "run", "incident", "--ttl", "16m", *why)
    assert "15m at most" in long.stderr
    done = stack.run(ROY, "run", "incident", "--rows", "3", *why)
    assert done.returncode == 0, done.stderr
    found = shown(stack, "incident")
    assert found["rollout"]["stages"] == 2
    [notice] = [n for n in stack.json(VERA, "notices", "--open") if "INC-4711" in n["text"]]
    assert "roy broke the glass" in notice["text"]
    assert "NOTICE" in stack.run(VERA, "tracepoint", "ls").stderr

    assert stack.run(ROY, "tracepoint", "review", found["id"], "--ok").returncode == DENIED
    no = stack.run(DORA, "tracepoint", "review", found["id"], "--not-ok", "-m", "no incident was declared")
    assert no.returncode == 0, no.stderr
    suspended = stack.run(ROY, "run", "incident", *why)
    assert (suspended.returncode, "suspended" in suspended.stderr) == (DENIED, True), suspended.stderr
    assert stack.run(DORA, "tracepoint", "review", found["id"], "--ok").returncode == 0
    assert stack.run(ROY, "run", "incident", "--rows", "1", *why).returncode == 0


def test_a_start_in_the_future_starts_then_and_a_withdrawn_one_never(stack, tmp_path) -> None:
    submitted(stack, tmp_path, "later")
    pid = ("--pid", str(stack.started["shop"].pid))
    waiting = stack.run(ADA, "run", "later", "--at", "1h", *pid)
    assert waiting.returncode == WAITING, waiting.stderr
    assert stack.run(ADA, "tracepoint", "stop", "later").returncode == 0
    assert shown(stack, "later")["state"] == "ended"
    soon = stack.run(ADA, "run", "later", "--at", "5s", *pid)
    assert soon.returncode == WAITING
    # Without the start of a command: on a busy machine that alone takes the five seconds.
    digest = shown(stack, "later")["request"]["digest"]
    assert stack.api(DORA).approve_request("later", digest)["state"] == "scheduled"
    assert until(lambda: armed(shown(stack, "later")) > 0)
    listed = json.loads(stack.run(ADA, "tracepoint", "ls", "-o", "json").stdout)
    assert [item["state"] for item in listed if item["name"] == "later"] == ["active", "ended"]
    assert stack.run(ADA, "tracepoint", "stop", "later").returncode == 0


def test_a_reviewer_sees_masked_rows_where_tenant_and_host_allow_it(stack, tmp_path) -> None:
    file = tmp_path / "unseen.yaml"
    text = LATENCY.format(name="unseen", function=CHARGE, table="unseen", cpu="5%")
    file.write_text(text.replace("{latency: latency()}", "{email: o.Email, card: o.Card.Number, latency: latency()}"))
    assert stack.run(ADA, "template", "submit", str(file)).returncode == 0
    no = stack.run(DORA, "template", "review", "unseen", "--dry-run", "staging")
    assert (no.returncode, "environments: none" in no.stderr) == (DENIED, True), no.stderr
    stack.api(ADMIN).put_run_policy({"dryRun": {"environments": ["staging"]}})

    looks = {agent["id"]: _look(stack, str(agent["id"])) for agent in stack.agents(ADMIN)}
    shown = [look for look in looks.values() if look["rows"]]
    assert len(shown) == 1, looks
    for row in shown[0]["rows"]:
        assert ("@example" not in row["email"], row["latency"] > 0) == (True, True)
        assert not {"4111", "5500"} & {row["card"][:4]}
    assert all("allows no dry runs" in look["problem"] for look in looks.values() if not look["rows"])
    by_author = stack.run(ADA, "template", "review", "unseen", "--dry-run", "staging")
    assert by_author.returncode == DENIED
    assert "unseen" not in {table["name"] for table in stack.json(ADA, "tables")}


def _look(stack: LocalStack, agent: str) -> dict:
    page = stack.json(DORA, "template", "review", "unseen", "--dry-run", "staging", "--agent", agent)
    assert isinstance(page, dict)
    return page["dry_run"]
