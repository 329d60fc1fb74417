"""The ring reader on memory laid out as the kernel lays it out; the kernel's own ring is in tests/host."""

from __future__ import annotations

import mmap
import os
import struct

import numpy as np
import pytest

from agents.runtime.ring import BUSY, DISCARDED, HEADER_SIZE, RingCorrupt, RingReader

RING = 4096
PAGE = mmap.PAGESIZE


class WrittenRing:
    """The producer's side, in a memory file: the second mapping of the data is a mirror here."""

    def __init__(self, record_size: int, start: int = 0) -> None:
        self.fd = os.memfd_create("ring")
        os.truncate(self.fd, 2 * PAGE + 2 * RING)
        self.record_size = record_size
        self.stride = (HEADER_SIZE + record_size + 7) // 8 * 8
        self.produced = start
        os.pwrite(self.fd, struct.pack("<Q", start), 0)
        self._publish()

    def append(self, payload: bytes, flags: int = 0, length: int | None = None) -> int:
        """Position of the record."""
        size = self.record_size if length is None else length
        frame = struct.pack("<II", size | flags, 0) + payload.ljust(self.stride - HEADER_SIZE, b"\xee")
        for index, byte in enumerate(frame):
            at = 2 * PAGE + (self.produced + index) % RING
            os.pwrite(self.fd, bytes([byte]), at)
            os.pwrite(self.fd, bytes([byte]), at + RING)
        at = self.produced
        self.produced += self.stride
        self._publish()
        return at

    def set_flags(self, at: int, flags: int) -> None:
        for copy in (0, RING):
            os.pwrite(self.fd, struct.pack("<I", self.record_size | flags), 2 * PAGE + at % RING + copy)

    def consumed(self) -> int:
        return struct.unpack("<Q", os.pread(self.fd, 8, 0))[0]

    def _publish(self) -> None:
        os.pwrite(self.fd, struct.pack("<Q", self.produced), PAGE)


@pytest.fixture
def ring():
    written = WrittenRing(16)
    yield written
    os.close(written.fd)


def reader_of(written: WrittenRing) -> RingReader:
    return RingReader(written.fd, RING, written.record_size)


def payload(number: int, size: int = 16) -> bytes:
    return number.to_bytes(8, "little").ljust(size, b"\0")


def numbers(records: np.ndarray) -> list[int]:
    return [int.from_bytes(bytes(row[:8]), "little") for row in records]


def test_an_empty_ring_gives_no_rows_of_the_right_width(ring):
    assert reader_of(ring).drain(10).shape == (0, 16)


def test_records_come_in_the_order_they_were_written(ring):
    for number in range(5):
        ring.append(payload(number))
    assert numbers(reader_of(ring).drain(10)) == [0, 1, 2, 3, 4]
    assert ring.consumed() == ring.produced


def test_what_was_drained_is_a_copy(ring):
    ring.append(payload(7))
    records = reader_of(ring).drain(1)
    ring.set_flags(0, BUSY)
    os.pwrite(ring.fd, b"\xff" * RING, 2 * PAGE)
    assert numbers(records) == [7]


def test_reading_stops_at_a_record_that_is_not_finished(ring):
    ring.append(payload(0))
    unfinished = ring.append(payload(1), BUSY)
    ring.append(payload(2))
    reader = reader_of(ring)
    assert numbers(reader.drain(10)) == [0]
    assert ring.consumed() == unfinished
    ring.set_flags(unfinished, 0)
    assert numbers(reader.drain(10)) == [1, 2]


def test_discarded_records_are_passed_over_and_freed(ring):
    for number in range(6):
        ring.append(payload(number), DISCARDED if number % 2 else 0)
    assert numbers(reader_of(ring).drain(10)) == [0, 2, 4]
    assert ring.consumed() == ring.produced


def test_the_limit_counts_records_and_not_what_was_discarded(ring):
    for number in range(8):
        ring.append(payload(number), DISCARDED if number < 4 else 0)
    reader = reader_of(ring)
    assert numbers(reader.drain(2)) == [4, 5]
    assert numbers(reader.drain(2)) == [6, 7]


def test_a_ring_of_nothing_but_discarded_records_is_emptied(ring):
    for number in range(4):
        ring.append(payload(number), DISCARDED)
    assert reader_of(ring).drain(1).shape == (0, 16)
    assert ring.consumed() == ring.produced


def test_a_record_that_wraps_around_the_end_is_whole():
    written = WrittenRing(16, start=RING - 8)
    written.append(payload(41))
    written.append(payload(42))
    assert numbers(reader_of(written).drain(10)) == [41, 42]


@pytest.mark.parametrize("size", [9, 12, 17, 23])
def test_a_size_that_is_no_multiple_of_eight_keeps_its_records_apart(size):
    written = WrittenRing(size)
    for number in range(3):
        written.append(payload(number, size))
    records = reader_of(written).drain(10)
    assert records.shape == (3, size)
    assert numbers(records) == [0, 1, 2]
    assert not (records == 0xEE).any()


def test_positions_go_on_growing_beyond_the_ring_for_ever():
    written = WrittenRing(16, start=RING * 1_000_003)
    reader = reader_of(written)
    for number in range(3 * RING // written.stride):
        written.append(payload(number))
        assert numbers(reader.drain(1)) == [number]


def test_a_record_of_another_size_stops_everything(ring):
    ring.append(payload(1), length=24)
    with pytest.raises(RingCorrupt, match="24 bytes came, the layout says 16"):
        reader_of(ring).drain(1)


def test_a_closed_ring_is_empty(ring):
    ring.append(payload(1))
    reader = reader_of(ring)
    reader.close()
    reader.close()
    assert reader.drain(1).shape == (0, 16)
