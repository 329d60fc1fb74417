"""What an agent sends is bounded and valid before anything walks it."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.records.arrow_batches import MAX_BATCH_BYTES, BadBatch, read_batch
from tests.builders.record_batches import columns, ipc

GOOD = ipc(columns(pa.array(["USD", None, "EUR"])))


def refused(stream, rows=1):
    with pytest.raises(BadBatch) as caught:
        read_batch(stream, rows)
    return str(caught.value)


def test_a_plain_batch_is_read():
    assert read_batch(GOOD, 3).num_rows == 3


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_a_compressed_batch_is_refused_before_it_is_unpacked(codec):
    bomb = columns(pa.array(["0" * 1_000_000]))
    assert "compressed" in refused(ipc(bomb, pa.ipc.IpcWriteOptions(compression=codec)))


def test_a_batch_that_says_another_number_of_rows_is_refused():
    assert "says 4" in refused(GOOD, 4)


def test_more_than_one_batch_is_refused():
    batch = columns(pa.array([1]))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
        writer.write_batch(batch)
    assert "one record batch" in refused(sink.getvalue().to_pybytes())


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["a", "a"]).dictionary_encode(),
        pa.array(["a" * 100], pa.string_view()),
        pa.array([b"a"]),
        pa.array([[1, 2]], pa.list_(pa.int8(), 2)),
        pa.array([1], pa.decimal128(5)),
    ],
    ids=lambda array: str(array.type)[:20],
)
def test_types_that_agents_do_not_send_are_refused(values):
    stream = ipc(columns(values))
    assert "are not taken" in refused(stream, len(values)) or "one record batch" in refused(stream, len(values))


def test_many_nulls_in_few_bytes_are_refused():
    lists = pa.ListArray.from_arrays(pa.array([0, 2**31 - 10], pa.int32()), pa.nulls(2**31 - 10))
    assert "values" in refused(ipc(columns(lists)))


def test_deep_and_wide_types_are_refused():
    kind = pa.int8()
    for _ in range(20):
        kind = pa.list_(kind)
    assert "nested deeper" in refused(ipc(columns(pa.array([None], kind))))
    wide = pa.struct([(f"f{i}", pa.int8()) for i in range(5000)])
    assert "fields" in refused(ipc(columns(pa.array([None], wide))))


@pytest.mark.parametrize("names", [["time_", "a", "a"], ["time_", "a;b", "c"], ["time", "a", "b"]])
def test_column_names_are_different_identifiers_and_time_is_there(names):
    batch = pa.RecordBatch.from_arrays([pa.array([1], pa.int64())] * 3, names)
    refused(ipc(batch))


def test_paths_are_maps():
    batch = pa.RecordBatch.from_arrays([pa.array([1], pa.int64())] * 2, ["time_", "_cut"])
    assert "must map paths" in refused(ipc(batch))


def test_too_many_bytes_are_refused_unread():
    assert "at most" in refused(b"\0" * (MAX_BATCH_BYTES + 1))


@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=8))
def test_a_damaged_batch_is_refused_or_reads_as_a_valid_one(at, noise):
    damaged = GOOD[:at] + noise + GOOD[at + len(noise) :]
    try:
        batch = read_batch(damaged[: len(GOOD)], 3)
    except BadBatch:
        return
    batch.validate(full=True)
    batch.to_pylist()


@given(st.integers(0, len(GOOD) - 1))
def test_a_batch_that_is_cut_short_is_refused(at):
    if at < len(GOOD) - 8:  # the end mark may be missing
        refused(GOOD[:at], 3)


@given(st.binary(max_size=200))
def test_noise_is_refused(noise):
    refused(noise)
