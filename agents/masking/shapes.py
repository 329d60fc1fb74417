"""Arrow's nested arrays taken apart and put together, without the values that lie unseen behind nulls and slices.

A null entry or a slice may leave bytes in the buffers that nobody reads and that would still be sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class Entries:
    """A list or map array: entry i has `lengths[i]` items, which follow one another in `values` (and `keys`)."""

    lengths: npt.NDArray[np.int64]
    nulls: npt.NDArray[np.bool_]
    values: pa.Array
    keys: pa.Array = None  # a map's

    def offsets(self) -> pa.Array:
        return pa.array(np.concatenate(([0], np.cumsum(self.lengths))).astype(np.int32))

    def as_list(self, values: pa.Array, item: pa.Field) -> pa.Array:
        """`item` is the old items' field: its metadata says how texts are to be read."""
        return pa.ListArray.from_arrays(self.offsets(), values, pa.list_(_retyped(item, values)), mask=self._mask())

    def as_map(self, keys: pa.Array, values: pa.Array, kind: pa.MapType) -> pa.Array:
        key = kind.key_field.with_type(keys.type)
        masked = pa.map_(key, _retyped(kind.item_field, values))
        return pa.MapArray.from_arrays(self.offsets(), keys, values, masked, mask=self._mask())

    def _mask(self) -> pa.Array | None:
        return pa.array(self.nulls) if self.nulls.any() else None


def list_entries(array: pa.Array) -> Entries:
    """A list, large list or fixed-size list."""
    lengths = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return Entries(lengths, null_flags(array), array.flatten())


def map_entries(array: pa.Array) -> Entries:
    nulls = null_flags(array)
    offsets = array.offsets.to_numpy(zero_copy_only=False).astype(np.int64)
    lengths = np.diff(offsets)
    if nulls.any() and lengths[nulls].any():
        seen = np.repeat(~nulls, lengths)
        chosen = pa.array(np.arange(offsets[0], offsets[-1])[seen])
        lengths = np.where(nulls, 0, lengths)
        return Entries(lengths, nulls, array.items.take(chosen), array.keys.take(chosen))
    start, count = int(offsets[0]), int(offsets[-1] - offsets[0])
    return Entries(lengths, nulls, array.items.slice(start, count), array.keys.slice(start, count))


def struct_of(array: pa.Array, children: list[pa.Array]) -> pa.Array:
    """The struct array with other children, which may have other types."""
    if not children:
        return array
    fields = [_retyped(field, child) for field, child in zip(array.type, children, strict=True)]
    return pa.StructArray.from_arrays(children, fields=fields, mask=pa.array(null_flags(array)))


def _retyped(field: pa.Field, array: pa.Array) -> pa.Field:
    return field.with_type(array.type).with_nullable(nullable=True)


def constant(array: pa.Array, word: str) -> pa.Array:
    """`word` for every value that is there; nulls stay."""
    nulls = null_flags(array)
    return pa.array(np.full(len(array), word, dtype=object), pa.string(), mask=nulls)


def clean(array: pa.Array) -> pa.Array:
    """The same values of a flat array, with nothing behind its nulls."""
    if array.null_count == 0 or pa.types.is_null(array.type):
        return array
    kept = array.drop_null()
    positions = np.cumsum(~null_flags(array)) - 1
    return kept.take(pa.array(positions, mask=null_flags(array)))


def null_flags(array: Any) -> npt.NDArray[np.bool_]:
    flags: npt.NDArray[np.bool_] = array.is_null().to_numpy(zero_copy_only=False).astype(bool)
    return flags
