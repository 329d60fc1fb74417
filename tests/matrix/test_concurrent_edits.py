"""Two people edit the same thing at the same moment, having read the same ETag: one of them gets 412, nothing is lost.

The real server, on SQLite and on PostgreSQL, and two requests that really overlap: two threads behind a barrier, each
with its own connection, round after round. What an edit says is different each time, so that what stands there at the
end tells whose it is.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from control_plane.bootstrap.schema import upgrade
from control_plane.foundation.database import Database
from tests.builders.database import postgresql_server
from tests.builders.real_server import RealServer, real_server
from tests.builders.templates import SUM_YAML

pytestmark = pytest.mark.peer

ROUNDS = 6
RULE = "- {{id: {word}, subject: role:viewer, action: lock:read, name: {word}, effect: allow}}"


def policy(words: list[str]) -> str:
    """One rule a word; none gives anybody what they do not hold."""
    rules = "\n".join(RULE.format(word=word) for word in words)
    return f"apiVersion: probegate/v1\nkind: Policy\nrules:\n{rules}\n"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    state = tmp_path_factory.mktemp("edits") / "state"
    if request.param == "sqlite":
        with real_server(state) as server:
            yield furnished(server)
        return
    with postgresql_server() as url:
        asyncio.run(migrated(url))
        with real_server(state, PROBEGATE_DATABASE_URL=url) as server:
            yield furnished(server)


async def migrated(url: str) -> None:
    database = Database(url)
    await upgrade(database)
    await database.close()


def furnished(server: RealServer) -> RealServer:
    server.create_tenant("acme", "founder")
    for name in ("ann", "ben"):
        server.add_member("acme", name, "tenant-admin", "reviewer", "developer")
    server.add_member("acme", "writer", "developer")
    return server


@dataclass
class People:
    """Ann and Ben, each with a connection of their own."""

    server: RealServer

    def client(self, name: str) -> httpx.Client:
        headers = {"authorization": f"Bearer {self.server.token(name)}"}
        return httpx.Client(base_url=f"{self.server.url}/v1/tenants/acme", headers=headers, timeout=30)

    def at_once(self, method: str, path: str, bodies: list[dict[str, Any]], **headers: str) -> list[httpx.Response]:
        """Both requests, sent at the same moment; the answers in the order of the bodies."""
        barrier = threading.Barrier(len(bodies))

        def send(name: str, body: dict[str, Any]) -> httpx.Response:
            with self.client(name) as client:
                client.get("")  # the connection stands before the moment
                barrier.wait(10)
                return client.request(method, path, json=body or None, headers=headers)

        with ThreadPoolExecutor(len(bodies)) as pool:
            return list(pool.map(send, ("ann", "ben"), bodies))


@pytest.fixture
def people(server: RealServer) -> People:
    return People(server)


@dataclass(frozen=True)
class Thing:
    """What can be edited: where, what an edit to some words sends, which words stand there. Edits add words and take
    none away: what asks for less than before would wait for a second person.
    """

    path: str
    edit: Callable[[list[str]], dict[str, Any]]
    read: Callable[[httpx.Client], list[str]]
    etag: Callable[[httpx.Client], str]


def _listed(path: str, key: str, name: str) -> Callable[[httpx.Client], dict[str, Any]]:
    def find(client: httpx.Client) -> dict[str, Any]:
        return next(item for item in client.get(path).raise_for_status().json()["items"] if item[key] == name)

    return find


_masking = _listed("/masking/rules", "name", "edited")
_edited = _listed("/members", "subject", "https://issuer.example|edited")
_approval = _listed("/approval-rules", "name", "edited")
THINGS = {
    "masking rule": Thing(
        "/masking/rules/edited",
        lambda words: {"words": words, "action": "drop"},
        lambda client: re.findall(r"\w+", _masking(client)["pattern"])[1:],
        lambda client: str(_masking(client)["revision"]),
    ),
    "approval rule": Thing(
        "/approval-rules/edited",
        lambda words: {"templates": words, "approvals": 1},
        lambda client: _approval(client)["rule"]["templates"],
        lambda client: str(_approval(client)["revision"]),
    ),
    "policy": Thing(
        "/policy",
        lambda words: {"source": policy(words)},
        lambda client: re.findall(r"id: (\w+)", client.get("/policy").json()["source"]),
        lambda client: client.get("/policy").headers["etag"],
    ),
}


@pytest.mark.parametrize("kind", THINGS)
def test_of_two_edits_at_once_one_is_stale_and_nothing_is_lost(people: People, kind: str):
    thing = THINGS[kind]
    with people.client("ann") as client:
        assert client.put(thing.path, json=thing.edit(["first"])).status_code == 200
        for number in range(ROUNDS):
            before, words = thing.read(client), [f"ann{number}", f"ben{number}"]
            etag = thing.etag(client)
            edits = [thing.edit([*before, word]) for word in words]
            answers = people.at_once("PUT", thing.path, edits, **{"if-match": etag})

            assert sorted(answer.status_code for answer in answers) == [200, 412], [a.text for a in answers]
            winner = next(word for word, answer in zip(words, answers, strict=True) if answer.status_code == 200)
            assert thing.read(client) == [*before, winner]
            stale = next(answer for answer in answers if answer.status_code == 412)
            assert stale.json()["code"] == "stale"


def test_of_two_who_give_a_member_roles_at_once_one_is_stale(people: People):
    subject = "https://issuer.example|edited"
    with people.client("ann") as client:
        client.put("/members", json={"subject": subject, "roles": ["viewer"]}).raise_for_status()
        for _ in range(ROUNDS):
            edits = [{"subject": subject, "roles": roles} for roles in (["viewer", "developer"], ["developer"])]
            answers = people.at_once("PUT", "/members", edits, **{"if-match": _edited(client)["etag"]})

            assert sorted(answer.status_code for answer in answers) == [200, 412], [a.text for a in answers]
            winner = next(edit for edit, answer in zip(edits, answers, strict=True) if answer.status_code == 200)
            assert set(_edited(client)["roles"]) == set(winner["roles"])
            client.put("/members", json={"subject": subject, "roles": ["viewer"]}).raise_for_status()


@pytest.mark.parametrize("kind", ["masking rule", "approval rule"])
def test_of_two_that_create_the_same_both_are_answered_and_one_stands(people: People, kind: str):
    thing = THINGS[kind]
    path = thing.path.replace("edited", "made")
    for number in range(ROUNDS):
        bodies = [thing.edit(words) for words in (["ann"], ["ann", "ben"])]
        answers = people.at_once("PUT", f"{path}{number}", bodies)

        statuses = {answer.status_code for answer in answers}
        assert 200 in statuses and statuses <= {200, 202, 409}, [answer.text for answer in answers]


def test_of_two_reviews_at_once_with_one_etag_one_is_stale(people: People):
    with people.client("writer") as writer, people.client("ann") as client:
        for number in range(ROUNDS):
            source = SUM_YAML.replace("money-sum", f"sum-{number}")
            writer.post("/templates", json={"source": source}).raise_for_status()
            shown = client.get(f"/templates/sum-{number}").raise_for_status()
            path = f"/templates/sum-{number}/versions/1/reject"
            body = {"digest": shown.json()["digest"], "reason": "not like this"}
            answers = people.at_once("POST", path, [body, body], **{"if-match": shown.headers["etag"]})

            assert sorted(answer.status_code for answer in answers) == [200, 412], [a.text for a in answers]
