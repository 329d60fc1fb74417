"""Messages of one stream that arrived together, taken in one transaction: an end of twenty probes is one write, not forty.

    Arriving    a stream -> groups: what came while the group before was worked on, at least one, never waited for
    together    a group  -> each with its result; where the group fails, one by one

A message that comes alone is a group of one and waits for nobody. How much is read ahead is bounded: beyond it gRPC's
flow control holds the agent back. `session` takes reports so, `gateway` batches.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import TracebackType
from typing import Final, Generic, Protocol, Self, TypeVar

from control_plane.foundation.errors import DependencyUnavailable

MOST: Final = 32  # in a group: an agent's window of batches; others wait for the transaction meanwhile
MOST_BYTES: Final = 8 << 20  # read ahead of one stream: two of the largest messages

log = logging.getLogger(__name__)


class Sized(Protocol):
    """A protobuf message."""

    def ByteSize(self) -> int: ...  # noqa: N802 -- protobuf's name


class OfTracepoint(Protocol):
    @property
    def tracepoint_id(self) -> str: ...


M = TypeVar("M", bound=Sized)
T = TypeVar("T", bound=OfTracepoint)
R = TypeVar("R")


class Arriving(Generic[M]):
    """Iterate inside `async with`: that is how long it reads. Raises what the stream raises, after all that came before."""

    def __init__(self, messages: AsyncIterator[M]) -> None:
        self._messages = messages
        self._waiting: deque[M] = deque()
        self._bytes = 0
        self._came = asyncio.Event()
        self._room = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._reading = asyncio.create_task(self._read())
        self._reading.add_done_callback(lambda _: self._came.set())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reading.cancel()
        await asyncio.wait({self._reading})
        if not self._reading.cancelled():
            self._reading.exception()  # looked at: whoever was interested has seen it in `__anext__`

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[M, ...]:
        while not self._waiting:
            if self._reading.done():
                self._reading.result()  # why it ended
                raise StopAsyncIteration
            self._came.clear()
            await self._came.wait()
        group = tuple(self._waiting)
        self._waiting.clear()
        self._bytes = 0
        self._room.set()
        return group

    async def _read(self) -> None:
        async for message in self._messages:
            self._waiting.append(message)
            self._bytes += message.ByteSize()
            self._came.set()
            while len(self._waiting) >= MOST or self._bytes >= MOST_BYTES:
                self._room.clear()
                await self._room.wait()


async def together(
    group: Sequence[T], take: Callable[[Sequence[T]], Awaitable[Sequence[R]]]
) -> AsyncIterator[tuple[T, R]]:
    """`take` does all of a group or nothing. A group that fails is taken one by one: what is wrong with one of them is its
    own matter. Later ones of the same tracepoint wait with it, so that none is overtaken; its error is raised at the end.

    DependencyUnavailable is nobody's own and raised at once: nothing of what is left was taken.
    """
    try:
        results = await take(group)
    except DependencyUnavailable:
        raise
    except Exception as error:
        if len(group) == 1:
            raise
        log.warning("%d messages of one agent are taken one by one: %s", len(group), type(error).__name__)
    else:
        for item, result in zip(group, results, strict=True):
            yield item, result
        return
    failed: dict[str, Exception] = {}
    for item in group:
        if item.tracepoint_id in failed:
            continue
        try:
            (result,) = await take((item,))
        except DependencyUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 -- the first is raised below
            failed[item.tracepoint_id] = error
        else:
            yield item, result
    for first in failed.values():
        raise first
