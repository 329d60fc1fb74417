"""A probe that costs its target too much goes, the one beside it stays, and the people who asked for it read why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.local_stack import LocalStack
from tests.integration.conftest import ADA, ADMIN, GRACE
from tests.integration.test_fleet import LATENCY, SUM
from tests.integration.test_one_probe import approve, until

BREAKS, HOLDS = "0.01%", "5%"  # of a core; five hundred sums a second take a good 0.1%

pytestmark = [pytest.mark.host, pytest.mark.peer]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """The shop sums five hundred times a second."""
    stack = LocalStack(tmp_path_factory.mktemp("budgets") / "stack", lease_seconds=20)
    try:
        people = (ADMIN, ADA, GRACE)
        stack.start_server(people, administrator=ADMIN)
        stack.sign_in_all(people)
        stack.start_shop("-every", "2ms", "-quiet")
        stack.join_agent(ADMIN)
        yield stack
    finally:
        stack.close()


def wanted(stack: LocalStack, name: str, cpu: str) -> None:
    """Asked for, not followed: one that is over at once may have delivered nothing."""
    file = stack.directory / f"{name}.yaml"
    file.write_text(LATENCY.format(name=name, function=SUM, table=name, cpu=cpu))
    approve(stack, file)
    target = {"pids": [stack.started["shop"].pid]}
    stack.api(ADA).request_tracepoint({"name": name, "template": name, "target": target})


def shown(stack: LocalStack, name: str) -> dict[str, Any]:
    found: dict[str, Any] = stack.json(ADA, "tracepoint", "show", name)
    return found


def delivered(stack: LocalStack, name: str) -> int:
    return sum(agent["accounting"]["delivered"] for agent in shown(stack, name)["agents"] if agent["accounting"])


def test_a_probe_over_its_budget_ends_with_the_reason_and_the_one_beside_it_delivers_on(stack):
    wanted(stack, "modest", HOLDS)
    assert until(lambda: delivered(stack, "modest")), shown(stack, "modest")

    wanted(stack, "costly", BREAKS)
    over = until(lambda: (found := shown(stack, "costly"))["state"] == "ended" and found)
    assert over, shown(stack, "costly")
    assert over["end_reason"] == "budget"
    (agent,) = over["agents"]
    assert agent["detail"].startswith("used ")
    assert agent["detail"].endswith("of a core, allowed 0.01%")

    log = stack.json(GRACE, "audit", "search", "--action", "agent.detach", "--resource", f"tracepoint/{over['id']}")
    assert "budget" in json.dumps(log), log

    before = delivered(stack, "modest")
    assert until(lambda: delivered(stack, "modest") > before), shown(stack, "modest")
    assert shown(stack, "modest")["state"] == "active"
