from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from wire.v1 import records_pb2

from control_plane.delivery import together as module
from control_plane.delivery.together import Arriving, together
from control_plane.foundation.errors import AuditUnavailable, DependencyUnavailable


def batch(tracepoint: str, sequence: int = 1, size: int = 0) -> records_pb2.Batch:
    return records_pb2.Batch(tracepoint_id=tracepoint, sequence=sequence, arrow=bytes(size))


class Stream:
    """What an agent sends; `read` counts what was taken off it."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[records_pb2.Batch | Exception | None] = asyncio.Queue()
        self.read = 0

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> records_pb2.Batch:
        came = await self.sent.get()
        if came is None:
            raise StopAsyncIteration
        if isinstance(came, Exception):
            raise came
        self.read += 1
        return came

    def send(self, *sent: records_pb2.Batch | Exception | None) -> None:
        for one in sent:
            self.sent.put_nowait(one)


async def settle() -> None:
    for _ in range(200):
        await asyncio.sleep(0)


async def test_one_that_comes_alone_waits_for_nobody() -> None:
    stream = Stream()
    async with Arriving(stream) as arriving:
        stream.send(batch("tp_1"))
        assert await asyncio.wait_for(anext(arriving), 5) == (batch("tp_1"),)


async def test_what_came_while_the_consumer_was_busy_is_one_group_in_order() -> None:
    stream = Stream()
    async with Arriving(stream) as arriving:
        stream.send(batch("tp_0"))
        await anext(arriving)
        stream.send(*(batch(f"tp_{n}") for n in range(1, 6)), None)
        await settle()
        assert [one.tracepoint_id for one in await anext(arriving)] == ["tp_1", "tp_2", "tp_3", "tp_4", "tp_5"]
        with pytest.raises(StopAsyncIteration):
            await anext(arriving)


async def test_what_is_read_ahead_is_bounded_by_number_and_by_bytes() -> None:
    stream = Stream()
    async with Arriving(stream) as arriving:
        stream.send(*(batch("tp_1", n) for n in range(1, 101)))
        await settle()
        assert stream.read == module.MOST
        assert len(await anext(arriving)) == module.MOST
    heavy = Stream()
    async with Arriving(heavy):
        heavy.send(*(batch("tp_1", n, module.MOST_BYTES // 2) for n in range(1, 10)))
        await settle()
        assert heavy.read == 2


async def test_a_broken_stream_is_told_after_what_came_before() -> None:
    stream = Stream()
    stream.send(batch("tp_1"), ConnectionError("gone"))
    async with Arriving(stream) as arriving:
        await settle()
        assert await anext(arriving) == (batch("tp_1"),)
        with pytest.raises(ConnectionError):
            await anext(arriving)


class Taking:
    """Takes all or nothing, as a transaction does."""

    def __init__(self, poison: str = "", error: Exception | None = None) -> None:
        self.poison = poison
        self.error = error or AuditUnavailable("not this one")
        self.calls: list[int] = []
        self.kept: list[tuple[str, int]] = []

    async def __call__(self, items: Sequence[records_pb2.Batch]) -> list[str]:
        self.calls.append(len(items))
        if any(item.tracepoint_id == self.poison for item in items):
            raise self.error
        self.kept += [(item.tracepoint_id, item.sequence) for item in items]
        return ["" for _ in items]


async def test_a_group_is_taken_at_once() -> None:
    taking = Taking()
    taken = [item.tracepoint_id async for item, _ in together([batch(f"tp_{n}") for n in range(20)], taking)]
    assert (taking.calls, len(taken)) == ([20], 20)


async def test_a_bad_one_neither_loses_nor_blocks_the_others_and_its_later_ones_do_not_overtake_it() -> None:
    taking = Taking(poison="tp_2")
    group = [batch("tp_1"), batch("tp_2", 1), batch("tp_3"), batch("tp_2", 2), batch("tp_4")]
    taken = []
    with pytest.raises(AuditUnavailable):
        async for item, _ in together(group, taking):
            taken.append(item.tracepoint_id)
    assert taken == ["tp_1", "tp_3", "tp_4"]
    assert taking.kept == [("tp_1", 1), ("tp_3", 1), ("tp_4", 1)]
    assert taking.calls == [5, 1, 1, 1, 1]  # the second of tp_2 was not tried


async def test_when_the_database_is_away_nothing_more_is_tried() -> None:
    taking = Taking(poison="tp_1", error=DependencyUnavailable("away"))
    with pytest.raises(DependencyUnavailable):
        async for _ in together([batch("tp_1"), batch("tp_2")], taking):
            pass
    assert taking.calls == [2]
