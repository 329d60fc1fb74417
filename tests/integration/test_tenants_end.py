"""The path of one probe on PostgreSQL, as the role that owns nothing; and how a tenant ends while one of its probes runs.

Real server, real agent, a real Go shop. The platform's administrator works with the command line like everybody else.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from agents.runtime import inventory
from deploy.local_stack import LocalStack, Person
from tests.builders.database import postgresql_server
from tests.integration.conftest import ADA, ADMIN, GRACE, PEOPLE
from tests.integration.test_one_probe import OUR_SCRIPT, approve, rows_of

pytestmark = [pytest.mark.host, pytest.mark.peer]

ROOT = Person("root", "root-test-password", ())
DENIED, ABSENT, USAGE = 3, 1, 2


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with postgresql_server() as url:
        settings = {"PROBEGATE_DATABASE_URL": url}
        stack = LocalStack(tmp_path_factory.mktemp("ends") / "stack", lease_seconds=4, settings=settings)
        try:
            stack.start_server((*PEOPLE, ROOT), administrator=ADMIN)
            stack.server_command("member", "add", "platform", ROOT.name, "platform-admin")
            stack.sign_in_all((*PEOPLE, ROOT))
            stack.start_shop("-every", "20ms")
            stack.join_agent(ADMIN)
            yield stack
        finally:
            stack.close()


def until(holds, seconds: float = 30.0):
    """Wait for a condition; its last value."""
    ends = time.monotonic() + seconds
    while not (found := holds()) and time.monotonic() < ends:
        time.sleep(0.1)
    return found


def test_a_tenant_runs_a_probe_is_suspended_and_resumed_and_ends(stack):
    approve(stack, OUR_SCRIPT)
    before = {program.id for program in inventory.programs()}
    done = stack.run(ADA, "run", str(OUR_SCRIPT), "--rows", "20", "--keep", "-o", "jsonl")
    assert done.returncode == 0, done.stderr
    assert len(rows_of(done.stdout)) == 20
    assert until(lambda: {program.id for program in inventory.programs()} - before)
    used = {use["quota"]: use for use in stack.json(ADA, "tenant", "quota")}
    assert used["active_tracepoints"]["used"] == 1
    assert used["bytes_per_day"]["used"] > 0

    assert stack.run(ADA, "tenant", "suspend", "acme", "--reason", "me").returncode == ABSENT  # not the platform's
    assert stack.json(ROOT, "tenant", "suspend", "acme", "--reason", "the bill of October")["state"] == "suspended"
    assert until(lambda: not {program.id for program in inventory.programs()} - before), "its probe still runs"
    refused = stack.run(ADA, "run", str(OUR_SCRIPT))
    assert refused.returncode == DENIED
    assert "the bill of October" in refused.stderr

    stack.json(ROOT, "tenant", "resume", "acme", "--reason", "it is paid")
    assert {found["state"] for found in stack.json(ADA, "tracepoint", "ls")} <= {"stopping", "ended"}
    done = stack.run(ADA, "run", str(OUR_SCRIPT), "--rows", "5", "--keep", "-o", "jsonl")
    assert done.returncode == 0, done.stderr

    stack.json(ROOT, "tenant", "quota", "acme", "--set", "active_tracepoints=0")
    over = stack.run(ADA, "run", str(OUR_SCRIPT), "--name", "another")
    assert (over.returncode, "may have 0 active tracepoints" in over.stderr) == (ABSENT, True), over.stderr

    assert stack.run(ROOT, "tenant", "delete", "acme", "--reason", "they left", "--yes", "no").returncode == USAGE
    stack.json(ROOT, "tenant", "delete", "acme", "--reason", "they left", "--yes", "acme")
    gone = stack.run(GRACE, "template", "ls")
    assert gone.returncode == ABSENT
    assert "that you are a member of" in gone.stderr
    assert until(lambda: not {program.id for program in inventory.programs()} - before), "its probe still runs"
    assert until(lambda: stack.json(ROOT, "tenant", "show", "acme")["state"] == "deleted", 60)
    again = stack.run(ROOT, "tenant", "create", "acme")
    assert "already" in again.stderr
