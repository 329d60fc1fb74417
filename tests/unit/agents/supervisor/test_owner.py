"""What the host's owner ends is over on this host, whoever signs what afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import tempfile
from pathlib import Path

import pytest

from agents.admission.model import HostLimits, HostPolicy
from agents.supervisor.owner_socket import CannotDo, OwnerSocket
from tests.builders.specs import spec, template
from tests.unit.agents.supervisor.test_supervisor import (  # noqa: F401 - the fixtures of a supervisor on a fake host
    Agent,
    _impatient,
    agent,
    host,
    until,
)

# ruff: noqa: F811 - a test's parameter is the fixture above


async def test_the_owner_ends_one_by_id_or_name_with_a_reason(agent, host):
    await agent.want(spec(template()))
    other = spec(template(), "tp_2")
    other.name = "other"
    await agent.want(other)
    await agent.armed(2)
    assert await agent.supervisor.stop_here({"other"}, "too\nloud") == (["tp_2"], [])
    last = [status for status in agent.gateway.statuses if status.tracepoint_id == "tp_2"][-1]
    assert (last.end_reason, last.event) == ("host_owner", "agent.detach")
    assert last.detail == "the host's owner stopped it: tooloud"
    assert list(agent.supervisor.running()) == ["tp_1"]


async def test_what_the_owner_ended_does_not_come_back_by_the_same_envelope(agent, host):
    await agent.want(spec(template()))
    await agent.armed()
    await agent.supervisor.stop_here(None, "")
    await agent.want(spec(template()))
    await agent.gone()
    assert agent.gateway.statuses[-1].end_reason == "host_owner"


async def test_nor_by_a_renewal_nor_after_a_restart_but_another_tracepoint_does(agent, host):
    await agent.want(spec(template()))
    await agent.armed()
    await agent.supervisor.stop_here(None, "")
    for version in (2, 3):
        await agent.want(spec(template(), version=version))
        nack = agent.gateway.nacks[-1]
        assert (nack.version, nack.reason) == (version, "denied_by_host")
        assert "the host's owner stopped it" in nack.detail
    again = Agent(host)
    await again.want(spec(template(), version=4))
    assert again.gateway.nacks[-1].reason == "denied_by_host"
    await agent.want(spec(template(), "tp_9"))
    await agent.armed()


async def test_what_does_not_run_here_is_said(agent):
    with pytest.raises(CannotDo, match="nothing that is called tp_7 runs here"):
        await agent.supervisor.stop_here({"tp_7"}, "")


@pytest.mark.parametrize(
    "policy",
    [
        HostPolicy(deny_functions=("*Sum",)),
        HostPolicy(deny_paths=("/srv/*",)),
        HostPolicy(limits=HostLimits(max_events_per_second=1)),
    ],
)
async def test_new_rules_of_the_host_end_what_they_do_not_allow(agent, host, policy):
    await agent.want(spec(template()))
    await agent.armed()
    assert await agent.supervisor.rules_changed(policy) == ["tp_1"]
    last = agent.gateway.statuses[-1]
    assert last.end_reason == "host_owner"
    assert last.detail.startswith("the host's rules were changed: ")
    await agent.want(spec(template(), "tp_2"))
    await until(lambda: agent.gateway.nacks or agent.gateway.statuses[-1].tracepoint_id == "tp_2")
    assert host.in_kernel == []


async def test_rules_that_allow_it_leave_it_alone(agent, host):
    await agent.want(spec(template()))
    await agent.armed()
    assert await agent.supervisor.rules_changed(HostPolicy(deny_functions=("crypto/*",))) == []
    assert list(agent.supervisor.running()) == ["tp_1"]


# --- the socket ----------------------------------------------------------------------------------------------------


def _policy() -> HostPolicy:
    raise CannotDo("the rules of before hold on: the file is not readable")


async def test_the_socket_lists_stops_and_says_what_it_cannot_do(agent, host):
    await agent.want(spec(template()))
    await agent.armed()
    owner = OwnerSocket(agent.supervisor, _policy, {"agent": "ag_1", "tenant": "acme"})
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "run"
        async with owner.opened(directory):
            path = directory / f"{os.getpid()}.sock"
            assert (path.stat().st_mode & 0o777, directory.stat().st_mode & 0o777) == (0o600, 0o700)
            [probe] = (await asked(path, {"do": "list"}))["probes"]
            assert (probe["tracepoint"], probe["state"], probe["processes"]) == ("tp_1", "armed", [10])
            assert (await asked(path, {"do": "reload"}))["error"].startswith("the rules of before hold on")
            assert "none of list" in (await asked(path, {"do": "dance"}))["error"]
            assert "runs here" in (await asked(path, {"do": "stop", "which": "tp_7", "reason": ""}))["error"]
            stopped = await asked(path, {"do": "stop", "which": "*", "reason": "enough"})
            assert stopped == {"stopped": ["tp_1"], "still": []}
        assert not path.exists()


async def test_a_directory_that_others_may_write_gets_no_socket(agent, caplog):
    owner = OwnerSocket(agent.supervisor, _policy, {})
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)  # noqa: PTH101 - no I/O to wait for
        async with owner.opened(Path(folder)):
            assert os.listdir(folder) == []  # noqa: PTH208
    assert "cannot reach this agent" in caplog.text


async def asked(path: Path, question: dict[str, str]) -> dict[str, object]:
    def ask() -> dict[str, object]:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(str(path))
            client.sendall(json.dumps(question).encode() + b"\n")
            return json.loads(client.makefile("rb").readline())

    return await asyncio.to_thread(ask)
