"""Batches of one table version whose columns have other types -> one schema, and each batch made to fit it.

Masking turns a column of integers into one of texts where a card number was hidden, so one batch may have integers and
the next texts. The common type is then text; inside structs and lists only the part that differs changes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from control_plane.records.rows import to_json


def unified(schemas: Iterable[pa.Schema]) -> pa.Schema:
    """A schema that every one of them can be made to fit; columns in the order of their first appearance."""
    types: dict[str, pa.DataType] = {}
    for schema in schemas:
        for field in schema:
            types[field.name] = _common(types[field.name], field.type) if field.name in types else _plain(field.type)
    return pa.schema([pa.field(name, kind) for name, kind in types.items()])


def fitted(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch in that schema; a column that it does not have is null."""
    arrays = []
    for field in schema:
        at = batch.schema.get_field_index(field.name)
        arrays.append(pa.nulls(batch.num_rows, field.type) if at < 0 else _fit(batch.column(at), field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _common(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    other = _plain(other)
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        return pa.struct(list(unified((pa.schema(list(one)), pa.schema(list(other))))))
    if pa.types.is_list(one) and pa.types.is_list(other):
        return pa.list_(_common(one.value_type, other.value_type))
    if pa.types.is_map(one) and pa.types.is_map(other):
        return pa.map_(_common(one.key_type, other.key_type), _common(one.item_type, other.item_type))
    return pa.string()


def _plain(kind: pa.DataType) -> pa.DataType:
    """Without field metadata and with one spelling of lists, so that equal types are equal."""
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _plain(field.type)) for field in kind])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_plain(kind.value_type))
    if pa.types.is_map(kind):
        return pa.map_(_plain(kind.key_type), _plain(kind.item_type))
    return pa.string() if pa.types.is_large_string(kind) else kind


def _fit(array: pa.Array, target: pa.DataType) -> pa.Array:
    if array.type == target:
        return array
    return pa.array([_value(value, array.type, target) for value in array.to_pylist()], target)


def _value(value: Any, kind: pa.DataType, target: pa.DataType) -> Any:
    if value is None:
        return None
    if pa.types.is_struct(target):
        has = {field.name: field.type for field in kind}
        return {f.name: _value(value[f.name], has[f.name], f.type) if f.name in has else None for f in target}
    if pa.types.is_list(target):
        return [_value(item, kind.value_type, target.value_type) for item in value]
    if pa.types.is_map(target):
        return [
            (_value(key, kind.key_type, target.key_type), _value(item, kind.item_type, target.item_type))
            for key, item in value
        ]
    if pa.types.is_string(target) and not isinstance(value, str):
        shown = to_json(value, pa.field("", kind))
        return shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)
    return value
