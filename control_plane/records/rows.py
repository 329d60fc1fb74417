"""Record batches -> rows as JSON objects, in the shape that `probegate-agent try` prints.

    {"time_": <unix ns>, "pid": .., "tid": .., "goid": ..?, "<column>": .., "_absent": {..}?, "_cut": {..}?}

Integers stay exact, structs are objects, lists lists, maps objects when their keys are different texts and else lists
of pairs, moments ISO 8601, and floats that JSON has no number for are their names.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Any, Final

import pyarrow as pa

_PATHS: Final = frozenset({"_absent", "_cut"})


def to_rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """One object a row, columns in their order; `_absent` and `_cut` only where they say something."""
    names = batch.schema.names
    columns = [_values(batch.column(i)) for i in range(len(names))]
    for cells in zip(*columns, strict=True):
        yield {
            name: cell
            for name, cell in zip(names, cells, strict=True)
            if not (name in _PATHS and not cell) and not (name == "goid" and cell is None)
        }


def _values(array: pa.Array) -> list[Any]:
    return [to_json(value, array.type) for value in array.to_pylist()]


def to_json(value: Any, kind: pa.DataType) -> Any:
    """One Arrow value as JSON can say it."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else _named(value)
    if pa.types.is_struct(kind):
        return {field.name: to_json(value[field.name], field.type) for field in kind}
    if pa.types.is_map(kind):
        return _map([(to_json(key, kind.key_type), to_json(item, kind.item_type)) for key, item in value])
    if isinstance(value, list):
        return [to_json(item, kind.value_type) for item in value]
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value)


def _map(pairs: list[tuple[Any, Any]]) -> Any:
    keys = [key for key, _ in pairs]
    if all(isinstance(key, str) for key in keys) and len(set(keys)) == len(keys):
        return dict(pairs)
    return [list(pair) for pair in pairs]


def _named(value: float) -> str:
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
