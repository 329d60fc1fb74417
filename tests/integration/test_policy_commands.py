"""A tenant's policy as its administrators live with it: the real command line, two people, two replicas.

One PostgreSQL, one redis, two server processes on them. The second replica reaches its database through a socket that a
test can cut. The text looked at is what people see; the exit statuses are what scripts rely on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from client.sdk.credentials import Credentials
from deploy.local_stack import LocalStack, Person, free_port
from tests.builders.database import postgresql_server
from tests.builders.redis_server import redis_server
from tests.builders.templates import SUM_YAML
from tests.builders.unix_relay import UnixRelay, unix_relay

pytestmark = pytest.mark.peer

OK, ERROR, USAGE, DENIED, WAITING, CONFLICT = 0, 1, 2, 3, 5, 6
EVERYWHERE = 5.0  # seconds until a change holds on every replica
ANN = Person("ann", "ann-test-password", ("tenant-admin",))
BEN = Person("ben", "ben-test-password", ("tenant-admin",))
ADA = Person("ada", "ada-test-password", ("developer",))
GRACE = Person("grace", "grace-test-password", ("reviewer", "auditor"))
PEOPLE = (ANN, BEN, ADA, GRACE)

HEAD = "apiVersion: probegate/v1\nkind: Policy\n"
QUIET = HEAD + "rules: []\n"
NO_REQUESTS = HEAD + (
    "rules:\n"
    "- {id: nothing-runs, subject: role:developer, action: tracepoint:request, effect: deny}\n"
    "tests:\n"
    "- {roles: [developer], ask: tracepoint:request, answer: deny}\n"
)
NO_SUBMISSIONS = HEAD + "rules:\n- {id: frozen, subject: role:developer, action: template:submit, effect: deny}\n"
ADA_REVIEWS = HEAD + ("rules:\n- {id: ada-reviews, subject: role:developer, action: template:review, effect: deny}\n")


@dataclass
class Replicas:
    """`first` and `second` serve the same tenants; the second one's way to the database can be cut."""

    first: LocalStack
    second: LocalStack
    way: UnixRelay


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    directory = tmp_path_factory.mktemp("policy")
    with postgresql_server() as url, redis_server() as redis:
        place = Path(url.partition("host=")[2])
        shared = {"PROBEGATE_REDIS_URL": redis.url}
        with (
            LocalStack(directory / "first", settings=shared | {"PROBEGATE_DATABASE_URL": url}) as first,
            unix_relay(_short(place) / ".s.PGSQL.5432", place / ".s.PGSQL.5432") as way,
        ):
            first.start_server(PEOPLE, administrator=ANN)
            first.sign_in_all(PEOPLE)
            again = {
                "PROBEGATE_DATABASE_URL": url.replace(str(place), str(_short(place))),
                "PROBEGATE_STATE": str(first.state),  # the same keys
                "PROBEGATE_PUBLIC_URL": first.url,  # and the same issuer
            }
            with second_replica(first, directory / "second", shared | again) as second:
                yield Replicas(first, second, way)


def _short(place: Path) -> Path:
    """A socket's path has at most 107 bytes; PostgreSQL's own directory is short."""
    other = place / "way"
    if not other.exists():
        other.mkdir()
        other.chmod(0o755)
    return other


def second_replica(first: LocalStack, directory: Path, settings: dict[str, str]) -> LocalStack:
    """Serving, with the sign-ins of the first: its people only talk to another address."""
    second = LocalStack(directory, settings=settings, http_port=free_port(), grpc_port=free_port())
    (directory / "people").mkdir(parents=True)
    for person in PEOPLE:
        kept = (first.directory / "people" / f"{person.name}.json").read_text()
        (directory / "people" / f"{person.name}.json").write_text(
            kept.replace(f'"server": "{first.url}"', f'"server": "{second.url}"')
        )
    second.serve()
    return second


@pytest.fixture
def stack(replicas: Replicas) -> Iterator[LocalStack]:
    """Every test leaves the tenant with a policy that says nothing."""
    yield replicas.first
    done = replicas.first.run(ANN, "policy", "apply", write(replicas.first, QUIET), "-o", "json")
    if done.returncode == WAITING:
        agreed(replicas.first, BEN, done.stdout)


def write(stack: LocalStack, text: str) -> str:
    file = stack.directory / "policy.yaml"
    file.write_text(text)
    return str(file)


def said(stack: LocalStack, person: Person, *arguments: str, status: int = OK) -> str:
    done = stack.run(person, *arguments)
    assert done.returncode == status, f"{done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def agreed(stack: LocalStack, person: Person, printed: str) -> None:
    waiting = json.loads(printed)
    said(stack, person, "policy", "approve", waiting["id"], "--digest", waiting["digest"])


def test_a_plan_says_who_loses_what_and_changes_nothing(stack: LocalStack):
    told = said(stack, ANN, "policy", "plan", write(stack, NO_REQUESTS))

    assert "tracepoint:request" in told
    assert "ada" in told or "developer" in told
    assert "true" in said(stack, ADA, "policy", "can-i", "tracepoint:request", "-o", "json")


def test_a_change_that_touches_no_seat_is_in_force_at_once(stack: LocalStack):
    told = said(stack, ANN, "policy", "apply", write(stack, NO_REQUESTS), "-m", "the release is cut")

    assert "in-force" in told or "active" in told or "version" in told
    refused = json.loads(said(stack, ADA, "policy", "can-i", "tracepoint:request", "-o", "json", status=DENIED))
    assert refused["allowed"] is False
    assert "nothing-runs" in refused["rule"] + refused["reason"]


def test_what_touches_reviewers_waits_for_a_second_person(stack: LocalStack):
    waiting = stack.run(ANN, "policy", "apply", write(stack, ADA_REVIEWS), "-o", "json")
    assert waiting.returncode == WAITING, waiting.stdout + waiting.stderr
    assert "nothing has changed yet" in waiting.stderr
    proposal = json.loads(waiting.stdout)
    agree = ("policy", "approve", proposal["id"], "--digest", proposal["digest"])

    assert "template:review" in said(stack, BEN, "policy", "proposal", proposal["id"])
    assert "somebody else" in said(stack, ANN, *agree, status=DENIED)
    said(stack, ADA, *agree, status=DENIED)
    said(stack, BEN, "policy", "approve", proposal["id"], "--digest", "sha256:" + "0" * 64, status=CONFLICT)
    said(stack, BEN, *agree)

    assert "ada-reviews" in said(stack, ANN, "policy", "show")


def test_why_and_who_are_told_in_words(stack: LocalStack):
    said(stack, ANN, "policy", "apply", write(stack, NO_REQUESTS))

    why = said(stack, ANN, "policy", "explain", "ada", "tracepoint:request")
    assert "nothing-runs" in why
    assert "smallest_change" in why
    can = said(stack, ANN, "policy", "who-can", "template:review")
    assert "grace" in can
    assert "ada" not in can
    told = said(stack, ADA, "policy", "can-i", "template:review", status=DENIED)
    assert "reviewer" in told


def test_a_simulation_shows_which_recorded_decisions_would_turn(stack: LocalStack):
    template = stack.directory / "template.yaml"
    template.write_text(SUM_YAML)
    said(stack, ADA, "template", "submit", str(template))

    told = said(stack, ANN, "policy", "simulate", write(stack, NO_SUBMISSIONS))

    assert "template:submit" in told
    assert "role:developer" in told
    assert "recorded decisions would come out otherwise" in told
    assert "0 of" not in told
    said(stack, ADA, "policy", "can-i", "template:submit")  # and nothing has changed


def test_an_old_version_comes_back_by_its_number(stack: LocalStack):
    first = json.loads(said(stack, ANN, "policy", "apply", write(stack, NO_REQUESTS), "-o", "json"))
    said(stack, ANN, "policy", "apply", write(stack, NO_SUBMISSIONS))
    back = stack.run(ANN, "policy", "rollback", str(first["version"]), "-o", "json")
    if back.returncode == WAITING:
        agreed(stack, BEN, back.stdout)

    assert "nothing-runs" in said(stack, ANN, "policy", "show")
    listed = json.loads(said(stack, ANN, "policy", "versions", "-o", "json"))
    assert [version["version"] for version in listed] == sorted((v["version"] for v in listed), reverse=True)
    assert len(listed) >= 3


def test_a_policys_own_tests_and_oddities_are_told_before_it_is_applied(stack: LocalStack):
    wrong = NO_REQUESTS.replace("answer: deny", "answer: allow")
    twice = NO_REQUESTS.replace(
        "tests:", "- {id: again, subject: role:developer, action: tracepoint:request, effect: allow}\ntests:"
    )

    assert "tracepoint:request" in said(stack, ANN, "policy", "test", write(stack, wrong), status=ERROR)
    said(stack, ANN, "policy", "test", write(stack, NO_REQUESTS))
    assert "again" in said(stack, ANN, "policy", "lint", write(stack, twice))
    said(stack, ANN, "policy", "apply", write(stack, wrong), status=USAGE)


def test_a_typo_is_told_with_the_word_that_was_meant(stack: LocalStack):
    told = said(
        stack,
        ANN,
        "policy",
        "plan",
        write(stack, NO_REQUESTS.replace("tracepoint:request", "tracepoint:reqest")),
        status=USAGE,
    )

    assert "tracepoint:request" in told


def test_who_may_not_administer_hears_what_it_takes(stack: LocalStack):
    told = said(stack, ADA, "policy", "apply", write(stack, NO_REQUESTS), status=DENIED)

    assert "policy:write needs tenant-admin" in told


def test_a_tenants_own_run_policy_is_stricter_than_the_platforms_or_refused(stack: LocalStack):
    before = stack.json(ANN, "run-policy", "show")
    stricter = str(before["fleet_guard"]["processes"] - 1)
    made = stack.json(ANN, "run-policy", "set", "--processes", stricter, "--dry-run", "staging")
    assert (made["own_fleet_guard"], made["dry_run_environments"]) == (True, ["staging"])
    laxer = stack.run(ANN, "run-policy", "set", "--processes", str(before["fleet_guard"]["processes"] + 1))
    assert laxer.returncode == USAGE
    assert "stricter, not laxer" in laxer.stderr
    assert stack.run(ADA, "run-policy", "set", "--no-dry-runs").returncode == DENIED
    back = stack.json(BEN, "run-policy", "set", "--platform-guard", "--no-dry-runs")
    assert (back["fleet_guard"], back["own_fleet_guard"]) == (before["fleet_guard"], False)


def test_a_change_holds_on_the_second_replica_within_five_seconds(stack: LocalStack, replicas: Replicas):
    def may() -> bool:
        """`can-i` says it by its exit status."""
        done = replicas.second.run(ADA, "policy", "can-i", "tracepoint:request")
        assert done.returncode in {OK, DENIED}, done.stderr
        return done.returncode == OK

    assert may()  # its snapshot is warm
    said(stack, ANN, "policy", "apply", write(stack, NO_REQUESTS))
    applied = time.monotonic()
    while may():
        assert time.monotonic() - applied < EVERYWHERE, "the second replica still decides by the old policy"


def test_a_replica_that_cannot_confirm_its_version_changes_nothing(replicas: Replicas):
    """Last: its database does not come back."""
    kept = Credentials.load(replicas.first.directory / "people" / "ada.json")
    access = kept.contexts[kept.active].access_token
    headers = {"authorization": f"Bearer {access}"}
    path = "/v1/tenants/acme/templates"
    body = {"source": SUM_YAML.replace("money-sum", "cut-off")}

    replicas.way.cut()
    away = httpx.post(replicas.second.url + path, json=body, headers=headers, timeout=30)
    here = httpx.get(replicas.first.url + path, headers=headers, timeout=30)

    assert (away.status_code, away.headers["content-type"]) == (503, "application/problem+json")
    assert away.headers["retry-after"]
    assert "cut-off" not in here.text
