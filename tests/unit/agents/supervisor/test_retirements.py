from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

from agents.admission.model import RefusalReason, Refused
from agents.supervisor.lifecycle import EndReason
from agents.supervisor.retirements import Retirements


class Book:
    """Where ends are written: keeps each writing, and waits or fails on demand."""

    def __init__(self) -> None:
        self.writings: list[list[tuple[str, int, str]]] = []
        self.open = threading.Event()
        self.open.set()
        self.full = False

    def write(self, ends: Sequence[tuple[str, int, str]]) -> None:
        assert self.open.wait(5)
        if self.full:
            raise Refused(RefusalReason.NO_STATE, "the disk is full")
        self.writings.append(list(ends))


async def retire(retirements: Retirements, name: str) -> str:
    retirements.add(name, 1, EndReason.LOCKED)
    await retirements.settled()
    return name


async def test_one_that_comes_alone_is_written_at_once() -> None:
    book = Book()
    await retire(Retirements(book.write), "tp_1")
    assert book.writings == [[("tp_1", 1, "locked")]]


async def test_what_comes_while_one_is_written_is_written_together() -> None:
    book = Book()
    retirements = Retirements(book.write)
    book.open.clear()
    waiting = [asyncio.create_task(retire(retirements, f"tp_{number}")) for number in range(10)]
    await asyncio.sleep(0)
    waiting += [asyncio.create_task(retire(retirements, f"tp_{number}")) for number in range(10, 20)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    book.open.set()
    await asyncio.gather(*waiting)
    assert len(book.writings) == 2
    assert [end[0] for writing in book.writings for end in writing] == [f"tp_{number}" for number in range(20)]


async def test_nobody_goes_on_before_his_own_is_written() -> None:
    book = Book()
    retirements = Retirements(book.write)
    book.open.clear()
    first = asyncio.create_task(retire(retirements, "tp_1"))
    await asyncio.sleep(0)
    second = asyncio.create_task(retirements.settled())
    await asyncio.sleep(0)
    assert not first.done()
    assert not second.done()
    book.open.set()
    await asyncio.gather(first, second)


async def test_a_writing_that_fails_stops_nobody_and_the_next_one_is_written() -> None:
    book = Book()
    retirements = Retirements(book.write)
    book.full = True
    await retire(retirements, "tp_1")
    book.full = False
    await retire(retirements, "tp_2")
    assert book.writings == [[("tp_2", 1, "locked")]]
