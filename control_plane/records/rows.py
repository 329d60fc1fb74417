"""Record batches -> rows as JSON objects, in the shape that `probegate-agent try` prints (`agents.decoding.rows`).

    {"time_": <unix ns>, "pid": .., "tid": .., "goid": ..?, "<column>": .., "_absent": {..}?, "_cut": {..}?}

Integers stay exact, structs are objects, lists lists, maps lists of pairs, moments ISO 8601; floats that JSON has no
number for are their names; texts that the agent marked as JSON (interface values, variants) are read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Any, Final

import pyarrow as pa

MAX_JSON_DEPTH: Final = 64  # a value of an agent is a few levels deep; serialisers give up at some 200
_PATHS: Final = frozenset({"_absent", "_cut"})


def to_rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """One object a row, columns in their order; `_absent` and `_cut` only where they say something."""
    fields = list(batch.schema)
    columns = [column.to_pylist() for column in batch.columns]
    for cells in zip(*columns, strict=True):
        row: dict[str, Any] = {}
        for field, cell in zip(fields, cells, strict=True):
            if field.name not in _PATHS:
                row[field.name] = to_json(cell, field)
            elif cell:
                row[field.name] = dict(cell)
        yield row


def to_json(value: Any, field: pa.Field) -> Any:
    """One value of an Arrow field as JSON can say it."""
    kind = field.type
    if isinstance(value, str):
        return _read(value) if (field.metadata or {}).get(b"encoding") == b"json" else value
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else _named(value)
    if isinstance(value, dict):
        return {part.name: to_json(value[part.name], part) for part in kind}
    if isinstance(value, list) and pa.types.is_map(kind):
        return [[to_json(key, kind.key_field), to_json(item, kind.item_field)] for key, item in value]
    if isinstance(value, list):
        return [to_json(item, kind.value_field) for item in value]
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value)


def _read(text: str) -> Any:
    """Masking may have put a word in the place of the JSON: then it is just that word."""
    try:
        value = json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return text
    return text if _deeper(value, MAX_JSON_DEPTH) else value


def _deeper(value: Any, most: int) -> bool:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return most == 0 or any(_deeper(item, most - 1) for item in inside)


def _named(value: float) -> str:
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
