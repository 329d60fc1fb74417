"""Batches that wait for their acknowledgement: numbered, bounded, and what does not fit is counted.

Filled by `service.Uplink.send`, emptied by `uploads`. While the control plane answers, batches wait in memory; while it
does not, and when the agent stops, they are in the store (`spool_files`) and go on with their numbers after a restart.
A new batch that does not fit is dropped, never one that may already have been stored, so that "delivered" and what the
control plane holds agree. Last batches always fit: without their rows if need be, since they carry the accounting.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from wire.v1 import records_pb2

MAX_BYTES: Final = 64 << 20  # in memory and on disk together; some minutes of a busy probe, far more than its lease
WINDOW: Final = 32  # batches on their way at once; more would only wait in the gateway
SPOOL_FULL: Final = "spool_full"  # lost: disconnected or too slow a network for longer than MAX_BYTES
REFUSED: Final = "refused"  # lost: the control plane would not store it (quota, unknown tracepoint)
PER_BATCH: Final = 512  # bytes of a batch beside its rows, roughly

_LOG: Final = logging.getLogger(__name__)


class Store(Protocol):
    """Where batches survive this process, by their order."""

    def write(self, order: int, batch: records_pb2.Batch) -> None:
        """Raises OSError."""
        ...

    def read(self, order: int) -> records_pb2.Batch | None: ...
    def remove(self, order: int) -> None: ...
    def kept(self) -> tuple[int, ...]: ...


@dataclass
class _Entry:
    """One batch; `batch` is None while it is in the store only."""

    order: int
    tracepoint_id: str
    sequence: int
    rows: int
    final: bool
    size: int
    batch: records_pb2.Batch | None
    stored: bool = False


class Spool:
    """One agent's unacknowledged batches, in order."""

    def __init__(self, number: Callable[[str], int], store: Store, max_bytes: int = MAX_BYTES) -> None:
        self._number = number
        self._store = store
        self._max_bytes = max_bytes
        self._waiting: deque[_Entry] = deque()
        self._sent: deque[_Entry] = deque()
        self._lost: dict[str, dict[str, int]] = {}
        self._bytes = 0
        self._away = True  # until the first answer
        self._changed = asyncio.Event()
        self._acknowledged = asyncio.Event()
        self._order = self._restored()

    def add(self, batch: records_pb2.Batch) -> None:
        """Take a batch, without a number yet, or drop it and count its rows."""
        size = _size(batch)
        if self._bytes + size > self._max_bytes:
            self._lose(batch.tracepoint_id, SPOOL_FULL, batch.rows)
            if not batch.final:
                return
            batch.arrow, batch.rows = b"", 0
        self.correct(batch.tracepoint_id, batch.accounting)
        batch.sequence = self._number(batch.tracepoint_id)
        self._order += 1
        entry = _entry(self._order, batch)
        self._waiting.append(entry)
        self._bytes += entry.size
        if self._away:
            self._keep(entry)
        self._changed.set()

    def correct(self, tracepoint_id: str, accounting: records_pb2.Accounting) -> None:
        """Turn what was lost on the way out from delivered into lost."""
        for reason, rows in self._lost.get(tracepoint_id, {}).items():
            accounting.delivered -= min(rows, accounting.delivered)
            accounting.lost[reason] += rows

    async def next(self) -> records_pb2.Batch:
        """The next batch to send; waits while there is none or WINDOW of them are on their way."""
        while True:
            while not self._waiting or len(self._sent) >= WINDOW:
                self._changed.clear()
                await self._changed.wait()
            entry = self._waiting.popleft()
            batch = entry.batch if entry.batch is not None else self._store.read(entry.order)
            if batch is not None:
                self._sent.append(entry)
                return batch
            self._lose(entry.tracepoint_id, SPOOL_FULL, entry.rows)
            self._forget(entry)

    def acknowledge(self, ack: records_pb2.BatchAck) -> None:
        """An acknowledgement of something that is not on its way is ignored."""
        self._away = False
        for entry in self._sent:
            if (entry.tracepoint_id, entry.sequence) == (ack.tracepoint_id, ack.sequence):
                self._sent.remove(entry)
                self._forget(entry)
                if ack.refusal:
                    self._lose(entry.tracepoint_id, REFUSED, entry.rows)
                if entry.final:
                    self._lost.pop(entry.tracepoint_id, None)
                return

    def rewind(self) -> None:
        """The connection broke: what was not acknowledged is sent again, in order. The numbers stay the same."""
        self._waiting.extendleft(reversed(self._sent))
        self._sent.clear()
        self._changed.set()

    def keep(self) -> None:
        """Nobody answers, or this process ends: all that waits, and what comes until the next answer, survives it."""
        self._away = True
        for entry in (*self._sent, *self._waiting):
            self._keep(entry)

    async def emptied(self) -> None:
        """Returns when every batch is acknowledged."""
        while self._waiting or self._sent:
            self._acknowledged.clear()
            await self._acknowledged.wait()

    def _restored(self) -> int:
        """What an earlier process kept; the order of the last one."""
        orders = self._store.kept()
        for order in orders:
            batch = self._store.read(order)
            if batch is None:
                self._store.remove(order)
                continue
            entry = _entry(order, batch)
            entry.batch, entry.stored = None, True
            self._waiting.append(entry)
            self._bytes += entry.size
        if self._waiting:
            _LOG.info("%d batches of an earlier run are still to be sent", len(self._waiting))
        return orders[-1] if orders else 0

    def _keep(self, entry: _Entry) -> None:
        if entry.stored or entry.batch is None:
            return
        try:
            self._store.write(entry.order, entry.batch)
        except OSError as error:
            _LOG.warning("a batch waits in memory only: %s", error)
            return
        entry.batch, entry.stored = None, True

    def _forget(self, entry: _Entry) -> None:
        self._bytes -= entry.size
        if entry.stored:
            self._store.remove(entry.order)
        self._changed.set()
        self._acknowledged.set()

    def _lose(self, tracepoint_id: str, reason: str, rows: int) -> None:
        if rows:
            lost = self._lost.setdefault(tracepoint_id, {})
            lost[reason] = lost.get(reason, 0) + rows


def _entry(order: int, batch: records_pb2.Batch) -> _Entry:
    return _Entry(order, batch.tracepoint_id, batch.sequence, batch.rows, batch.final, _size(batch), batch)


def _size(batch: records_pb2.Batch) -> int:
    return len(batch.arrow) + PER_BATCH
