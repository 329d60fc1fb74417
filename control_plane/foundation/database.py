"""The database: one engine, one declarative base, one transaction a request, which names its tenant.

Every table's primary key begins with the tenant. Steps define their tables in their own `tables.py` on `Base`;
Alembic (`control_plane/migrations`) creates them. Times are stored in UTC by `UtcDateTime`.

On PostgreSQL the named tenant is all that a transaction sees (`row_security`), whatever its queries say. What no tenant
can be named for says so: EveryTenant, with its reason, or NO_TENANT for what comes before any tenant.

SQLite has one writer at a time. Whoever finds it busy there sleeps and tries again, so that who comes often starves who
waits; transactions of this process therefore queue here, and the first to ask is the first to run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import DateTime, NullPool, event, text
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

from control_plane.foundation.identifiers import TenantId
from control_plane.foundation.row_security import APP_ROLE, EVERY, TENANT_SETTING, secure

DATABASE_UNREACHABLE: Final = (OperationalError, InterfaceError)  # what `http` answers with 503
NO_TENANT: Final = TenantId("")  # for tables that have none: sees no row of any tenant
_REACH: Final = "reach"  # what the session's transaction may see, in its `info`
_NAME_TENANT: Final = text("SELECT set_config(:setting, :tenant, true)")  # for this transaction: SET LOCAL


@dataclass(frozen=True)
class EveryTenant:
    """The rows of all tenants: for upkeep, and for finding whose something is. Never where a request has its tenant.

    A test lists the modules that may (tests/architecture/test_tenants_apart.py).
    """

    reason: str


class Base(DeclarativeBase):
    pass


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC; naive values are refused, SQLite's loss of the zone is repaired."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 -- SQLAlchemy's signature
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a zone cannot be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002 -- SQLAlchemy's signature
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class _Turn:
    """Whose transaction it is on SQLite, in one event loop."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.holder: asyncio.Task[Any] | None = None


class Database:
    """Opens transactions on `sqlite+aiosqlite:///…` or `postgresql+asyncpg://…`.

    PostgreSQL is spoken to as APP_ROLE, whoever the URL names: that user owns the tables, or is APP_ROLE itself.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        as_app = {} if self.is_sqlite else {"server_settings": {"role": APP_ROLE}}
        self.engine = create_async_engine(url, pool_pre_ping=True, connect_args=as_app)
        if self.is_sqlite:
            event.listen(self.engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(self.engine.sync_engine, "begin", _begin_immediate)
        else:
            event.listen(self.engine.sync_engine, "do_connect", _connected_or_unreachable)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, _Turn] = WeakKeyDictionary()

    @asynccontextmanager
    async def transaction(self, tenant: TenantId | EveryTenant) -> AsyncIterator[AsyncSession]:
        """One transaction of one tenant: committed when the block ends, rolled back when it raises."""
        async with self._turn(), self._sessions() as session, session.begin():
            try:
                await _name(session, tenant)
            except OSError as error:  # nobody listens: the driver says so in its own way
                raise OperationalError("connecting", {}, error) from error
            yield session

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait behind those who asked before. PostgreSQL writes side by side and orders by its row locks."""
        if not self.is_sqlite:
            yield
            return
        turn, task = self._turns.setdefault(asyncio.get_running_loop(), _Turn()), asyncio.current_task()
        if turn.holder is not None and turn.holder is task:
            raise RuntimeError("a transaction was opened inside another one: it would wait for itself; use `within`")
        async with turn.lock:
            turn.holder = task
            try:
                yield
            finally:
                turn.holder = None

    @asynccontextmanager
    async def owner(self) -> AsyncIterator[AsyncConnection]:
        """One transaction over every tenant with the powers of the URL's own user: for DDL, at the server's shell."""
        if self.is_sqlite:
            async with self.engine.begin() as connection:
                yield connection
            return
        engine = create_async_engine(self.url, poolclass=NullPool)
        try:
            async with engine.begin() as connection:
                await connection.execute(_NAME_TENANT, {"setting": TENANT_SETTING, "tenant": EVERY})
                yield connection
        finally:
            await engine.dispose()

    async def create_all(self) -> None:
        """Create the tables without migrations; for tests and the embedded database's first start."""
        async with self.owner() as connection:
            await connection.run_sync(Base.metadata.create_all)
            if not self.is_sqlite:
                await connection.run_sync(secure, Base.metadata)

    async def close(self) -> None:
        await self.engine.dispose()


@asynccontextmanager
async def within(session: AsyncSession, tenant: TenantId) -> AsyncIterator[None]:
    """A part of a transaction that is another tenant's: both parts are done, or neither. Then it is the first one's again."""
    await session.flush()
    before = session.info[_REACH]
    await _name(session, tenant)
    yield
    await session.flush()
    await _name(session, before)


async def _name(session: AsyncSession, tenant: TenantId | EveryTenant) -> None:
    session.info[_REACH] = tenant
    if session.get_bind().dialect.name == "sqlite":
        return
    named = tenant if isinstance(tenant, str) else EVERY
    if named == EVERY and isinstance(tenant, str):
        named = NO_TENANT  # a name that somebody asked for, which no tenant has
    await session.execute(_NAME_TENANT, {"setting": TENANT_SETTING, "tenant": named})


def _connected_or_unreachable(dialect: Dialect, _record: object, arguments: Any, options: Any) -> Any:
    """When nobody listens, asyncpg lets the system's own error through, and SQLAlchemy does not know it."""
    try:
        return dialect.connect(*arguments, **options)
    except OSError as error:
        raise OperationalError("connect", None, error) from error


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy's own BEGIN, below, instead of the driver's late one
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "foreign_keys=ON", "busy_timeout=10000", "synchronous=FULL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")  # writers queue at the start instead of failing at the commit
