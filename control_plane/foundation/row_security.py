"""The tables on Base -> the statements by which PostgreSQL itself keeps tenants apart, and the server small.

Every table with a column `tenant` gets row-level security, FORCEd so that it binds the tables' owner too: a transaction
sees, and writes, the rows of the tenant it named (`Database.transaction`), and none when it named nobody. The server
works as APP_ROLE, which owns nothing: no DDL, no BYPASSRLS, and on the log only what appending needs.

What differs stands beside the table, in its `info`: PLATFORM_READABLE, APPEND_ONLY, GROW_ONLY. The statements are made
from the metadata and run after the migrations, so a new table cannot be forgotten. SQLite has none of this: there the
queries' own filter is the only layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Connection, MetaData, Table, text

APP_ROLE: Final = "probegate_app"
TENANT_SETTING: Final = "probegate.tenant"  # set for one transaction at a time
EVERY: Final = "*"  # its value in a transaction over all tenants; no tenant can have this name
PLATFORM: Final = "platform"  # the tenant that stands for the platform itself

PLATFORM_READABLE: Final[dict[str, Any]] = {"platform_readable": True}  # the platform's rows hold for every tenant
APPEND_ONLY: Final[dict[str, Any]] = {"privileges": "SELECT, INSERT"}
GROW_ONLY: Final[dict[str, Any]] = {"privileges": "SELECT, INSERT, UPDATE"}  # and triggers decide which UPDATE

TENANT_POLICY: Final = "tenant_only"
PLATFORM_POLICY: Final = "platform_readable"
_ALL: Final = "SELECT, INSERT, UPDATE, DELETE"
_NAMED: Final = f"(SELECT current_setting('{TENANT_SETTING}', true))"  # a subquery: asked once a statement, not a row
_OWN: Final = f"tenant = {_NAMED} OR {_NAMED} = '{EVERY}'"


def keyed_by_tenant(table: Table) -> bool:
    return "tenant" in table.columns


def secure(connection: Connection, metadata: MetaData) -> None:
    """Put all of it into force, whatever was there before; as the tables' owner. PostgreSQL only."""
    connection.execute(text(_ROLE))
    body = ";\n".join(_statements(metadata))
    connection.exec_driver_sql(f"DO $secure$ BEGIN\n{body};\nEND $secure$")


def is_secured(connection: Connection, metadata: MetaData) -> bool:
    """Whether every table that has to be is under FORCEd row-level security with its policies."""
    return not unsecured(connection, metadata)


def unsecured(connection: Connection, metadata: MetaData) -> tuple[str, ...]:
    """What differs between the database's own catalogue and `metadata`, a phrase each."""
    forced = set(connection.execute(text(_FORCED)).scalars())
    policies = {(row.table, row.name): row for row in connection.execute(text(_POLICIES))}
    wanted = {
        (table.name, policy)
        for table in metadata.sorted_tables
        if keyed_by_tenant(table)
        for policy in (TENANT_POLICY, *([PLATFORM_POLICY] if table.info.get("platform_readable") else []))
    }
    found = [f"{table} is not under forced row-level security" for table, _ in sorted(wanted) if table not in forced]
    found += [f"{table} lacks the policy {policy}" for table, policy in sorted(wanted - policies.keys())]
    found += [f"{table} has another policy, {policy}" for table, policy in sorted(policies.keys() - wanted)]
    return tuple(dict.fromkeys(found))


def _statements(metadata: MetaData) -> Iterator[str]:
    yield "EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC', current_schema())"
    yield f"EXECUTE format('GRANT USAGE ON SCHEMA %I TO {APP_ROLE}', current_schema())"
    yield f"IF to_regclass('alembic_version') IS NOT NULL THEN GRANT SELECT ON alembic_version TO {APP_ROLE}; END IF"
    for table in metadata.sorted_tables:
        name = f'"{table.name}"'
        yield f"REVOKE ALL ON {name} FROM PUBLIC, {APP_ROLE}"
        yield f"GRANT {table.info.get('privileges', _ALL)} ON {name} TO {APP_ROLE}"
        if not keyed_by_tenant(table):
            continue
        yield f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY"
        yield f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY"
        yield f"DROP POLICY IF EXISTS {TENANT_POLICY} ON {name}"
        yield f"CREATE POLICY {TENANT_POLICY} ON {name} USING ({_OWN}) WITH CHECK ({_OWN})"
        yield f"DROP POLICY IF EXISTS {PLATFORM_POLICY} ON {name}"
        if table.info.get("platform_readable"):
            yield f"CREATE POLICY {PLATFORM_POLICY} ON {name} FOR SELECT USING (tenant = '{PLATFORM}')"


_ROLE: Final = f"""DO $role$ BEGIN
IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{APP_ROLE}') THEN
    CREATE ROLE {APP_ROLE} NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;
END IF;
IF NOT pg_has_role(current_user, '{APP_ROLE}', 'MEMBER') THEN
    EXECUTE format('GRANT {APP_ROLE} TO %I', current_user);
END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $role$"""  # somebody else made it this moment
_FORCED: Final = """SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace
AND relrowsecurity AND relforcerowsecurity"""
_POLICIES: Final = (
    """SELECT tablename AS table, policyname AS name FROM pg_policies WHERE schemaname = current_schema()"""
)
