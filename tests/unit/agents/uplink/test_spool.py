"""The spool keeps order and numbers, stays within its bound, and counts what it drops."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

import pytest
from wire.v1 import records_pb2

from agents.uplink.sequences import BLOCK, Sequences
from agents.uplink.spool import PER_BATCH, WINDOW, Spool
from agents.uplink.spool_files import SpoolFiles


@pytest.fixture
def made(tmp_path) -> Callable[..., Spool]:
    """Each call is a new process on the same state directory."""
    numbers = itertools.count(1)

    def start(max_bytes: int = 1 << 20, agent_id: str = "ag_1") -> Spool:
        return Spool(lambda _: next(numbers), SpoolFiles(tmp_path / "spool", agent_id), max_bytes)

    return start


def files(tmp_path) -> list[bytes]:
    return [file.read_bytes() for file in sorted((tmp_path / "spool").rglob("*.batch"))]


def batch(size: int = 100, rows: int = 5, delivered: int = 5, *, final: bool = False) -> records_pb2.Batch:
    accounting = records_pb2.Accounting(hits=delivered, delivered=delivered)
    return records_pb2.Batch(tracepoint_id="tp", arrow=b"x" * size, rows=rows, accounting=accounting, final=final)


def ack(sequence: int, refusal: str = "") -> records_pb2.BatchAck:
    return records_pb2.BatchAck(tracepoint_id="tp", sequence=sequence, refusal=refusal)


async def test_what_does_not_fit_is_dropped_and_counted_in_what_follows(made):
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


async def test_the_last_batch_always_fits_without_its_rows(made):
    spool = made(100 + PER_BATCH)
    spool.add(batch())
    spool.add(batch(delivered=10, final=True))
    await spool.next()
    last = await spool.next()
    assert (last.final, last.rows, last.arrow) == (True, 0, b"")
    assert (last.accounting.delivered, dict(last.accounting.lost)) == (5, {"spool_full": 5})


async def test_no_more_than_the_window_is_on_its_way(made):
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


async def test_after_a_break_everything_unacknowledged_comes_again_in_order(made):
    spool = made()
    for _ in range(4):
        spool.add(batch())
    for _ in range(3):
        await spool.next()
    spool.acknowledge(ack(2))
    spool.rewind()
    assert [(await spool.next()).sequence for _ in range(3)] == [1, 3, 4]


async def test_an_acknowledgement_of_something_else_changes_nothing(made):
    spool = made()
    spool.add(batch())
    await spool.next()
    spool.acknowledge(ack(7))
    spool.rewind()
    assert (await spool.next()).sequence == 1


# --- over outages and restarts ---------------------------------------------------------------------------------------


async def test_while_nobody_answers_batches_are_on_disk_and_go_on_with_their_numbers_after_a_restart(made, tmp_path):
    spool = made()
    for delivered in (5, 10, 15):
        spool.add(batch(delivered=delivered))
    assert len(files(tmp_path)) == 3
    again = made()
    found = [await again.next() for _ in range(3)]
    assert [(one.sequence, one.accounting.delivered) for one in found] == [(1, 5), (2, 10), (3, 15)]
    again.add(batch(delivered=20))
    assert (await again.next()).sequence == 4
    for sequence in range(1, 5):
        again.acknowledge(ack(sequence))
    await again.emptied()
    assert files(tmp_path) == []


async def test_while_it_is_answered_nothing_is_written_until_it_stops(made, tmp_path):
    spool = made()
    spool.add(batch())
    await spool.next()
    spool.acknowledge(ack(1))
    spool.add(batch())
    spool.add(batch())
    await spool.next()
    assert files(tmp_path) == []
    spool.keep()  # one on its way, one waiting
    again = made()
    assert [(await again.next()).sequence for _ in range(2)] == [2, 3]


async def test_what_was_kept_is_bounded_over_restarts(made, tmp_path):
    size = 100 + PER_BATCH
    spool = made(2 * size)
    for delivered in (5, 10, 15):
        spool.add(batch(delivered=delivered))
    again = made(2 * size)
    again.add(batch(delivered=20))
    assert len(files(tmp_path)) == 2


async def test_a_damaged_file_is_passed_over(made, tmp_path):
    spool = made()
    spool.add(batch())
    spool.add(batch())
    first = min((tmp_path / "spool" / "ag_1").glob("*.batch"))
    first.write_bytes(b"\xff")
    again = made()
    assert (await again.next()).sequence == 2


async def test_what_another_agent_left_is_removed_and_never_sent(made, tmp_path):
    made().add(batch())
    made(agent_id="ag_2")
    assert files(tmp_path) == []


def test_only_its_owner_may_read_it(made, tmp_path):
    made().add(batch())
    (file,) = (tmp_path / "spool" / "ag_1").glob("*.batch")
    assert file.stat().st_mode & 0o077 == 0
    assert file.parent.stat().st_mode & 0o077 == 0


# --- numbers -----------------------------------------------------------------------------------------------------------


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
