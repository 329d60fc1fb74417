"""The path of one probe, end to end: a script runs unchanged, its rows are what the program printed, and it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from wire import canary

from agents.runtime import inventory
from deploy.local_stack import LocalStack
from tests.integration.conftest import ADA, GRACE

ROOT = Path(__file__).parents[2]
OUR_SCRIPT = ROOT / "templates" / "demo" / "checkout-money-sum.pxl"
SHARED_SCRIPT = ROOT.parent / "shared" / "examples" / "checkout_sum.pxl"
COLUMNS = ("lUnits", "lNanos", "rUnits", "rNanos", "retUnits", "retNanos")
WAITING, DENIED, CONFLICT, USAGE = 5, 3, 6, 2

pytestmark = [pytest.mark.host, pytest.mark.peer]


def approve(stack: LocalStack, script: Path | str) -> dict[str, object]:
    """Submit as Ada, approve as Grace what she was shown; the approved version."""
    submitted = stack.json(ADA, "template", "submit", str(script))
    for found in submitted:
        if found["state"] != "approved":
            done = stack.run(GRACE, "template", "approve", found["name"], "--digest", found["digest"])
            assert done.returncode == 0, done.stderr
    return submitted[0]


def printed_calls(stack: LocalStack) -> list[tuple[int, ...]]:
    calls = []
    for line in stack.log_of("shop").splitlines():
        if line.startswith("{") and line.endswith("}"):
            call = json.loads(line)
            calls.append(tuple(call[column] for column in COLUMNS))
    return calls


def rows_of(output: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.splitlines()]


def until(holds, seconds: float = 30.0):
    """Wait for a condition; its last value."""
    ends = time.monotonic() + seconds
    while not (found := holds()) and time.monotonic() < ends:
        time.sleep(0.05)
    return found


def altered_text(pid: int) -> list[int]:
    """Addresses of a process's code that differ from its executable: where a breakpoint stands. None: its old speed."""
    executable = Path(f"/proc/{pid}/exe").read_bytes()
    inode = Path(f"/proc/{pid}/exe").stat().st_ino
    found = []
    with Path(f"/proc/{pid}/mem").open("rb") as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, mode, offset, _, of = line.split()[:5]
            if "x" in mode and int(of) == inode:
                start, end = (int(edge, 16) for edge in span.split("-"))
                memory.seek(start)
                running = memory.read(end - start)
                as_built = executable[int(offset, 16) :][: len(running)]
                found += [
                    start + at for at, pair in enumerate(zip(running, as_built, strict=False)) if pair[0] != pair[1]
                ]
    return found


def our_programs() -> set[int]:
    return {program.id for program in inventory.programs()}


# The shared script is not part of the project: it is run where it lies beside the checkout.
@pytest.mark.parametrize("script", [s for s in (OUR_SCRIPT, SHARED_SCRIPT) if s.exists()], ids=lambda path: path.stem)
def test_the_rows_of_a_script_are_what_the_program_printed(stack, script):
    assert stack.run(ADA, "run", str(script)).returncode == WAITING
    approve(stack, script)
    # Another test may run the same shop: this one is told apart by its pid.
    shop = str(stack.started["shop"].pid)
    done = stack.run(ADA, "run", str(script), "--pid", shop, "--rows", "60", "-o", "jsonl")
    assert done.returncode == 0, done.stderr
    rows = [tuple(row[column] for column in COLUMNS) for row in rows_of(done.stdout)]
    assert len(rows) == 60
    printed = printed_calls(stack)
    starts = [at for at, call in enumerate(printed) if call == rows[0]]
    assert any(printed[at : at + len(rows)] == rows for at in starts), f"{rows[:3]} … not in {printed[-100:][:3]} …"
    assert "hits " in done.stderr


def test_every_hit_is_accounted_for(stack):
    approve(stack, OUR_SCRIPT)
    done = stack.run(ADA, "run", str(OUR_SCRIPT), "--rows", "20", "-o", "jsonl")
    line = next(line for line in done.stderr.splitlines() if line.startswith("hits "))
    total, parts = line.removeprefix("hits ").split(" = ")
    assert int(total) == sum(int(part.rsplit(" ", 1)[1]) for part in parts.split(" + "))
    assert int(total) >= 20


def test_a_row_holds_no_card_and_no_address_of_a_person(stack, tmp_path):
    """The shop passes both to orders.Charge; the masks of the platform apply without anybody asking for them."""
    template = tmp_path / "charge.yaml"
    template.write_text(CHARGE)
    approve(stack, template)
    done = stack.run(ADA, "run", str(template), "--rows", "10", "-o", "jsonl")
    assert done.returncode == 0, done.stderr
    rows = rows_of(done.stdout)
    assert len(rows) == 10
    assert [row["id"][:2] for row in rows] == ["o-"] * 10
    assert "@example" not in done.stdout
    for card in ("4111111111111111", "5500000000000004", "340000000000009"):  # four digits alone stand in times too
        assert not any(canary.shows(json.dumps(row), card) for row in rows)
    with_everything = stack.directory / "server" / "probegate.db"
    assert b"ada@example.com" not in with_everything.read_bytes()


def test_what_masking_did_is_told_by_field_and_rule(stack, tmp_path):
    template = tmp_path / "charge.yaml"
    template.write_text(CHARGE)
    approve(stack, template)
    assert stack.run(ADA, "run", str(template), "--rows", "10", "-o", "jsonl").returncode == 0
    told = json.loads(stack.run(ADA, "masking", "coverage", "--since", "1h", "-o", "json").stdout)
    fields = {field["column"]: field for field in told["fields"] if field["template"] == "charge"}
    assert fields.keys() == {"id", "email", "card", "note", "receipt", "error", "latency"}
    assert (fields["email"]["shown"], fields["email"]["in_clear"]) == ("never", 0)
    assert (fields["latency"]["shown"], fields["latency"]["unscanned"]) == ("always", 0)
    assert all(field["rows"] >= 10 for field in fields.values())
    firing = {rule["rule"]: rule["firing"] for rule in told["rules"]}
    assert (firing["platform:default.string"], firing["platform:default.comm"]) == ("fired", "never")
    page = stack.run(ADA, "masking", "coverage").stdout
    assert "charges.latency (charge)" in page


def test_a_planted_card_came_through_with_the_rows_and_is_no_row(stack, tmp_path):
    template = tmp_path / "charge.yaml"
    template.write_text(CHARGE)
    approve(stack, template)
    rows = rows_of(stack.run(ADA, "run", str(template), "--rows", "5", "-o", "jsonl").stdout)
    assert [row["id"][:2] for row in rows] == ["o-"] * 5
    (counted,) = stack.json(ADA, "masking", "canaries")
    assert counted["hidden"] >= 1
    assert "planted card" not in stack.run(ADA, "notices").stdout


CHARGE = """\
apiVersion: probegate/v1
kind: ProbeTemplate
metadata: {name: charge, description: What is charged}
spec:
  target: {service: checkoutservice, language: go}
  probe:
    function: github.com/GoogleCloudPlatform/microservices-demo/src/checkoutservice/orders.Charge
    at: entry+return
    capture:
      id: o.ID
      email: o.Email
      card: o.Card.Number
      note: note
      receipt: ret(0)
      error: ret(1)
      latency: latency()
  table: charges
"""


class TestEnds:
    """After each of these the kernel holds nothing of ours, and the program goes on as before."""

    @pytest.fixture
    def running(self, stack):
        """A tracepoint that is armed, and the ids of its programs in the kernel."""
        approve(stack, OUR_SCRIPT)
        before = our_programs()
        command = stack.client_command("run", str(OUR_SCRIPT), "--keep", "-o", "jsonl", "--ttl", "5m")
        with subprocess.Popen(
            command, env=stack.person_environment(ADA), stdout=subprocess.PIPE, text=True
        ) as follower:
            assert follower.stdout is not None
            assert follower.stdout.readline().startswith("{")
            follower.send_signal(signal.SIGINT)
        programs = our_programs() - before
        assert programs
        assert altered_text(stack.started["shop"].pid)
        yield programs
        stack.run(ADA, "tracepoint", "stop", "checkout_tracer")
        assert until(lambda: not inventory.remaining(programs))

    @staticmethod
    def assert_gone(stack, programs, seconds: float = 30.0):
        assert until(lambda: not inventory.remaining(programs), seconds), "the kernel still holds our programs"
        assert stack.started["shop"].poll() is None
        assert until(lambda: not altered_text(stack.started["shop"].pid)), "a breakpoint still stands in the program"
        calls = len(printed_calls(stack))
        assert until(lambda: len(printed_calls(stack)) > calls + 10), "the program does not go on"

    def test_delete(self, stack, running):
        assert stack.run(ADA, "tracepoint", "stop", "checkout_tracer").returncode == 0
        self.assert_gone(stack, running)

    def test_ttl(self, stack, running):
        done = stack.run(ADA, "run", str(OUR_SCRIPT), "--ttl", "2s", "--keep", "-o", "jsonl")
        assert done.returncode == 0, done.stderr
        self.assert_gone(stack, running)
        assert "ttl" in done.stderr

    def test_the_agent_killed(self, stack, running):
        stack.kill("agent")
        self.assert_gone(stack, running, 5.0)
        stack.start_agent("", "agent")

    def test_the_control_plane_killed(self, stack, running):
        stack.kill("server")
        self.assert_gone(stack, running)
        stack.serve()

    def test_redis_killed(self, stack, running):
        redis = subprocess.run(
            ["pgrep", "-P", str(stack.started["server"].pid), "redis-server"],
            capture_output=True,
            text=True,
            check=True,
        )
        held = [int(pid) for pid in redis.stdout.split()]
        assert len(held) == 1
        os.kill(held[0], signal.SIGKILL)
        self.assert_gone(stack, running)
        # It is started again when every lease is over; then what is asked for runs again, as before.
        assert until(lambda: stack.run(ADA, "run", str(OUR_SCRIPT), "--rows", "1", "-o", "jsonl").returncode == 0)
