"""Data on stdout, talk on stderr: rows as a table for people, as JSON, JSON lines, YAML or CSV for programs."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

Row = Mapping[str, Any]
PIPE_WIDTH: Final = 10_000  # characters; wider than any table that somebody would read


class Form(StrEnum):
    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    YAML = "yaml"
    CSV = "csv"


def say(text: str) -> None:
    """To the person, on stderr."""
    print(text, file=sys.stderr)


def show(rows: Iterable[Row], form: Form, columns: Sequence[str] = ()) -> None:
    """Print rows. `columns` chooses and orders what a table and CSV show; programs get all of every row."""
    found = [dict(row) for row in rows]
    match form:
        case Form.JSON:
            print(json.dumps(found, indent=2, ensure_ascii=False))
        case Form.JSONL:
            for row in found:
                print(json.dumps(row, ensure_ascii=False))
        case Form.YAML:
            print(yaml.safe_dump(found, sort_keys=False, allow_unicode=True), end="")
        case Form.CSV:
            _csv(found, columns or names(found))
        case Form.TABLE:
            print_table(found, columns or names(found))


def show_one(value: Mapping[str, Any], form: Form) -> None:
    """Print one object: as `key: value` lines for people."""
    match form:
        case Form.JSON | Form.JSONL:
            print(json.dumps(value, indent=2 if form is Form.JSON else None, ensure_ascii=False))
        case Form.YAML | Form.TABLE:
            print(yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True), end="")
        case Form.CSV:
            _csv([dict(value)], list(value))


def names(rows: Iterable[Row]) -> list[str]:
    """Column names in the order they first come."""
    seen: dict[str, None] = {}
    for row in rows:
        seen.update(dict.fromkeys(row))
    return list(seen)


def print_table(rows: Sequence[Row], columns: Sequence[str]) -> None:
    """A plain table. Every cell is text, whatever it holds: captured values carry no markup and no control codes."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell(row.get(column))) for column in columns))
    console().print(table)


def console() -> Console:
    """As wide as the terminal; a pipe has no width, and nothing is folded in it."""
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(width=width, markup=False, highlight=False)


def cell(value: object) -> str:
    if value is None:
        return "-"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _csv(rows: Sequence[Row], columns: Sequence[str]) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_csv_cell(row.get(column)) for column in columns])


def _csv_cell(value: object) -> object:
    """A cell that begins like a formula is quoted: a spreadsheet would run a captured `=cmd()`."""
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value[:1] in {"=", "+", "-", "@", "\t", "\r"} else value
    return value if isinstance(value, int | float) else json.dumps(value, ensure_ascii=False)
