"""A route that nobody decided about stops the start-up, and the text is the line to write."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fastapi import APIRouter

from control_plane.foundation.provision import Provision
from control_plane.http.app import create_app
from control_plane.http.asking_check import StartupError
from control_plane.http.operations import Operations, check_operations, read_operations
from control_plane.policy.asking import Granted, SignedIn, authenticated, requires
from control_plane.policy.model import Permission

TABLE = read_operations()


def app(router: APIRouter | None = None):
    return create_app(Provision(), [router or APIRouter()], https=False)


def with_two_routes() -> APIRouter:
    router = APIRouter()

    @router.put("/v1/tenants/{tenant}/things/{thing}")
    @requires(Permission.TEMPLATE_SUBMIT, name="thing")
    async def put(grant: Granted) -> None: ...

    @router.get("/v1/things")
    @authenticated("a test")
    async def show(principal: SignedIn) -> None: ...

    return router


def refusal(router: APIRouter | None, table: Operations) -> str:
    with pytest.raises(StartupError) as refused:
        check_operations(app(router), table)
    return str(refused.value)


def test_what_stands_in_the_table_starts():
    check_operations(app(), TABLE)


def test_a_missing_line_is_told_as_it_is_to_be_written():
    told = refusal(with_two_routes(), TABLE)

    assert "\n  PUT /v1/tenants/{tenant}/things/{thing}: template:submit" in told
    assert "\n  GET /v1/things: signed-in" in told
    assert "healthz" not in told


def test_a_route_that_asks_less_than_the_table_says_stops_the_start():
    lines = dict(TABLE.operations) | {
        "PUT /v1/tenants/{tenant}/things/{thing}": "policy:write",
        "GET /v1/things": "signed-in",
    }

    told = refusal(with_two_routes(), replace(TABLE, operations=lines))

    assert "things/{thing}: template:submit    # stands there as policy:write" in told


def test_a_permission_without_its_roles_stops_the_start():
    lines = dict(TABLE.operations) | {
        "PUT /v1/tenants/{tenant}/things/{thing}": "template:submit",
        "GET /v1/things": "signed-in",
    }
    permissions = {name: held for name, held in TABLE.permissions.items() if name != "template:submit"}

    assert "template:submit: {roles:" in refusal(
        with_two_routes(), replace(TABLE, operations=lines, permissions=permissions)
    )


def test_an_rpc_without_a_row_stops_the_start():
    rpcs = {name: row for name, row in TABLE.rpcs.items() if name != "Upload"}

    assert "Upload: {...}    # under `rpcs`" in refusal(None, replace(TABLE, rpcs=rpcs))


def test_operation_ids_follow_from_method_and_address():
    operations = {
        operation["operationId"]: f"{method.upper()} {path}"
        for path, methods in app(with_two_routes()).openapi()["paths"].items()
        for method, operation in methods.items()
    }

    assert operations == {
        "get_healthz": "GET /healthz",
        "get_readyz": "GET /readyz",
        "put_v1_tenants_by_tenant_things_by_thing": "PUT /v1/tenants/{tenant}/things/{thing}",
        "get_v1_things": "GET /v1/things",
    }
