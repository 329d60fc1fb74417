"""Rows as Arrow columns, before masking."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class RecordBatch:
    """Decoded rows of one probe, still unmasked: must not leave the process but through `agents.masking`.

    `columns` schema, in this order:
      time_    int64      unix ns
      pid, tid uint32
      goid     uint64     Go targets only
      <one column per capture>, typed by its value: int8..int64, uint8..uint64, bool, string (UTF-8; invalid bytes
               as U+FFFD), []byte and [N]byte as lower-case hex strings, struct, list, Go interfaces as
               struct<type: string, value: ...>; null for nil pointers and for absent values
      _absent  map<string, string>   path -> Reason, e.g. {"sum": "in_vector_register", "o.Items[2].Id": "not_resident"}
      _cut     map<string, uint64>   path -> true length of what was cut to maxString or maxItems
    Field metadata of each capture: b"type" its DWARF type name, b"expression" its source text, b"function" the function.
    Minted by `agents.decoding.service` only.
    """

    columns: pa.RecordBatch
