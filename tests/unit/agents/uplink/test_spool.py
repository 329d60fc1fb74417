"""The spool keeps order and numbers, stays within its bound, and counts what it drops."""

from __future__ import annotations

import asyncio
import itertools

from wire.v1 import records_pb2

from agents.uplink.sequences import BLOCK, Sequences
from agents.uplink.spool import PER_BATCH, WINDOW, Spool


def made(max_bytes: int = 1 << 20) -> Spool:
    numbers = itertools.count(1)
    return Spool(lambda _: next(numbers), max_bytes)


def batch(size: int = 100, rows: int = 5, delivered: int = 5, *, final: bool = False) -> records_pb2.Batch:
    accounting = records_pb2.Accounting(hits=delivered, delivered=delivered)
    return records_pb2.Batch(tracepoint_id="tp", arrow=b"x" * size, rows=rows, accounting=accounting, final=final)


def ack(sequence: int, refusal: str = "") -> records_pb2.BatchAck:
    return records_pb2.BatchAck(tracepoint_id="tp", sequence=sequence, refusal=refusal)


async def test_what_does_not_fit_is_dropped_and_counted_in_what_follows():
    spool = made(2 * (100 + PER_BATCH))
    for delivered in (5, 10, 15):
        spool.add(batch(delivered=delivered))
    await spool.next()
    spool.acknowledge(ack(1))
    spool.add(batch(delivered=20))
    await spool.next()
    third = await spool.next()
    assert third.sequence == 3
    assert (third.accounting.delivered, dict(third.accounting.lost)) == (15, {"spool_full": 5})
    assert third.accounting.hits == third.accounting.delivered + sum(third.accounting.lost.values())


async def test_the_last_batch_always_fits_without_its_rows():
    spool = made(100 + PER_BATCH)
    spool.add(batch())
    spool.add(batch(delivered=10, final=True))
    await spool.next()
    last = await spool.next()
    assert (last.final, last.rows, last.arrow) == (True, 0, b"")
    assert (last.accounting.delivered, dict(last.accounting.lost)) == (5, {"spool_full": 5})


async def test_no_more_than_the_window_is_on_its_way():
    spool = made()
    for _ in range(WINDOW + 1):
        spool.add(batch())
    for _ in range(WINDOW):
        await spool.next()
    waiting = asyncio.create_task(spool.next())
    await asyncio.sleep(0)
    assert not waiting.done()
    spool.acknowledge(ack(1))
    assert (await waiting).sequence == WINDOW + 1


async def test_after_a_break_everything_unacknowledged_comes_again_in_order():
    spool = made()
    for _ in range(4):
        spool.add(batch())
    for _ in range(3):
        await spool.next()
    spool.acknowledge(ack(2))
    spool.rewind()
    assert [(await spool.next()).sequence for _ in range(3)] == [1, 3, 4]


async def test_an_acknowledgement_of_something_else_changes_nothing():
    spool = made()
    spool.add(batch())
    await spool.next()
    spool.acknowledge(ack(7))
    spool.rewind()
    assert (await spool.next()).sequence == 1


def test_numbers_go_on_after_a_restart_and_never_back(tmp_path):
    path = tmp_path / "sequences.json"
    first = Sequences(path)
    assert [first("a") for _ in range(3)] == [1, 2, 3]
    assert first("b") == 1
    again = Sequences(path)
    assert again("a") == BLOCK + 1
    assert [again("a") for _ in range(BLOCK)][-1] == 2 * BLOCK + 1
    assert Sequences(path)("a") > 2 * BLOCK + 1


def test_damaged_numbers_do_not_stop_the_agent(tmp_path):
    (tmp_path / "sequences.json").write_text("[")
    assert Sequences(tmp_path / "sequences.json")("a") == 1
