"""Columns -> the JSON object of each hit, as DESIGN.md ("Agent command line") shows it.

Works on decoded and on masked batches alike. `goid` is there for Go only, `_absent` and `_cut` only when they say
something. JSON has no NaN and no infinity: they become the strings "NaN", "Infinity", "-Infinity".
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Final

import pyarrow as pa

ABSENT: Final = "_absent"
CUT: Final = "_cut"


def to_rows(columns: pa.RecordBatch) -> Iterator[dict[str, object]]:
    """One object a row, in order, keys in the order of the columns."""
    fields = list(columns.schema)
    lists = [column.to_pylist() for column in columns.columns]
    for values in zip(*lists, strict=True):
        row: dict[str, object] = {}
        for field, value in zip(fields, values, strict=True):
            if field.name in {ABSENT, CUT}:
                if value:
                    row[field.name] = dict(value)
            else:
                row[field.name] = plain(value, field)
        yield row


def plain(value: object, field: pa.Field) -> object:
    """A value of an Arrow column as JSON types; texts of a field marked as JSON are read."""
    kind = field.type
    if value is None:
        return None
    if isinstance(value, str):
        return _read(value) if (field.metadata or {}).get(b"encoding") == b"json" else value
    if isinstance(value, float):
        return value if math.isfinite(value) else ("NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity")
    if isinstance(value, dict) and pa.types.is_struct(kind):
        return {name: plain(each, kind.field(name)) for name, each in value.items()}
    if isinstance(value, list) and (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return [plain(each, kind.value_field) for each in value]
    if isinstance(value, list) and pa.types.is_map(kind):
        return [[plain(key, kind.key_field), plain(each, kind.item_field)] for key, each in value]
    return value


def dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _read(text: str) -> object:
    """Masking may have replaced the text: then it is a plain string."""
    try:
        return json.loads(text)
    except ValueError:
        return text
