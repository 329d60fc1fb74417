from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import BaseModel

from control_plane.foundation.clock import ManualClock
from control_plane.foundation.errors import Conflict, Invalid
from control_plane.foundation.idempotency import KEPT, STUCK, Idempotency


class Question(BaseModel):
    text: str = "a"


class Answer(BaseModel):
    number: int


@pytest.fixture
async def asked(database):
    clock = ManualClock(datetime(2026, 11, 24, 12, tzinfo=UTC))
    once, done = Idempotency(database, clock), []

    async def ask(key="key-0001", text="a", who="alice", fails=None):
        async def work():
            if fails is not None:
                raise fails
            done.append(text)
            return Answer(number=len(done))

        return (await once.once("acme", who, key, Question(text=text), Answer, work)).number

    ask.clock, ask.once = clock, once
    yield ask


async def test_a_retry_gets_the_first_answer_and_does_nothing(asked) -> None:
    assert [await asked(), await asked(), await asked("key-0002"), await asked(who="bob")] == [1, 1, 2, 3]


async def test_without_a_key_each_is_done(asked) -> None:
    assert [await asked(None), await asked(None)] == [1, 2]


async def test_another_request_under_a_used_key_is_refused(asked) -> None:
    await asked()
    with pytest.raises(Invalid) as refused:
        await asked(text="b")
    assert refused.value.code == "idempotency_key_reused"


async def test_what_failed_may_be_tried_again(asked) -> None:
    with pytest.raises(Conflict):
        await asked(fails=Conflict("not now"))
    assert await asked() == 1


async def test_a_key_is_good_for_a_day(asked) -> None:
    assert await asked() == 1
    asked.clock.advance(KEPT + timedelta(seconds=1))
    assert await asked() == 2


async def test_the_same_request_at_work_is_a_conflict_until_it_must_have_died(asked) -> None:
    async def while_at_work():
        with pytest.raises(Conflict):
            await asked()
        asked.clock.advance(STUCK)
        return Answer(number=await asked())

    answer = await asked.once.once("acme", "alice", "key-0001", Question(), Answer, while_at_work)
    assert (answer.number, [await asked()][0]) == (1, 1)


@pytest.mark.parametrize("key", ["short", "with space in it", "ü" * 10])
async def test_a_key_is_visible_ascii(asked, key) -> None:
    with pytest.raises(Invalid):
        await asked(key)
