"""What the migrations build is what the tables say, on both databases; a server finds out which it stands on."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from control_plane.bootstrap.schema import METADATA, WrongSchema, make_ready, upgrade
from control_plane.foundation.database import Database
from control_plane.migrations import HEAD
from tests.builders.database import postgresql_server


def difference(connection):
    return compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), METADATA)


async def triggers(database):
    """The tables that refuse changes, by the database's own word."""
    wanted = (
        "SELECT tbl_name FROM sqlite_master WHERE type = 'trigger'"
        if database.is_sqlite
        else "SELECT tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal"
    )
    async with database.engine.connect() as connection:
        return sorted((await connection.execute(text(wanted))).scalars())


@pytest.fixture
async def embedded(tmp_path):
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/probegate.db")
    yield database
    await database.close()


@pytest.fixture
async def postgresql():
    with postgresql_server() as url:
        database = Database(url)
        yield database
        await database.close()


async def test_migrations_build_the_embedded_tables(embedded, tmp_path):
    await upgrade(embedded)
    made = Database(f"sqlite+aiosqlite:///{tmp_path}/made.db")
    await made.create_all()

    async with embedded.engine.connect() as connection:
        assert await connection.run_sync(difference) == [], "write the next one: python -m control_plane.migrations '…'"
    assert await triggers(embedded) == await triggers(made)
    await made.close()


@pytest.mark.peer
async def test_migrations_build_the_tables_of_postgresql(postgresql):
    await upgrade(postgresql)

    async with postgresql.engine.connect() as connection:
        assert await connection.run_sync(difference) == []
    assert {"audit_entries", "audit_nodes"} <= set(await triggers(postgresql))


@pytest.mark.peer
async def test_a_server_on_an_empty_postgresql_says_what_to_run(postgresql):
    with pytest.raises(WrongSchema, match="probegate-server migrate"):
        await make_ready(postgresql)
    await upgrade(postgresql)

    await make_ready(postgresql)


async def test_a_new_embedded_database_is_made_at_the_newest_version(embedded):
    await make_ready(embedded)
    await make_ready(embedded)

    async with embedded.engine.connect() as connection:
        assert (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar() == HEAD
        assert await connection.run_sync(lambda sync: inspect(sync).has_table("tracepoints"))


def test_the_version_that_is_asked_for_is_the_newest_file():
    versions = Path("control_plane/migrations/versions").glob("[0-9]*.py")

    assert max(path.name.split("_")[0] for path in versions) == HEAD
