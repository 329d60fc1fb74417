"""Every operation of the API, asked by everybody who could ask: policies/operations.yaml says what comes back.

The real server over real HTTP. People are made one a role, with that role and nothing else; programs likewise. Bodies
are empty and names are absent: what is looked at is whether the question got past who and may, and in which words
it did not. What an operation does with a good question is for the tests of its step.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import httpx
import pytest

from control_plane.accounts.service_accounts import ServiceAccounts
from control_plane.foundation.identifiers import TenantId
from control_plane.http.operations import PUBLIC, SIGNED_IN, Operations, read_operations, served_operations
from tests.builders.real_server import RealServer, real_server

pytestmark = pytest.mark.peer  # its redis-server

TENANT, OTHER, FROZEN, PLATFORM, NOWHERE = "acme", "globex", "frozen", "platform", "nowhere"
PLATFORM_ROLE = "platform-admin"
TABLE = read_operations()
ROLES = sorted({role for held in TABLE.permissions.values() for role in held.roles})
TENANT_ROLES = [role for role in ROLES if role != PLATFORM_ROLE]
# An address needs something in its places. None of it exists.
NAMES = {"version": "1", "index": "0", "old": "0"}
QUERY = {"permission": "template:read"}  # without it `can-i` does not know what it is asked


@dataclass(frozen=True)
class Asker:
    column: str
    token: str
    tenant: str = TENANT
    expected: str = ""


@dataclass
class World:
    """Tokens by who asks; the expired one is of somebody who may everything else."""

    server: RealServer
    http: httpx.Client
    tokens: dict[str, str] = field(default_factory=dict)

    def ask(self, operation: str, tenant: str, token: str) -> httpx.Response:
        method, _, path = operation.partition(" ")
        path = path.replace("{tenant}", tenant)
        path = re.sub(r"\{(\w+)\}", lambda place: NAMES.get(place[1], "matrix-absent"), path)
        headers = {"authorization": f"Bearer {token}"} if token else {}
        body = {} if method in {"POST", "PUT", "PATCH"} else None
        return self.http.request(method, path, headers=headers, params=QUERY, json=body)

    def answer(self, operation: str, asker: Asker) -> str:
        """In the words of the table."""
        came = self.ask(operation, asker.tenant, asker.token)
        ours = came.headers.get("content-type") != "application/json"  # OAuth's own answers are in its own shape
        if (came.status_code == 401 and ours) or came.headers.get("location", "").startswith("/console/sign-in?"):
            return "unknown"
        if came.status_code == 403:
            return "denied"
        if came.status_code == 404 and _words(came, asker.tenant) == _words(self.absent(operation, asker), NOWHERE):
            return "hidden" if "that you are a member of" in came.text else "served"
        return "served" if came.status_code < 500 else f"failed with {came.status_code}: {came.text[:200]}"

    def absent(self, operation: str, asker: Asker) -> httpx.Response:
        return self.ask(operation, NOWHERE, asker.token)


def _words(answer: httpx.Response, tenant: str) -> str:
    return re.sub(r"req_[0-9a-f]+", "", answer.text).replace(tenant, "TENANT")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with real_server(tmp_path_factory.mktemp("matrix") / "state") as server, httpx.Client(base_url=server.url) as http:
        world = World(server, http)
        for tenant in (TENANT, OTHER, FROZEN):
            server.create_tenant(tenant, f"founder-{tenant}")
        accounts = server.provision.get(ServiceAccounts)
        for role in ROLES:
            tenant = PLATFORM if role == PLATFORM_ROLE else TENANT
            server.add_member(tenant, f"person-{role}", role)
            world.tokens[role] = server.token(f"person-{role}")
            if tenant == TENANT:
                server.add_member(FROZEN, f"person-{role}", role)
                founder = f"{server.url}|founder-{TENANT}"
                made = server.run(
                    accounts.unsafe_create(TenantId(TENANT), f"program-{role}", founder, timedelta(days=1))
                )
                client = made.account.client_id
                server.add_member(TENANT, client, role)
                world.tokens[f"program {role}"] = server.service_token(client)
        server.add_member(OTHER, "stranger", *(role for role in TENANT_ROLES if role != "auditor"))
        world.tokens |= {"other-tenant": server.token("stranger"), "no-tenant": server.token("nobody"), "no-token": ""}
        why = {"reason": "the matrix"}
        by = {"authorization": f"Bearer {world.tokens[PLATFORM_ROLE]}"}
        http.post(f"/v1/platform/tenants/{FROZEN}/suspend", json=why, headers=by).raise_for_status()
        world.tokens["expired-token"] = server.token("person-tenant-admin", expired=True)
        yield world


def kind_of(operation: str, asked: str) -> str:
    if asked == PUBLIC:
        return "public"
    if asked == SIGNED_IN:
        return "signed-in-tenant" if "{tenant}" in operation else "signed-in"
    return "tenant" if "{tenant}" in operation else "platform"


def cells(world: World, table: Operations, operation: str, asked: str) -> Iterator[Asker]:
    """Everybody who is to ask this operation, with what is to come back."""
    tokens, kind = world.tokens, kind_of(operation, asked)
    answers = table.answers[kind]
    for column, expected in answers.items():
        if column in tokens:
            yield Asker(column, tokens[column], expected=expected)
    if kind == "public":
        for column in ("no-token", "expired-token", "no-tenant", "viewer", "other-tenant"):
            yield Asker(f"anybody ({column})", tokens[column], expected=answers["anybody"])
    elif kind.startswith("signed-in"):
        for role in TENANT_ROLES:
            yield Asker(f"member ({role})", tokens[role], expected=answers["member"])
            yield Asker(f"program ({role})", tokens[f"program {role}"], expected=answers["program"])
    else:
        yield from _by_role(table, tokens, asked, answers)


def _by_role(table: Operations, tokens: dict[str, str], asked: str, answers: dict[str, str]) -> Iterator[Asker]:
    held = table.permissions[asked]
    for role in TENANT_ROLES:
        where = (
            {} if "other-role" in answers else {"expected": answers["other-tenant"]}
        )  # no role of a tenant is known there
        column = "role" if role in held.roles else "other-role"
        yield Asker(f"{column} ({role})", tokens[role], **(where or {"expected": answers[column]}))
        column = "program" if role in held.roles and held.programs else "other-program"
        yield Asker(f"{column} ({role})", tokens[f"program {role}"], **(where or {"expected": answers[column]}))
        if "suspended" in answers and role in held.roles:
            expected = answers["role"] if held.suspended else answers["suspended"]
            yield Asker(f"suspended ({role})", tokens[role], FROZEN, expected)
    column = "role" if PLATFORM_ROLE in held.roles else "other-role"
    yield Asker(f"{column} ({PLATFORM_ROLE})", tokens[PLATFORM_ROLE], PLATFORM, answers.get(column, "denied"))
    if "other-role" in answers:
        yield Asker(f"other-tenant ({PLATFORM_ROLE})", tokens[PLATFORM_ROLE], expected=answers["other-tenant"])


@pytest.mark.parametrize("operation", TABLE.operations)
def test_everybody_gets_the_answer_of_the_table(world: World, operation: str):
    asked = TABLE.operations[operation]

    surprises = {}
    for asker in cells(world, TABLE, operation, asked):
        came = world.answer(operation, asker)
        if came != asker.expected:
            surprises[asker.column] = f"expected {asker.expected}, got {came}"

    assert surprises == {}, f"{operation} ({asked})"


def test_the_table_holds_what_the_server_serves_and_nothing_else(world: World):
    assert dict(served_operations(world.server.server.app)) == dict(TABLE.operations)


def test_every_operation_of_the_document_is_in_the_table(world: World):
    paths = world.http.get("/openapi.json").json()["paths"]
    documented = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}

    assert documented <= set(TABLE.operations)


def test_whatever_is_replaced_or_taken_away_can_be_held_to_what_was_read(world: World):
    """If-Match on every PUT and DELETE, but for what only ever ends: there nobody's edit can be lost."""
    things = ("locks/{lock}", "agents/{agent}", "tracepoints/{tracepoint}", "trust-rules/{rule}")
    endings = {"/v1/tenants/{tenant}/" + rest for rest in (*things, "tokens/{token}", "member-tokens/{token}")}
    paths = world.http.get("/openapi.json").json()["paths"]

    without = {
        f"{method.upper()} {path}"
        for path, methods in paths.items()
        for method in {"put", "patch", "delete"} & set(methods)
        if "If-Match" not in {parameter["name"] for parameter in methods[method].get("parameters", ())}
    }

    assert without <= {f"DELETE {path}" for path in endings}


def test_the_table_is_worth_its_name(world: World):
    """How many cells there are; a table that lost its rows would pass in silence."""
    count = sum(len(list(cells(world, TABLE, operation, asked))) for operation, asked in TABLE.operations.items())

    assert count > 1000
