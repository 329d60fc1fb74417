"""PostgreSQL itself keeps tenants apart: raw statements without any filter, for every table there is."""

from __future__ import annotations

import datetime as dt

import pytest
from sqlalchemy import JSON, Boolean, Integer, LargeBinary, delete, insert, select, text
from sqlalchemy.exc import DBAPIError

from control_plane.bootstrap.schema import METADATA
from control_plane.foundation.database import NO_TENANT, Database, EveryTenant, UtcDateTime, within
from control_plane.foundation.row_security import APP_ROLE, keyed_by_tenant, secure, unsecured
from tests.builders.database import everything_dropped, postgresql_database

pytestmark = pytest.mark.peer
TABLES = [table for table in METADATA.sorted_tables if keyed_by_tenant(table)]
EVERY = EveryTenant("a test looks")
ALL = ["acme", "globex", "platform"]
A_DAY = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
OF_ANY = {UtcDateTime: A_DAY, JSON: {}, Boolean: False, LargeBinary: b"x", Integer: 1}


def row_of(table, tenant):
    """A row of the table that a tenant could have; all keys are the same in every tenant, but for what is unique everywhere."""
    everywhere = {
        column for index in table.indexes if index.unique and "tenant" not in index.columns for column in index.columns
    }
    row = {}
    for column in table.columns:
        value = next((value for kind, value in OF_ANY.items() if isinstance(column.type, kind)), "x")
        row[column.name] = f"{tenant}-x" if column.unique or column in everywhere else value
    return row | {"tenant": tenant}


@pytest.fixture
async def filled(postgresql):
    """A row of acme, of globex and of the platform in every table."""
    async with postgresql_database(postgresql) as database:
        async with database.owner() as connection:
            await connection.exec_driver_sql("SET LOCAL session_replication_role = replica")  # no foreign keys here
            for table in TABLES:
                await connection.execute(insert(table), [row_of(table, tenant) for tenant in ALL])
        yield database


async def seen(database: Database, table, tenant) -> list[str]:
    async with database.transaction(tenant) as session:
        return sorted((await session.execute(select(table.c.tenant))).scalars())


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
async def test_a_statement_without_a_filter_reaches_its_own_tenant_only(filled, table):
    shared = ["platform"] if table.info.get("platform_readable") else []
    assert await seen(filled, table, "acme") == ["acme", *shared]
    assert await seen(filled, table, "globex") == ["globex", *shared]
    assert await seen(filled, table, NO_TENANT) == shared
    assert await seen(filled, table, "*") == shared
    assert await seen(filled, table, EVERY) == ALL


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
async def test_nobody_writes_a_row_of_another_tenant(filled, table):
    async with filled.owner() as connection:
        await connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        await connection.execute(delete(table).where(table.c.tenant == "acme"))
    with pytest.raises(DBAPIError, match="row-level security"):
        async with filled.transaction("globex") as session:
            await session.execute(insert(table).values(row_of(table, "acme")))


async def test_a_row_cannot_be_given_to_another_tenant(filled):
    with pytest.raises(DBAPIError, match="row-level security"):
        async with filled.transaction("acme") as session:
            await session.execute(text("UPDATE members SET tenant = 'globex', subject = 'y'"))


async def test_a_deletion_without_a_filter_takes_its_own_rows_only(filled):
    members = METADATA.tables["members"]
    async with filled.transaction("acme") as session:
        assert (await session.execute(delete(members))).rowcount == 1
    assert await seen(filled, members, EVERY) == ["globex", "platform"]


async def test_the_platforms_locks_can_be_read_and_not_touched_by_a_tenant(filled):
    locks = METADATA.tables["locks"]
    async with filled.transaction("acme") as session:
        assert (await session.execute(delete(locks))).rowcount == 1
    assert await seen(filled, locks, EVERY) == ["globex", "platform"]


async def test_the_server_owns_nothing_and_has_no_powers(filled):
    async with filled.transaction(EVERY) as session:
        assert (await session.execute(text("SELECT current_user"))).scalar() == APP_ROLE
        powers = text(
            "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = current_user"
        )
        assert tuple((await session.execute(powers)).one()) == (False, False, False, False)
        owned = text("SELECT count(*) FROM pg_class WHERE relowner = current_user::regrole")
        assert (await session.execute(owned)).scalar() == 0


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (a int)",
        "ALTER TABLE members DISABLE ROW LEVEL SECURITY",
        "DROP POLICY tenant_only ON members",
        "TRUNCATE audit_entries",
        "DELETE FROM audit_entries",
        "UPDATE audit_entries SET actor = 'x'",
        "ALTER TABLE audit_entries DISABLE TRIGGER ALL",
        "UPDATE alembic_version SET version_num = '0'",
    ],
)
async def test_the_server_cannot_take_the_walls_down(filled, statement):
    async with filled.owner() as connection:
        await connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS alembic_version (version_num text)")
        await connection.run_sync(secure, METADATA)
    with pytest.raises(DBAPIError, match=r"must be owner|permission denied"):
        async with filled.transaction(EVERY) as session:
            await session.execute(text(statement))


async def test_a_tenant_named_in_one_transaction_is_forgotten_in_the_next(filled):
    members = METADATA.tables["members"]
    async with filled.transaction("acme") as session:
        await session.execute(select(members))
    async with filled.engine.connect() as connection:  # one that comes back from the pool, and names nobody
        assert (await connection.execute(select(members))).all() == []


async def test_a_part_within_another_tenant_is_undone_with_the_rest(filled):
    members = METADATA.tables["members"]
    with pytest.raises(ZeroDivisionError):
        async with filled.transaction("acme") as session:
            async with within(session, "globex"):
                await session.execute(delete(members))
            assert list((await session.execute(select(members.c.tenant))).scalars()) == ["acme"]
            raise ZeroDivisionError
    assert await seen(filled, members, EVERY) == ALL


async def test_switched_off_by_hand_it_hides_nothing_and_is_noticed(filled):
    """What the tests above would show without it: so they are about row-level security, and not about luck."""
    async with filled.owner() as connection:
        await connection.exec_driver_sql("ALTER TABLE members DISABLE ROW LEVEL SECURITY")
        assert await connection.run_sync(unsecured, METADATA) == ("members is not under forced row-level security",)
    assert await seen(filled, METADATA.tables["members"], "acme") == ALL
    await everything_dropped(filled)
