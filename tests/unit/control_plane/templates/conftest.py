from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from control_plane.foundation.clock import ManualClock
from control_plane.foundation.database import Database
from control_plane.templates.reading import TemplateReading
from control_plane.templates.service import TemplateService
from tests.builders.audit_trail import BreakableTrail
from tests.builders.database import postgresql_database, postgresql_server, sqlite_database


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    with postgresql_server() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    if request.param == "sqlite":
        async with sqlite_database(tmp_path) as opened:
            yield opened
        return
    async with postgresql_database(request.getfixturevalue("postgresql")) as opened:
        yield opened
        async with opened.engine.begin() as connection:
            await connection.execute(text("DROP SCHEMA public CASCADE"))
            await connection.execute(text("CREATE SCHEMA public"))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 11, 24, 12, tzinfo=UTC))


@pytest.fixture
def trail(database: Database, clock: ManualClock) -> BreakableTrail:
    return BreakableTrail(database, clock)


@pytest.fixture
def service(database: Database, trail: BreakableTrail, clock: ManualClock) -> TemplateService:
    return TemplateService(database, trail, clock)


@pytest.fixture
def reading(database: Database) -> TemplateReading:
    return TemplateReading(database)
