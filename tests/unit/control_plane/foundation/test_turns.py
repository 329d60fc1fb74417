from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text

from control_plane.foundation.database import NO_TENANT
from tests.builders.database import sqlite_database


@pytest.fixture
async def own(tmp_path):
    async with sqlite_database(tmp_path) as database:
        yield database


async def test_on_sqlite_the_first_to_ask_for_a_transaction_is_the_first_to_get_it(own) -> None:
    served: list[int] = []

    async def ask(number: int) -> None:
        async with own.transaction(NO_TENANT) as session:
            await session.execute(text("SELECT 1"))
            served.append(number)

    async with own.transaction(NO_TENANT):
        asked = [asyncio.create_task(ask(number)) for number in range(30)]
        await asyncio.sleep(0)  # each has asked, in this order
    await asyncio.gather(*asked)
    assert served == list(range(30))


async def test_a_cancelled_wait_leaves_the_queue(own) -> None:
    async def ask() -> None:
        async with own.transaction(NO_TENANT):
            pass

    async with own.transaction(NO_TENANT):
        given_up, next_one = asyncio.create_task(ask()), asyncio.create_task(ask())
        await asyncio.sleep(0)
        given_up.cancel()
    await asyncio.wait_for(next_one, 5)
    assert given_up.cancelled() or given_up.done()


async def test_a_transaction_inside_another_is_refused_instead_of_waiting_for_itself(own) -> None:
    async with own.transaction(NO_TENANT):
        with pytest.raises(RuntimeError, match="inside another"):
            async with own.transaction(NO_TENANT):
                pass
    async with own.transaction(NO_TENANT) as session:
        assert await session.scalar(text("SELECT 1")) == 1
