"""Print rows as they come: a table that grows, or one JSON object a line; at the end the accounting, always.

Entered by `run` and `tracepoint watch` with a stream of events, left with how it ended.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from client.cli.displays import Display
from client.cli.output import Form, cell, console, names, say
from client.sdk.api import Event

HIDDEN: Final = {"pid", "tid", "goid"}  # in every row for programs; a person asked for the columns
MIN_WIDTH: Final = 10
MAX_WIDTH: Final = 40  # a longer cell breaks its line, nothing is cut


class LivePrinter:
    """Prints batches of rows of one table under one heading; a new heading when the columns change."""

    def __init__(self, form: Form, display: Display | None = None) -> None:
        self._form = form
        self._display = display or Display()
        self._columns: list[str] = []
        self._widths: dict[str, int] = {}
        self.rows = 0
        self.accounting: Mapping[str, Any] = {}
        self.ended = ""

    def consume(self, events: Iterator[Event], limit: int = 0) -> None:
        """Print until the stream ends, or `limit` rows (0: no limit)."""
        for event in events:
            if event.name == "rows":
                rows = list(self._display.apply(event.data["rows"]))
                rows = rows[: limit - self.rows] if limit else rows
                self._print(rows)
                self.rows += len(rows)
            elif event.name == "accounting":
                self.accounting = event.data
            elif event.name == "end":
                self.accounting = event.data.get("accounting") or self.accounting
                self.ended = str(event.data.get("reason", "ended"))
                return
            if limit and self.rows >= limit:
                self.ended = f"{limit} rows shown"
                return

    def _print(self, rows: Sequence[Mapping[str, Any]]) -> None:
        if self._form is not Form.TABLE:
            for row in rows:
                print(json.dumps(row, ensure_ascii=False), flush=True)
            return
        for row in rows:
            columns = self._display.columns or [name for name in names([row]) if name not in HIDDEN and name[0] != "_"]
            if not set(columns) <= set(self._columns):
                self._columns = [*self._columns, *(name for name in columns if name not in self._columns)]
                self._widths = {
                    name: min(MAX_WIDTH, max(MIN_WIDTH, len(name), len(cell(row.get(name))))) for name in self._columns
                }
                self._line({name: name for name in self._columns}, bold=True)
            self._line({**row} | {name: _why(row, name) for name in row.get("_absent", {})})

    def _line(self, row: Mapping[str, Any], *, bold: bool = False) -> None:
        text = "  ".join(cell(row.get(name)).ljust(self._widths[name]) for name in self._columns)
        console().print(text, style="bold" if bold else None, soft_wrap=True)


def accounting_line(accounting: Mapping[str, Any]) -> str:
    """`hits 120 = delivered 118 + throttled 2`: every hit has gone somewhere, and the sum is shown."""
    lost = accounting.get("lost") or {}
    parts = [
        (word, int(accounting.get(word, 0)))
        for word in ("delivered", "filtered", "sampled_out", "throttled", "expired")
    ]
    parts += [(f"lost ({reason})", int(count)) for reason, count in sorted(lost.items())]
    shown = [f"{word.replace('_', ' ')} {count}" for word, count in parts if count or word == "delivered"]
    return f"hits {accounting.get('hits', 0)} = " + " + ".join(shown)


def say_accounting(printer: LivePrinter) -> None:
    if printer.accounting:
        say(accounting_line(printer.accounting))


def _why(row: Mapping[str, Any], name: str) -> str:
    """An absent value shows its reason, never an empty cell that could be taken for a value."""
    return f"({row['_absent'][name]})" if row.get(name) is None else cell(row.get(name))
