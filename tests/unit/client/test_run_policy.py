"""`run-policy set` changes what is named, keeps the rest, and gives the revision that it read."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from client.cli.context import Invocation
from client.cli.run_policy import run_policy


class FakeApi:
    def __init__(self, *, own: bool) -> None:
        self.found = {
            "fleet_guard": {"processes": 50, "approvals": 1, "soak": "30s"},
            "own_fleet_guard": own,
            "dry_run_environments": ["staging"],
            "revision": 3,
        }
        self.put: list[tuple[dict[str, Any], str]] = []

    def run_policy(self) -> dict[str, Any]:
        return self.found

    def put_run_policy(self, policy: dict[str, Any], revision: str = "") -> dict[str, Any]:
        self.put.append((policy, revision))
        return self.found


class Call(Invocation):
    fake: FakeApi

    def api(self) -> FakeApi:  # type: ignore[override]
        return self.fake


def called(fake: FakeApi, *arguments: str):
    call = Call()
    call.fake = fake
    return CliRunner().invoke(run_policy, arguments, obj=call)


@pytest.mark.parametrize(
    ("own", "arguments", "sent"),
    [
        (False, ["--dry-run", "qa"], {"dryRun": {"environments": ["qa"]}}),
        (False, ["--no-dry-runs"], {"dryRun": {"environments": []}}),
        (
            False,
            ["--processes", "5"],
            {
                "dryRun": {"environments": ["staging"]},
                "fleetGuard": {"processes": 5, "approvals": 1, "soak": "30s"},
            },
        ),
        (
            True,
            ["--no-dry-runs"],
            {"dryRun": {"environments": []}, "fleetGuard": {"processes": 50, "approvals": 1, "soak": "30s"}},
        ),
        (True, ["--platform-guard"], {"dryRun": {"environments": ["staging"]}}),
    ],
)
def test_what_is_named_changes_and_the_rest_stays(own, arguments, sent) -> None:
    fake = FakeApi(own=own)
    answer = called(fake, "set", *arguments)
    assert (answer.exit_code, fake.put) == (0, [(sent, "3")]), answer.output


@pytest.mark.parametrize(
    "arguments", [[], ["--platform-guard", "--soak", "5m"], ["--dry-run", "qa", "--no-dry-runs"], ["--processes", "-1"]]
)
def test_what_contradicts_itself_is_refused_before_anything_is_sent(arguments) -> None:
    fake = FakeApi(own=False)
    assert called(fake, "set", *arguments).exit_code == 2
    assert fake.put == []


def test_show_prints_what_holds() -> None:
    assert "processes" in called(FakeApi(own=False), "show").output
