"""The host's owner ends real probes with `probegate-agent stop` and `reload`: no restart, and no control plane needed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from wire.v1 import gateway_pb2

from tests.builders.agent_program import agent_command, agent_environment, running
from tests.host.test_agent_run import Joined, gateway, join, program, sums  # noqa: F401 - fixtures of a real agent

# ruff: noqa: F811 - a test's parameter is the fixture above
pytestmark = [pytest.mark.host, pytest.mark.xdist_group("host")]
RULES = "limits: {cpu: 10%}\n"


class Owner:
    """Root's shell on the host."""

    def __init__(self, joined: Joined, environment: dict[str, str], file: Path) -> None:
        self.joined = joined
        self.environment = environment
        self.file = file

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "agents", *arguments],
            env=dict(os.environ) | self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
async def owner(gateway, program, tmp_path) -> AsyncIterator[Owner]:
    file = tmp_path / "agent.yaml"
    file.write_text(RULES)
    with tempfile.TemporaryDirectory(prefix="pg") as shared:  # a socket's path has at most 107 bytes
        environment = agent_environment(file) | {"PROBEGATE_AGENT_SHARED": str(Path(shared) / "run")}
        with running(agent_command(*join(gateway, tmp_path / "state")), environment) as process:
            made = Owner(Joined(process, gateway), environment, file)
            await gateway.until(lambda: gateway.heard.hellos or process.child.poll() is not None)
            assert process.child.poll() is None, "".join(process.err)
            made.joined.deploy(sums())
            await made.joined.armed()
            yield made


async def test_list_shows_what_runs_and_stop_takes_it_out_of_the_kernel(owner, gateway, program):
    [listed] = json.loads(owner.run("list", "-o", "json").stdout)
    assert (listed["tracepoint"], listed["state"], listed["processes"]) == ("tp_1", "armed", [program.pid])
    assert "tp_1" in owner.run("list").stdout
    stopped = owner.run("stop", "tp_1", "--reason", "maintenance")
    assert (stopped.returncode, stopped.stdout) == (0, "stopped tp_1\n"), stopped.stderr
    await owner.joined.gone()  # the kernel frees a program some time after its last link has gone
    await gateway.until(lambda: gateway.heard.ended("tp_1") == "host_owner")
    last = [status for status in gateway.heard.statuses if status.tracepoint_id == "tp_1"][-1]
    assert last.detail == "the host's owner stopped it: maintenance"
    assert json.loads(owner.run("list", "-o", "json").stdout) == []
    assert owner.run("stop", "tp_1").returncode == 1


async def test_stop_works_without_the_control_plane_which_hears_of_it_later_and_cannot_bring_it_back(owner, gateway):
    await gateway.close()
    assert owner.run("stop", "--all", "--reason", "nobody is there").returncode == 0
    await owner.joined.gone()  # the kernel frees a program some time after its last link has gone
    heard = len(gateway.heard.statuses)
    await gateway.open()
    await gateway.until(lambda: any(s.end_reason == "host_owner" for s in gateway.heard.statuses[heard:]), 30)
    owner.joined.deploy(sums(), version=2)
    nack = await gateway.until(lambda: gateway.heard.nacks)
    assert (nack[-1].reason, nack[-1].version) == ("denied_by_host", 2)
    owner.joined.deploy(sums(), "tp_2")
    await owner.joined.armed("tp_2")


@pytest.mark.parametrize("how", ["reload", "SIGHUP"])
async def test_a_new_deny_list_ends_what_it_denies_without_a_restart(owner, gateway, how):
    owner.file.write_text(RULES + 'deny: {functions: ["*/money.Sum"]}\n')
    if how == "reload":
        assert owner.run("reload").stdout == "stopped tp_1\n"
    else:
        owner.joined.process.child.send_signal(signal.SIGHUP)
    await owner.joined.gone()
    await gateway.until(lambda: gateway.heard.ended("tp_1") == "host_owner")
    owner.joined.deploy(sums(), "tp_2")
    nack = await gateway.until(lambda: gateway.heard.nacks)
    assert nack[-1].reason == "denied_by_host"


async def test_a_file_that_cannot_be_read_changes_nothing(owner, gateway):
    owner.file.write_text("deny: {function: [x]}\n")
    refused = owner.run("reload")
    assert refused.returncode == 4
    owner.file.write_text(RULES)
    assert [probe["state"] for probe in json.loads(owner.run("list", "-o", "json").stdout)] == ["armed"]
    assert gateway_pb2.STATE_ENDED not in gateway.heard.states("tp_1")
