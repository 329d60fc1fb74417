"""Real databases for tests: an SQLite file, or a private PostgreSQL that ends with its test."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from control_plane.foundation.database import Base, Database

_files: dict[frozenset[str], bytes] = {}  # by tables: an SQLite database with these, empty
_made: dict[str, set[str]] = {}  # by URL: the tables that are there
# No test pulls the plug of the machine, and none copies a server to another. One kills it: commits stay synchronous.
_FAST = "-c fsync=off -c full_page_writes=off -c wal_level=minimal -c max_wal_senders=0"
_POSTGRESQL = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))


@asynccontextmanager
async def sqlite_database(directory: Path) -> AsyncIterator[Database]:
    """A fresh SQLite database with every table that the test has imported; one that is there is opened again."""
    file = directory / "probegate.db"
    tables, fresh = frozenset(Base.metadata.tables), not file.exists()
    if copied := fresh and tables in _files:
        file.write_bytes(_files[tables])
    database = Database(f"sqlite+aiosqlite:///{file}")
    event.listen(database.engine.sync_engine, "connect", _unsynchronised)
    try:
        if not copied:
            await database.create_all()
        if fresh and not copied:
            await database.close()  # all of it is in the one file now
            _files[tables] = file.read_bytes()
        yield database
    finally:
        await database.close()


def _unsynchronised(connection: Any, _record: object) -> None:
    """As `_FAST`."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=OFF")
    cursor.close()


@asynccontextmanager
async def postgresql_database(url: str) -> AsyncIterator[Database]:
    """All tables, empty, on a server that other tests use before and after; the same tables serve them all."""
    database = Database(url)
    try:
        if _made.get(url) != set(Base.metadata.tables):
            await database.create_all()
            _made[url] = set(Base.metadata.tables)
        yield database
        if url in _made:
            await _emptied(database)
    finally:
        await database.close()


async def _emptied(database: Database) -> None:
    tables = [table.name for table in reversed(Base.metadata.sorted_tables) if table.name in _made[database.url]]
    # Without the triggers that keep the log append-only: the server is the tests' own.
    body = "; ".join(["SET LOCAL session_replication_role = replica", *(f'DELETE FROM "{name}"' for name in tables)])
    try:
        async with database.owner() as connection:
            await connection.exec_driver_sql(f"DO $$ BEGIN {body}; END $$")
    except DBAPIError:  # a test took a table away
        await everything_dropped(database)


async def everything_dropped(database: Database) -> None:
    """For a test that changed the tables themselves: the next one gets new ones."""
    _made.pop(database.url, None)
    async with database.owner() as connection:
        for statement in ("DROP SCHEMA public CASCADE", "CREATE SCHEMA public"):
            await connection.exec_driver_sql(statement)


@dataclass
class PostgresqlServer:
    """A private PostgreSQL on a Unix socket, which a test may stop and start again."""

    url: str  # for SQLAlchemy
    _control: list[Path | str]
    _options: str
    _quiet: dict[str, Any]
    _running: bool = False

    def start(self) -> None:
        log = self._quiet["cwd"] / "log"
        subprocess.run([*self._control, "-o", self._options, "-l", log, "start"], check=True, **self._quiet)
        self._running = True

    def stop(self) -> None:
        """As when the machine is gone: no connection is asked."""
        if self._running:
            subprocess.run([*self._control, "-m", "immediate", "stop"], check=True, **self._quiet)
        self._running = False


@contextmanager
def postgresql_server() -> Iterator[str]:
    """The URL of a private PostgreSQL. Skips where Debian's `postgresql` is missing."""
    with stoppable_postgresql() as server:
        yield server.url


@contextmanager
def stoppable_postgresql() -> Iterator[PostgresqlServer]:
    if not _POSTGRESQL:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    binaries = _POSTGRESQL[-1].parent
    directory = Path(tempfile.mkdtemp(prefix="pg-pg-"))  # short: a socket's path has at most 107 bytes
    user = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        account = pwd.getpwnam("postgres")
        os.chown(directory, account.pw_uid, account.pw_gid)
        user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    cluster = directory / "cluster"
    initdb = [binaries / "initdb", "-D", cluster, "-U", "probegate", "-A", "trust", "-E", "UTF8", "--no-sync"]
    quiet = {"stdout": subprocess.DEVNULL, "cwd": directory, **user}
    server = PostgresqlServer(
        url=f"postgresql+asyncpg://probegate@/postgres?host={directory}",
        _control=[binaries / "pg_ctl", "-D", cluster, "-w", "-t", "60"],
        _options=f"-k {directory} -c listen_addresses='' {_FAST}",
        _quiet=quiet,
    )
    try:
        subprocess.run(initdb, check=True, **quiet)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
