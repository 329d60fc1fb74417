"""Work that must not be cut ends; who waited for it is cancelled after that."""

from __future__ import annotations

import asyncio

import pytest

from control_plane.foundation.uninterrupted import uninterrupted


async def test_what_the_work_returns_and_raises_comes_through() -> None:
    async def works() -> int:
        return 1

    async def fails() -> int:
        raise ValueError("no")

    assert await uninterrupted(works()) == 1
    with pytest.raises(ValueError, match="no"):
        await uninterrupted(fails())


@pytest.mark.parametrize("fails", [False, True])
async def test_a_caller_that_is_cancelled_again_and_again_ends_after_the_work(fails: bool) -> None:
    steps: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0.05)
        steps.append("worked")
        if fails:
            raise ValueError("nobody is there to hear it")

    async def caller() -> None:
        try:
            await uninterrupted(work())
        finally:
            steps.append("ended")

    task = asyncio.create_task(caller())
    for _ in range(3):
        await asyncio.sleep(0.005)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["worked", "ended"]
