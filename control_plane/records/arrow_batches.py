"""Untrusted IPC bytes of an agent -> a record batch that is safe to walk and not much bigger than its bytes.

An agent is a program on somebody's host. What it sends is bounded in bytes, rows, columns, depth and values, has only
types that cannot refer to the same bytes many times (no dictionaries, no views), and is fully validated.
"""

from __future__ import annotations

import re
from typing import Any, Final

import pyarrow as pa

from control_plane.records.arrow_framing import BadFraming, check_framing
from control_plane.records.model import Column

MAX_BATCH_BYTES: Final = 4 << 20  # gRPC's own bound for one message; agents send 1 MiB
MAX_BATCH_ROWS: Final = 1 << 20  # a row has at least time_, pid and tid: 16 bytes, so 4 MiB hold fewer
MAX_COLUMNS: Final = 80  # 64 captures and the columns of ours
MAX_DEPTH: Final = 16  # nested types; limits.maxDepth is 8, and an interface adds one to each
MAX_TYPES: Final = 4096  # nested fields in all: a struct of structs of structs
MAX_VALUES: Final = 8 << 20  # in all columns: nulls need no bytes, so bytes alone do not bound them

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}", re.ASCII)
_PATHS: Final = frozenset({"_absent", "_cut"})


class BadBatch(Exception):
    """Bytes that are not taken, and why."""


def read_batch(stream: bytes, rows: int) -> pa.RecordBatch:
    """The one record batch of the stream, which says it has `rows` rows. Raises BadBatch."""
    if len(stream) > MAX_BATCH_BYTES:
        raise BadBatch(f"a batch has at most {MAX_BATCH_BYTES} bytes, this one has {len(stream)}")
    try:
        check_framing(stream)
        with pa.ipc.open_stream(pa.py_buffer(stream)) as reader:
            _check_schema(reader.schema)
            batch = reader.read_next_batch()
        _check_size(batch, rows)
        batch.validate(full=True)
    except BadFraming as error:
        raise BadBatch(str(error)) from error
    except (pa.ArrowException, StopIteration, OSError, ValueError, OverflowError) as error:
        raise BadBatch(f"the batch is damaged ({type(error).__name__})") from error
    return batch


def stored_batch(stream: bytes) -> pa.RecordBatch:
    """A batch that `read_batch` has accepted before it was stored."""
    with pa.ipc.open_stream(pa.py_buffer(stream)) as reader:
        return reader.read_next_batch()


def columns_of(batch: pa.RecordBatch) -> tuple[Column, ...]:
    return tuple(Column(field.name, str(field.type)) for field in batch.schema)


def _check_schema(schema: pa.Schema) -> None:
    if not 1 <= len(schema.names) <= MAX_COLUMNS:
        raise BadBatch(f"a batch has 1 to {MAX_COLUMNS} columns, this one has {len(schema.names)}")
    if len(set(schema.names)) != len(schema.names) or not all(_NAME.fullmatch(name) for name in schema.names):
        raise BadBatch("column names must be different identifiers")
    if "time_" not in schema.names or schema.field("time_").type != pa.int64():
        raise BadBatch("every row has a time_ of type int64")
    for name in _PATHS & set(schema.names):
        if not pa.types.is_map(schema.field(name).type) or not pa.types.is_string(schema.field(name).type.key_type):
            raise BadBatch(f"{name} must map paths")
    count = sum(_count_types(field.type, 0) for field in schema)
    if count > MAX_TYPES:
        raise BadBatch(f"a batch has at most {MAX_TYPES} nested fields, this one has {count}")


def _count_types(kind: pa.DataType, depth: int) -> int:
    if depth > MAX_DEPTH:
        raise BadBatch(f"types are nested deeper than {MAX_DEPTH}")
    if pa.types.is_nested(kind):
        if not (
            pa.types.is_struct(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind)
        ):
            raise BadBatch(f"columns of type {str(kind)[:80]} are not taken")
        if kind.num_fields > MAX_TYPES:
            raise BadBatch(f"a struct has at most {MAX_TYPES} fields")
        return 1 + sum(_count_types(kind.field(i).type, depth + 1) for i in range(kind.num_fields))
    if not any(check(kind) for check in _FLAT):
        raise BadBatch(f"columns of type {str(kind)[:80]} are not taken")
    return 1


_FLAT: Final[tuple[Any, ...]] = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_boolean,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_temporal,
    pa.types.is_null,
)


def _check_size(batch: pa.RecordBatch, rows: int) -> None:
    if batch.num_rows != rows or rows > MAX_BATCH_ROWS:
        raise BadBatch(
            f"the batch has {batch.num_rows} rows, the message says {rows}; at most {MAX_BATCH_ROWS} are taken"
        )
    # First of all: nothing may be walked while an offset could point anywhere.
    batch.validate()
    if sum(column.nbytes for column in batch.columns) > 2 * MAX_BATCH_BYTES:
        raise BadBatch("columns share their bytes")
    values = sum(_count_values(column) for column in batch.columns)
    if values > MAX_VALUES:
        raise BadBatch(f"a batch has at most {MAX_VALUES} values, this one has {values}")


def _count_values(array: pa.Array) -> int:
    kind = array.type
    if pa.types.is_struct(kind):
        return len(array) + sum(_count_values(array.field(i)) for i in range(kind.num_fields))
    if pa.types.is_map(kind):
        return len(array) + _count_values(array.keys) + _count_values(array.items)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return len(array) + _count_values(array.values)
    return len(array)
