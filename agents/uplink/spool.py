"""Batches that wait for their acknowledgement: numbered, bounded, and what does not fit is counted. No I/O.

Filled by `service.Uplink.send`, emptied by `uploads`. A new batch that does not fit is dropped, never one that may
already have been stored, so that "delivered" and what the control plane holds agree. Last batches always fit: without
their rows if need be, since they carry the accounting.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from wire.v1 import records_pb2

MAX_BYTES: Final = 64 << 20  # of memory; some minutes of a busy probe, far more than the lease of one that lost contact
WINDOW: Final = 32  # batches on their way at once; more would only wait in the gateway
SPOOL_FULL: Final = "spool_full"  # lost: disconnected or too slow a network for longer than MAX_BYTES
REFUSED: Final = "refused"  # lost: the control plane would not store it (quota, unknown tracepoint)
PER_BATCH: Final = 512  # bytes of a batch beside its rows, roughly


class Spool:
    """One agent's unacknowledged batches, in order."""

    def __init__(self, number: Callable[[str], int], max_bytes: int = MAX_BYTES) -> None:
        self._number = number
        self._max_bytes = max_bytes
        self._waiting: deque[records_pb2.Batch] = deque()
        self._sent: deque[records_pb2.Batch] = deque()
        self._lost: dict[str, dict[str, int]] = {}
        self._bytes = 0
        self._changed = asyncio.Event()
        self._acknowledged = asyncio.Event()

    def add(self, batch: records_pb2.Batch) -> None:
        """Take a batch, without a number yet, or drop it and count its rows."""
        size = _size(batch)
        if self._bytes + size > self._max_bytes:
            self._lose(batch.tracepoint_id, SPOOL_FULL, batch.rows)
            if not batch.final:
                return
            batch.arrow, batch.rows = b"", 0
            size = _size(batch)
        self.correct(batch.tracepoint_id, batch.accounting)
        batch.sequence = self._number(batch.tracepoint_id)
        self._waiting.append(batch)
        self._bytes += size
        self._changed.set()

    def correct(self, tracepoint_id: str, accounting: records_pb2.Accounting) -> None:
        """Turn what was lost on the way out from delivered into lost."""
        for reason, rows in self._lost.get(tracepoint_id, {}).items():
            accounting.delivered -= min(rows, accounting.delivered)
            accounting.lost[reason] += rows

    async def next(self) -> records_pb2.Batch:
        """The next batch to send; waits while there is none or WINDOW of them are on their way."""
        while not self._waiting or len(self._sent) >= WINDOW:
            self._changed.clear()
            await self._changed.wait()
        batch = self._waiting.popleft()
        self._sent.append(batch)
        return batch

    def acknowledge(self, ack: records_pb2.BatchAck) -> None:
        """An acknowledgement of something that is not on its way is ignored."""
        for batch in self._sent:
            if (batch.tracepoint_id, batch.sequence) == (ack.tracepoint_id, ack.sequence):
                self._sent.remove(batch)
                self._bytes -= _size(batch)
                if ack.refusal:
                    self._lose(batch.tracepoint_id, REFUSED, batch.rows)
                if batch.final:
                    self._lost.pop(batch.tracepoint_id, None)
                self._changed.set()
                self._acknowledged.set()
                return

    def rewind(self) -> None:
        """The connection broke: what was not acknowledged is sent again, in order. The numbers stay the same."""
        self._waiting.extendleft(reversed(self._sent))
        self._sent.clear()
        self._changed.set()

    async def emptied(self) -> None:
        """Returns when every batch is acknowledged."""
        while self._waiting or self._sent:
            self._acknowledged.clear()
            await self._acknowledged.wait()

    def _lose(self, tracepoint_id: str, reason: str, rows: int) -> None:
        if rows:
            lost = self._lost.setdefault(tracepoint_id, {})
            lost[reason] = lost.get(reason, 0) + rows


def _size(batch: records_pb2.Batch) -> int:
    return len(batch.arrow) + PER_BATCH
