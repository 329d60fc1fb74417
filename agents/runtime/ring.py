"""Read the ring buffer as arrays: no Python object per record.

Enters: the ring's descriptor, its size and the size of a record. Leaves: an (n, record size) copy of finished records.
All records of one program have one size, so a stretch of the ring is a matrix. Layout: kernel/bpf/ringbuf.c; a page with
the consumer position (ours to write), a page with the producer position, then the data mapped twice in a row, so a
record that wraps is contiguous. The data is mapped for each drain that has something to take, and only as much: the kernel
makes all pages of a ring's mapping present at once, so mappings that stay would weigh twice the ring in the agent. A record begins with an 8-byte header: u32 length with two flag bits, u32 page offset.
"""

from __future__ import annotations

import mmap
from typing import Final

import numpy as np
import numpy.typing as npt

HEADER_SIZE: Final = 8  # BPF_RINGBUF_HDR_SZ
BUSY: Final = 1 << 31  # BPF_RINGBUF_BUSY_BIT: reserved, not finished
DISCARDED: Final = 1 << 30  # BPF_RINGBUF_DISCARD_BIT: given up by the program
_FLAGS: Final = BUSY | DISCARDED


class RingCorrupt(Exception):
    """A record has another size than the layout says: reading on would turn every later value into a wrong one."""


class RingReader:
    """The one consumer of a ring. `ring_size` is a power of two and a multiple of the page."""

    def __init__(self, map_fd: int, ring_size: int, record_size: int) -> None:
        self._ring_size = ring_size
        self._record_size = record_size
        self._stride = (HEADER_SIZE + record_size + 7) & ~7  # the kernel rounds every record up to 8 bytes
        self._map_fd = map_fd
        page = mmap.PAGESIZE
        self._consumer_page = mmap.mmap(map_fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=0)
        self._producer_page = mmap.mmap(map_fd, page, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        self._consumer = np.frombuffer(self._consumer_page, dtype="<u8", count=1)
        self._producer = np.frombuffer(self._producer_page, dtype="<u8", count=1)
        self._closed = False

    def drain(self, limit: int) -> npt.NDArray[np.uint8]:
        """Up to `limit` finished records, oldest first, as a copy. Raises RingCorrupt.

        The producer position is read before the headers and the consumer position is written after the copy. x86-64
        keeps loads and stores in that order; on arm64 the kernel's release stores still pair with the syscalls around a
        drain, and a header read too early shows BUSY, which only delays it.
        """
        if self._closed or limit <= 0:
            return self._nothing()
        consumed = int(self._consumer[0])
        frames = (int(self._producer[0]) - consumed) // self._stride
        if frames <= 0:
            return self._nothing()
        window = self._mapped(consumed & (self._ring_size - 1), frames)
        records, finished = self._finished(window, limit)
        self._consumer[0] = consumed + finished * self._stride
        return records

    @property
    def room(self) -> int:
        """How many records the ring holds when it is full."""
        return self._ring_size // self._stride

    def waiting(self) -> int:
        """Records that were written and not taken yet, with those still being written. Two loads, no call into the kernel."""
        return 0 if self._closed else (int(self._producer[0]) - int(self._consumer[0])) // self._stride

    def _mapped(self, start: int, frames: int) -> npt.NDArray[np.uint8]:
        """(frames, stride) bytes of the data from `start` on; unmapped when the last array of them goes."""
        page = mmap.PAGESIZE
        skip = start % page
        length = skip + frames * self._stride
        data = mmap.mmap(self._map_fd, length, mmap.MAP_SHARED, mmap.PROT_READ, offset=2 * page + start - skip)
        return np.frombuffer(data, dtype=np.uint8, offset=skip).reshape(frames, self._stride)

    def _finished(self, window: npt.NDArray[np.uint8], limit: int) -> tuple[npt.NDArray[np.uint8], int]:
        """A copy of the finished records, and how many frames of the window are done with."""
        frames = len(window)
        lengths = np.ascontiguousarray(window[:, :4]).view("<u4")[:, 0]
        busy = np.flatnonzero(lengths & BUSY)
        finished = int(busy[0]) if busy.size else frames
        lengths = lengths[:finished]
        if (strange := np.flatnonzero((lengths & ~np.uint32(_FLAGS)) != self._record_size)).size:
            raise RingCorrupt(
                f"a record of {int(lengths[strange[0]]) & ~_FLAGS} bytes came, the layout says {self._record_size}: "
                f"the program and the layout do not belong together"
            )
        wanted = np.flatnonzero((lengths & DISCARDED) == 0)
        if wanted.size > limit:
            wanted = wanted[:limit]
            finished = int(wanted[-1]) + 1
        records = window[wanted, HEADER_SIZE : HEADER_SIZE + self._record_size]  # fancy indexing copies
        return np.ascontiguousarray(records), finished

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        del self._consumer, self._producer  # the arrays hold the mappings open
        self._consumer_page.close()
        self._producer_page.close()

    def _nothing(self) -> npt.NDArray[np.uint8]:
        return np.empty((0, self._record_size), dtype=np.uint8)
