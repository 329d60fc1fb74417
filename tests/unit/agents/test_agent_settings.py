"""The host's own rules are read exactly, or nothing starts."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from agents.admission.model import HostLimits, HostPolicy
from agents.settings import BadSettings, read_host_policy, read_settings


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "agent.yaml"
    file.write_text(text)
    return file


def test_everything_a_host_can_say(tmp_path):
    policy = read_host_policy(
        written(
            tmp_path,
            """
deny: {functions: ["crypto/*"], paths: ["/usr/sbin/sshd"]}
limits: {ttl: 1h, maxEventsPerSecond: 10, maxHits: 20, maxString: 30, maxItems: 40, maxDepth: 2, cpu: 2%}
allowUnmasked: false
""",
        )
    )
    assert policy == HostPolicy(
        ("crypto/*",),
        ("/usr/sbin/sshd",),
        HostLimits(timedelta(hours=1), 10, 20, 30, 40, 2, 0.02),
        allow_unmasked=False,
    )


@pytest.mark.parametrize("text", ["", "{}", "deny: {}"])
def test_an_empty_file_changes_nothing(tmp_path, text):
    assert read_host_policy(written(tmp_path, text)) == HostPolicy()


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "deny: []",
        "deny: {function: []}",
        "deny: {functions: crypto}",
        "deny: {functions: ['']}",
        "deny: {functions: [1]}",
        "limits: {maxHits: 0}",
        "limits: {maxHits: true}",
        "limits: {maxHits: many}",
        "limits: {maxhits: 1}",
        "limits: {cpu: 0%}",
        "limits: {cpu: 200%}",
        "limits: {cpu: much}",
        "limits: {hostCpu: 0%}",
        "limits: {hostCpu: 6500%}",
        "limits: {cpu: nan}",
        "limits: {ttl: forever}",
        "allowUnmasked: maybe",
        "other: 1",
        "a: [",
        "\0",
    ],
)
def test_what_cannot_be_read_is_refused_with_the_file_named(tmp_path, text):
    with pytest.raises(BadSettings, match=r"agent\.yaml"):
        read_host_policy(written(tmp_path, text))


def test_a_file_that_was_named_must_be_there(tmp_path):
    with pytest.raises(BadSettings, match="does not exist"):
        read_settings({"PROBEGATE_AGENT_CONFIG": str(tmp_path / "none.yaml")})


def test_the_environment_says_where_things_are(tmp_path):
    settings = read_settings(
        {"PROBEGATE_AGENT_STATE": str(tmp_path / "s"), "PROBEGATE_AGENT_CACHE": str(tmp_path / "c")}
    )
    assert (settings.state, settings.cache) == (tmp_path / "s", tmp_path / "c")
