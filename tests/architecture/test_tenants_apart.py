"""Tenants are kept apart by two layers, and neither can be forgotten: who may look at all tenants is listed here."""

from __future__ import annotations

import ast

import pytest
from sources import calls, modules

from control_plane.bootstrap.schema import METADATA, upgrade
from control_plane.foundation.database import Database
from control_plane.foundation.row_security import keyed_by_tenant, unsecured
from tests.builders.database import postgresql_server

# Each: why no tenant can be named there. None of them is reached by a request that has one.
LOOK_AT_ALL = {
    "control_plane/audit/service.py": "the loop that signs what grew",
    "control_plane/delivery/enrolment.py": "a join token's secret says whose it is",
    "control_plane/delivery/identification.py": "a certificate names the agent, its row the tenant",
    "control_plane/foundation/database.py": "where it is defined",
    "control_plane/policy/membership.py": "where one person is a member: asked of themselves",
    "control_plane/policy/proposals.py": "the loop that closes proposals nobody decided",
    "control_plane/policy/tenants.py": "the platform's administrators see which there are; the loop that ends deletions",
    "control_plane/templates/service.py": "the loop that closes reviews nobody finished",
    "control_plane/tracepoints/enforcement.py": "the loop that takes back what is locked",
    "control_plane/tracepoints/rollouts.py": "the loop that brings roll-outs to their next stage",
    "control_plane/tracepoints/reminders.py": "the loop that tells which broken glasses nobody has looked at",
    "control_plane/tracepoints/starting.py": "the loop that starts what is due",
    "control_plane/tracepoints/upkeep.py": "the loops that end what is over, and fill an empty Redis",
}
STEP_INTO = {
    "control_plane/foundation/database.py": "where it is defined",
    "control_plane/policy/membership.py": "a tenant's creation stands in the platform's log too",
    "control_plane/policy/tenants.py": "and so does the rest of its life",
}
SPEAK_TO_THE_ENGINE = {
    "control_plane/foundation/database.py": "where it is made",
}
# Tables of nobody's tenant: who somebody is comes before where they may look.
WITHOUT_TENANT = {
    "issuer_users",
    "issuer_codes",
    "issuer_devices",
    "issuer_refresh_tokens",
    "logout_tokens",
    "sessions",
}


def calling(name: str) -> set[str]:
    """The modules of the control plane in which `name` is called."""
    return {path for path, tree in modules("control_plane").items() if name in set(calls(tree))}


def test_only_the_listed_modules_look_at_every_tenant():
    assert calling("EveryTenant") <= LOOK_AT_ALL.keys(), "name the tenant, or list the module with its reason"


def test_only_the_listed_modules_step_into_another_tenant():
    assert calling("within") <= STEP_INTO.keys()


def test_nobody_goes_round_the_transaction():
    users = {
        path
        for path, tree in modules("control_plane").items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "engine"
    }
    assert users <= SPEAK_TO_THE_ENGINE.keys()


def test_only_the_shell_and_the_schema_use_the_owners_powers():
    assert calling("owner") <= {
        "control_plane/bootstrap/schema.py",
        "control_plane/foundation/database.py",
        "control_plane/migrations/__main__.py",
    }


def test_a_table_belongs_to_a_tenant_or_is_listed():
    assert {table.name for table in METADATA.sorted_tables if not keyed_by_tenant(table)} <= WITHOUT_TENANT


def test_every_key_begins_with_the_tenant():
    for table in METADATA.sorted_tables:
        if keyed_by_tenant(table):
            assert next(iter(table.primary_key.columns)).name == "tenant", table.name
            for key in table.foreign_keys:
                assert "tenant" in {column.name for column in key.constraint.columns}, table.name


@pytest.mark.peer
async def test_after_the_migrations_every_table_of_a_tenant_is_under_forced_row_security():
    with postgresql_server() as url:
        database = Database(url)
        await upgrade(database)
        async with database.owner() as connection:
            assert await connection.run_sync(unsecured, METADATA) == ()
        await database.close()
