"""Two tenants on one server. Everything that one has carries a canary; the other asks every operation, and sees none.

On SQLite, where the queries' own filter is all there is, and on PostgreSQL as the server's own role. The canary's tenant is
filled by its people through the API, and what agents would send is put into the database. What the other tenant is told
of an object that is not its own is, byte for byte, what it is told of one that nobody has.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.bootstrap.schema import upgrade
from control_plane.delivery.tables import AgentRow
from control_plane.foundation.database import Database
from control_plane.foundation.identifiers import TenantId
from control_plane.http.operations import read_operations
from control_plane.records.tables import RecordAccountingRow, RecordBatchRow, RecordHeadRow, RecordTableRow
from tests.builders.database import postgresql_server
from tests.builders.real_server import RealServer, real_server
from tests.builders.record_batches import wire_batch

pytestmark = pytest.mark.peer  # its redis-server, and PostgreSQL

OPERATIONS = list(read_operations().operations)
THEIRS, OURS = "cnry-tenant", "acme"
ABSENT = {"template": "neverwas", "table": "neverwas", "rule": "neverwas"}
TEMPLATE = """
apiVersion: probegate/v1
kind: ProbeTemplate
metadata: {name: cnry-template, description: cnry-description, labels: {team: cnry-label}}
spec:
  target: {service: cnry-service, language: go}
  probe: {function: cnry/function.Sum, at: entry, capture: {cnry_column: l.Units}}
  table: cnry_table
"""


@dataclass
class World:
    server: RealServer
    http: httpx.Client
    log: list[str]
    theirs: dict[str, str] = field(default_factory=dict)  # a place in an address -> what they have there
    secrets: set[str] = field(default_factory=set)

    def ask(self, operation: str, tenant: str, places: dict[str, str], token: str, **more: Any) -> httpx.Response:
        method, _, path = operation.partition(" ")
        path = re.sub(r"\{(\w+)\}", lambda place: {"tenant": tenant, **places}.get(place[1], "neverwas"), path)
        body = {"json": {}} if method in {"POST", "PUT", "PATCH"} else {}
        headers = {"authorization": f"Bearer {token}"}
        with self.http.stream(method, path, headers=headers, **{"params": QUERY, **body, **more}) as answer:
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                return answer  # it would not end by itself; what it would say stands in `rows`
            answer.read()
        return answer

    def done(self, who: str, method: str, path: str, **more: Any) -> Any:
        headers = {"authorization": f"Bearer {self.server.token(who)}"}
        answer = self.http.request(method, f"/v1/tenants/{THEIRS}{path}", headers=headers, **more)
        assert answer.status_code < 300, (method, path, answer.status_code, answer.text)
        return answer.json() if answer.content else None


QUERY = {"permission": "template:read", "subject": "x|y", "limit": "50"}


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    state: Path = tmp_path_factory.mktemp("blind") / "state"
    if request.param == "sqlite":
        with filled(state) as world:
            yield world
        return
    with postgresql_server() as url:
        asyncio.run(migrated(url))
        with filled(state, PROBEGATE_DATABASE_URL=url) as world:
            yield world


async def migrated(url: str) -> None:
    database = Database(url)
    await upgrade(database)
    await database.close()


class filled:
    def __init__(self, state: Path, **settings: str) -> None:
        self._server = real_server(state, **settings)

    def __enter__(self) -> World:
        server = self._server.__enter__()
        self._http = httpx.Client(base_url=server.url, timeout=30)
        self._kept = Kept()
        world = World(server, self._http, self._kept.lines)
        people(server)
        fill(world)
        logging.getLogger().addHandler(self._kept)
        return world

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self._kept)
        self._http.close()
        self._server.__exit__(None, None, None)


def people(server: RealServer) -> None:
    server.create_tenant(OURS, "alice")
    server.add_member(OURS, "ollie", "developer", "reviewer", "data-owner", "responder", "tenant-admin")
    server.add_member(OURS, "oscar", "auditor")
    server.create_tenant(THEIRS, "cnry-admin")
    for name, *roles in (
        ("cnry-admin", "tenant-admin"),
        ("cnry-author", "developer"),
        ("cnry-reviewer", "reviewer", "data-owner"),
        ("cnry-auditor", "auditor"),
    ):
        server.add_member(THEIRS, name, *roles)
    server.add_member("platform", "root", "platform-admin")


def fill(world: World) -> None:
    """Something in every place where a tenant can have something."""
    server, theirs = world.server, world.theirs
    server.run(agents_and_rows(server.provision.get(Database)))
    made = world.done("cnry-author", "POST", "/templates", json={"source": TEMPLATE, "message": "cnry-message"})
    version = made["templates"][0]
    digest = theirs["digest"] = version["digest"]
    path = "/templates/cnry-template/versions/1"
    world.done("cnry-reviewer", "POST", f"{path}/approve", json={"digest": digest, "comment": "cnry-comment"})
    request = {"template": "cnry-template", "name": "cnry-probe", "target": {"service": "cnry-service"}, "ttl": "5m"}
    theirs["tracepoint"] = world.done("cnry-author", "POST", "/tracepoints", json=request)["id"]
    lock = {"kind": "user", "value": f"{server.url}|cnry-locked", "reason": "cnry-reason"}
    theirs["lock"] = world.done("cnry-admin", "POST", "/locks", json=lock)["id"]
    rule = {"words": ["cnry word"], "action": "redact", "description": "cnry-about"}
    world.done("cnry-admin", "PUT", "/masking/rules/cnry-rule", json=rule)
    link = {"subject": f"{server.url}|cnry-author", "person": f"{server.url}|cnry-person"}
    world.done("cnry-admin", "POST", "/person-links", json=link)
    world.done("cnry-admin", "POST", "/agents/join-tokens", json={})
    if "POST /v1/tenants/{tenant}/service-accounts" in OPERATIONS:
        account = {"name": "cnry-account", "owner": "cnry-admin"}
        world.done("cnry-admin", "POST", "/service-accounts", json=account)
        token = {"name": "cnry-token", "permissions": ["template:read"], "ttl": "1d"}
        theirs["token"] = world.done("cnry-author", "POST", "/tokens", json=token)["id"]
    member = {"subject": "cnry-newcomer", "roles": ["reviewer"]}
    theirs["proposal"] = world.done("cnry-admin", "PUT", "/members", json=member)["id"]
    theirs |= {
        "template": "cnry-template",
        "version": "1",
        "table": "cnry_table",
        "rule": "cnry-rule",
        "account": "cnry-account",
    }


async def agents_and_rows(database: Database) -> None:
    """What only agents bring."""
    now = datetime.now(UTC)
    batch = wire_batch(1, [4711], table="cnry_table", tracepoint="tp_cnry")
    common = {"tenant": THEIRS, "tracepoint_id": "tp_cnry", "agent_id": "ag_cnry", "table_name": "cnry_table"}
    async with database.transaction(TenantId(THEIRS)) as session:
        session.add_all(
            [
                AgentRow(
                    tenant=THEIRS,
                    agent_id="ag_cnry",
                    hostname="cnry-host",
                    version="cnry-version",
                    kernel="cnry-kernel",
                    token_id="jt_cnry",
                    enrolled_at=now,
                    certificate_serial="cnry-serial",
                    certificate_until=now + timedelta(days=1),
                    last_seen_at=now,
                ),
                RecordHeadRow(tenant=THEIRS, position=1),
                RecordBatchRow(
                    **common, sequence=1, position=1, table_version=1, rows=1, arrow=batch.arrow, received_at=now
                ),
                RecordTableRow(
                    tenant=THEIRS,
                    table_name="cnry_table",
                    table_version=1,
                    columns='[["cnry_column", "int64"]]',
                    rows=1,
                    evicted=0,
                    created_at=now,
                    changed_at=now,
                ),
                RecordAccountingRow(
                    **common, sequence=1, accounting='{"hits": 1, "delivered": 1}', final=False, end_reason=""
                ),
            ]
        )


OF_A_TENANT = [operation for operation in OPERATIONS if "{tenant}" in operation]
OF_AN_OBJECT = [
    operation
    for operation in OF_A_TENANT
    if re.search(r"\{(template|tracepoint|table|lock|rule|proposal|account|token|agent)\}", operation)
]
# A request's id, the id and the digest of a proposal that it made, the time.
NEW_EACH_TIME = re.compile(r"(req|pr)_[0-9a-f]+|sha256:[0-9a-f]{64}|\d{4}-\d\d-\d\dT[0-9:.]+Z")
OURS_TOO = {"alice", "ollie", "oscar"}


def told(answer: httpx.Response, *names: str) -> tuple[object, ...]:
    """Everything that a caller can see, but for the names that were asked and what is new in every answer."""
    text = answer.text if answer.is_closed and "event-stream" not in answer.headers.get("content-type", "") else ""
    heads = {
        name: value for name, value in answer.headers.items() if name not in {"date", "x-request-id", "content-length"}
    }
    seen = NEW_EACH_TIME.sub("NEW", f"{heads} {text}")
    for name in sorted({name for name in names if not name.isdecimal()}, key=len, reverse=True):
        seen = seen.replace(name, "ASKED")
    return answer.status_code, seen


def absent(place: str, theirs: str) -> str:
    """A name in the same form that nobody has."""
    return (
        re.sub(r"(?<=_)[0-9a-f]{24}$", "0" * 24, theirs) if re.search(r"_[0-9a-f]{24}$", theirs) else f"never-{place}"
    )


def body_of(world: World, operation: str) -> dict[str, Any]:
    digest = world.theirs["digest"]
    bodies: dict[str, dict[str, Any]] = {
        "approve": {"digest": digest},
        "deny": {"digest": digest, "reason": "ours"},
        "reject": {"digest": digest, "reason": "ours"} if "templates" in operation else {"reason": "ours"},
        "deprecate": {"reason": "ours"},
        "revoke": {"reason": "ours"},
        "renew": {"ttl": "1m"},
    }
    return bodies.get(operation.rsplit("/", 1)[-1], {})


def test_the_canary_is_really_there(world: World):
    """Its own people see it in every list: otherwise the tests below would show nothing."""
    for who, path in [
        ("cnry-author", "/templates"),
        ("cnry-author", "/tracepoints"),
        ("cnry-author", "/tables"),
        ("cnry-author", "/locks"),
        ("cnry-author", "/masking/rules"),
        ("cnry-author", "/tokens"),
        ("cnry-admin", "/members"),
        ("cnry-admin", "/agents"),
        ("cnry-admin", "/person-links"),
        ("cnry-admin", "/proposals"),
        ("cnry-admin", "/service-accounts"),
        ("cnry-auditor", "/audit"),
    ]:
        if f"GET /v1/tenants/{{tenant}}{path}" in OPERATIONS:
            assert "cnry" in str(world.done(who, "GET", path)), path


@pytest.mark.parametrize("who", sorted(OURS_TOO))
def test_no_answer_to_a_tenants_people_holds_anything_of_another(world: World, who: str):
    token, seen = world.server.token(who), {}
    for operation in OPERATIONS:
        if operation.startswith(("GET", "POST")):
            answer = world.ask(operation, OURS, {}, token)
            if "cnry" in f"{answer.headers} {told(answer)}".lower():
                seen[operation] = answer.text[:300]
    assert seen == {}


@pytest.mark.parametrize("who", ["alice", "nobody", "root"])
def test_another_tenant_answers_as_one_that_is_not_there(world: World, who: str):
    token, other = world.server.token(who), {}
    for operation in OF_A_TENANT:
        one = told(world.ask(operation, THEIRS, world.theirs, token), THEIRS, *world.theirs.values())
        none = told(world.ask(operation, "never-there", world.theirs, token), "never-there", *world.theirs.values())
        if one != none:
            other[operation] = (one, none)
    assert other == {}


@pytest.mark.parametrize("who", sorted(OURS_TOO))
def test_an_object_of_another_tenant_answers_as_one_that_nobody_has(world: World, who: str):
    token, other = world.server.token(who), {}
    for operation in OF_AN_OBJECT:
        nobodys = {place: absent(place, name) if place != "version" else name for place, name in world.theirs.items()}
        body = {"json": body_of(world, operation)} if operation.startswith(("POST", "PUT")) else {}
        one = told(world.ask(operation, OURS, world.theirs, token, **body), *world.theirs.values())
        none = told(world.ask(operation, OURS, nobodys, token, **body), *nobodys.values(), *world.theirs.values())
        if one != none:
            other[operation] = (one, none)
    assert other == {}


def test_what_was_asked_in_vain_changed_nothing_there(world: World):
    test_the_canary_is_really_there(world)
    tracepoint = world.done("cnry-author", "GET", "/tracepoints/cnry-probe")
    assert tracepoint["state"] in {"pending", "active"}


def test_no_line_of_the_servers_log_spoke_of_it(world: World):
    spoken = [line for line in world.log if "cnry" in line.lower() and "HTTP Request" not in line]
    assert spoken == []
