"""One version of a table as CSV, JSON lines, Parquet or Arrow, in pieces.

The entry in the log and the first batches come out of one transaction; the rest follows a few batches a transaction, so
that an export keeps no writer waiting. Rows that are stored after it began are not in it.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyarrow import parquet

from control_plane.foundation.database import Database
from control_plane.foundation.errors import NotFound
from control_plane.foundation.identifiers import TenantId
from control_plane.foundation.uninterrupted import uninterrupted
from control_plane.policy.model import Grant
from control_plane.records.arrow_batches import stored_batch
from control_plane.records.model import Column, Table
from control_plane.records.reading import batches_of_version, newest_place, tables_of
from control_plane.records.rows import to_rows
from control_plane.records.service import RecordService
from control_plane.records.unifying import fitted, unified

PIECE: Final = 1 << 16  # bytes handed on at once of a file
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet runs a cell that begins so (OWASP, CSV injection)


class Format(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    ARROW = "arrow"


MEDIA_TYPES: Final = {
    Format.CSV: "text/csv",
    Format.JSONL: "application/jsonl",
    Format.PARQUET: "application/vnd.apache.parquet",
    Format.ARROW: "application/vnd.apache.arrow.stream",
}


@dataclass(frozen=True)
class Export:
    """`version` of `table` as `pieces`."""

    table: str
    version: int
    format: Format
    pieces: AsyncIterator[bytes]


class RecordExports:
    def __init__(self, database: Database, records: RecordService) -> None:
        self._database = database
        self._records = records

    async def open(self, grant: Grant, table: str, form: Format, version: int | None = None) -> Export:
        """The newest version unless one is named. Raises NotFound."""
        tenant = grant.resource.tenant
        async with self._records.reading(grant, f"table/{table}") as session:
            versions = {found.version: found for found in await tables_of(session, tenant, table)}
            chosen = versions.get(max(versions) if version is None else version) if versions else None
            if chosen is None:
                raise NotFound(f"there is no table {table[:64]!r} of that version; `probegate tables` lists them")
            await self._records.readable(session, grant, table, None)
            end = await newest_place(session, tenant, table)
            detail = {"what": "export", "format": form.value, "version": chosen.version, "rows": chosen.rows}
            await self._records.log(session, grant, f"table/{table}", detail)
        batches = self._batches(grant, chosen, end.position)
        pieces = self._lines(batches, chosen, form) if form in {Format.CSV, Format.JSONL} else _file(batches, form)
        return Export(table, chosen.version, form, pieces)

    async def _some(self, tenant: TenantId, table: Table, position: int, end: int) -> list[tuple[int, bytes]]:
        async with self._database.transaction(tenant) as session:
            rows = await batches_of_version(session, tenant, table.name, table.version, position)
            return [(row.position, row.arrow) for row in rows if row.position < end]

    async def _batches(self, grant: Grant, table: Table, end: int) -> AsyncIterator[pa.RecordBatch]:
        position = 0
        while True:
            found = await uninterrupted(self._some(grant.resource.tenant, table, position, end))
            for _, arrow in found:
                yield stored_batch(arrow)
            if not found:
                return
            position = found[-1][0] + 1

    async def _lines(self, batches: AsyncIterator[pa.RecordBatch], table: Table, form: Format) -> AsyncIterator[bytes]:
        write = _json_lines if form is Format.JSONL else _csv_lines(table.columns)
        if form is Format.CSV:
            yield _csv([[column.name for column in table.columns]])
        async for batch in batches:
            yield write(to_rows(batch))


def _json_lines(rows: Iterable[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows).encode()


def _csv_lines(columns: tuple[Column, ...]) -> Callable[[Iterable[dict[str, Any]]], bytes]:
    names = [column.name for column in columns]
    return lambda rows: _csv([_cell(row.get(name)) for name in names] for row in rows)


def _csv(lines: Iterable[list[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows(lines)  # RFC 4180
    return out.getvalue().encode()


def _cell(value: Any) -> str:
    """Text as it is, but never as a formula; what is nested as JSON; nothing for null."""
    if value is None:
        return ""
    if isinstance(value, str):
        return "'" + value if value.startswith(_FORMULA) else value
    return json.dumps(value, ensure_ascii=False)


async def _file(batches: AsyncIterator[pa.RecordBatch], form: Format) -> AsyncIterator[bytes]:
    """Two passes: the batches go into a scratch file as they are, then into one schema."""
    with tempfile.TemporaryDirectory(prefix="probegate-export-") as directory:
        parts = [part async for part in _spilled(batches, Path(directory))]
        schema = unified(pa.ipc.open_stream(part).schema for part in parts)
        target = Path(directory) / "export"
        await asyncio.to_thread(_write, target, schema, parts, form)
        with target.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece


async def _spilled(batches: AsyncIterator[pa.RecordBatch], directory: Path) -> AsyncIterator[Path]:
    number = 0
    async for batch in batches:
        part = directory / f"{number}.arrow"
        number += 1
        with pa.ipc.new_stream(part, batch.schema) as writer:
            writer.write_batch(batch)
        yield part


def _write(target: Path, schema: pa.Schema, parts: list[Path], form: Format) -> None:
    opened = parquet.ParquetWriter(target, schema) if form is Format.PARQUET else pa.ipc.new_stream(target, schema)
    with opened as writer:
        for batch in _fitted(schema, parts):
            writer.write_batch(batch)


def _fitted(schema: pa.Schema, parts: list[Path]) -> Iterator[pa.RecordBatch]:
    for part in parts:
        with pa.ipc.open_stream(part) as reader:
            yield fitted(reader.read_next_batch(), schema)
