"""Twenty tracepoints on two real agents and two builds: each kind of lock detaches exactly its own, blocks new ones, and its
release starts none."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from client.sdk import Api, ApiError
from deploy.local_stack import BIN, LocalStack, Person
from tests.integration.conftest import ADA, ADMIN, GRACE
from tests.integration.test_fleet import LATENCY, SUM, until

ROY = Person("roy", "roy-test-password", ("responder",))

pytestmark = [pytest.mark.host, pytest.mark.peer]


@dataclass(frozen=True)
class Fleet:
    stack: LocalStack
    ada: Api
    roy: Api
    admin: Api
    builds: dict[int, str]  # pid -> build-id


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    stack = LocalStack(tmp_path_factory.mktemp("locks") / "stack", lease_seconds=20)
    try:
        people = (ADMIN, ADA, GRACE, ROY)
        stack.start_server(people, administrator=ADMIN)
        stack.sign_in_all(people)
        first = stack.start_shop("-every", "20ms", "-quiet")
        other = stack.build_shop("other/checkoutservice", "-ldflags=-buildid=another")
        second = stack.start("second-shop", [str(other), "-every", "20ms", "-quiet"])
        stack.join_agent(ADMIN, "agent-1")
        stack.join_agent(ADMIN, "agent-2")
        for name in ("lock-a", "lock-b"):
            file = stack.directory / f"{name}.yaml"
            table = name.replace("-", "_")
            text = LATENCY.format(name=name, function=SUM, table=table, cpu="5%")
            file.write_text(text.replace("ttl: 20m", "ttl: 19m") if name == "lock-b" else text)
            assert stack.run(ADA, "template", "submit", str(file)).returncode == 0
        yield Fleet(stack, stack.api(ADA), stack.api(ROY), stack.api(ADMIN), {first.pid: "", second.pid: ""})
    finally:
        stack.close()


def names() -> list[str]:
    """who-template-build-number: ten of each person, each template, each build."""
    return [f"{'ada' if n < 10 else 'roy'}-{'ab'[n % 2]}-{n // 2 % 2}-{n}" for n in range(20)]


def wanted(fleet: Fleet, name: str) -> None:
    who, template, build, *_ = name.split("-")
    pid = list(fleet.builds)[int(build)]
    asker = fleet.ada if who == "ada" else fleet.roy
    asker.request_tracepoint({"name": name, "template": f"lock-{template}", "target": {"pids": [pid]}})


def states(fleet: Fleet) -> dict[str, dict[str, object]]:
    """The newest of each name."""
    found: dict[str, dict[str, object]] = {}
    for item in fleet.ada.tracepoints():
        found.setdefault(item["name"], item)
    return found


def armed(item: dict) -> set[str]:
    return {agent["agent"] for agent in item["agents"] if agent["state"] == "armed"}


def all_armed(fleet: Fleet) -> bool:
    found = states(fleet)
    return all(name in found and len(armed(found[name])) == 2 for name in names())


ROUNDS = [["user", "template", "build-id", "agent", "tenant"], ["role", "digest", "everything"]]


@pytest.mark.parametrize("kinds", ROUNDS, ids=" ".join)
def test_each_lock_detaches_exactly_its_own_blocks_new_ones_and_its_release_starts_none(
    fleet: Fleet, kinds: list[str]
) -> None:
    """Twenty run at first; each lock ends some of those that the locks before it left."""
    for name in names():
        wanted(fleet, name)
    assert until(lambda: all_armed(fleet), 120.0), states(fleet)

    took: dict[str, timedelta] = {}
    for kind in kinds:
        before = {name: armed(item) for name, item in states(fleet).items() if name in names() and armed(item)}
        agent = min(next(iter(before.values())))
        value, its_own = _lock(fleet, kind, agent)
        own = {name for name in before if its_own(name)}
        assert own, f"nothing is left for the lock on {kind}"

        lock = fleet.admin.lock(kind, value, "an incident")
        try:
            took[kind] = _detached(fleet, kind, own, before, agent, datetime.fromisoformat(lock["created_at"]))
            _blocked(fleet, kind, min(own), agent)
        finally:
            fleet.admin.unlock(lock["id"])
        _none_comes_back(fleet, kind, own, agent if kind == "agent" else "")
    slowest = max(took, key=lambda kind: took[kind])
    print(f"slowest of {len(took)}: the lock on {slowest}, {took[slowest].total_seconds():.1f} s; the bound is 5 s")


def _lock(fleet: Fleet, kind: str, agent: str) -> tuple[str, Callable[[str], bool]]:
    """The lock's value, and whose names it is about."""
    match kind:
        case "user":
            return f"{fleet.stack.url}|roy", lambda name: name.startswith("roy")
        case "role":
            return "responder", lambda name: name.startswith("roy")
        case "template":
            return "lock-b", lambda name: "-b-" in name
        case "digest":
            digest = next(item["template_digest"] for name, item in states(fleet).items() if "-a-" in name)
            return str(digest), lambda name: "-a-" in name
        case "build-id":
            return _build_of_second(fleet), lambda name: name.split("-")[2] == "1"
        case "agent":
            return agent, lambda _: True
        case "tenant":
            return "acme", lambda _: True
    return "", lambda _: True


def _detached(
    fleet: Fleet, kind: str, own: set[str], before: dict[str, set[str]], agent: str, locked_at: datetime
) -> timedelta:
    """How long it took until its own were gone, from the locked agent or from all; the others go on."""
    left = {
        name: (agents - {agent} if kind == "agent" else set()) if name in own else agents
        for name, agents in before.items()
    }

    def gone() -> bool:
        now = states(fleet)
        return all(armed(now[name]) <= left[name] for name in own)

    assert until(gone, 60.0), {name: states(fleet)[name]["state"] for name in own}
    now = states(fleet)
    assert {name: armed(now[name]) for name in before} == left
    ends = [
        datetime.fromisoformat(one["updated_at"])
        for name in own
        for one in now[name]["agents"]
        if one["state"] == "ended"
    ]
    # The bound is five seconds; a busy machine must not fail a test, so the figure is told instead (pytest -s).
    took = max(ends) - locked_at
    print(f"lock on {kind}: {len(own)} tracepoints detached after {took.total_seconds():.1f} s")
    return took


def _none_comes_back(fleet: Fleet, kind: str, own: set[str], agent: str) -> None:
    """A tracepoint that is asked for after the release is armed; by then the locked ones would be too, had they started."""
    after = f"ada-a-0-after-{kind}"
    wanted(fleet, after)
    assert until(lambda: len(armed(states(fleet)[after])) == 2, 60.0), states(fleet)[after]
    now = states(fleet)
    assert {name for name in own if (agent in armed(now[name]) if agent else armed(now[name]))} == set()
    fleet.admin.stop(now[after]["id"])


def _blocked(fleet: Fleet, kind: str, name: str, agent: str) -> None:
    """The same again is refused; on a locked agent or for a locked build nothing is armed, not even for a moment."""
    who, template, build, *_ = name.split("-")
    fresh = f"{who}-{template}-{build}-new"
    if kind == "agent":
        wanted(fleet, fresh)
        assert agent not in {one["agent"] for one in fleet.ada.tracepoint(fresh)["agents"]}
        fleet.admin.stop(fresh)
        return
    if kind == "build-id":
        wanted(fleet, fresh)
        refused = until(lambda: (t := fleet.ada.tracepoint(fresh))["state"] in {"failed", "ended"} and t, 60.0)
        assert refused
        assert all(
            one["sites"] == 0 and "locked" in (one["detail"] + refused["end_reason"]) for one in refused["agents"]
        )
        return
    with pytest.raises(ApiError) as refusal:
        wanted(fleet, fresh)
    assert refusal.value.code == "locked"


def _build_of_second(fleet: Fleet) -> str:
    pid = list(fleet.builds)[1]
    done = subprocess.run(
        [str(BIN / "probegate-agent"), "explain", str(fleet.stack.directory / "lock-a.yaml"), "--pid", str(pid), "-o", "json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return str(json.loads(done.stdout)["build_id"])
