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
    """Prints batches of rows of one table, once for each display of it; a new heading when the columns change.

    With several displays each has its name above its heading, and each row of the other forms says which it is for.
    """

    def __init__(self, form: Form, displays: Sequence[Display] = ()) -> None:
        self._form = form
        self._shown = [_Shown(display) for display in displays or (Display("", ()),)]
        self._last: _Shown | None = None
        self.rows = 0
        self.accounting: Mapping[str, Any] = {}
        self.ended = ""

    def consume(self, events: Iterator[Event], limit: int = 0) -> None:
        """Print until the stream ends, or `limit` rows (0: no limit) were shown, or taken where they are grouped."""
        for event in events:
            if event.name == "rows":
                self._take(event.data["rows"], limit)
            elif event.name == "accounting":
                self.accounting = event.data
            elif event.name == "end":
                self.accounting = event.data.get("accounting") or self.accounting
                self.ended = str(event.data.get("reason", "ended"))
                return
            if limit and self.rows >= limit:
                self.ended = f"{limit} rows shown"
                return

    def finish(self) -> None:
        """Print what was grouped, now that all rows have come."""
        for shown in self._shown:
            self._print(shown, list(shown.display.finish()))

    def _take(self, rows: Sequence[Mapping[str, Any]], limit: int) -> None:
        left = limit - self.rows if limit else len(rows)
        for number, shown in enumerate(self._shown):
            if shown.display.grouped:
                taken = rows[:left]
                found = list(shown.display.apply(taken))
            else:
                found = list(shown.display.apply(rows))[:left]
                taken = found
            if number == 0:
                self.rows += len(taken)
            self._print(shown, found)

    def _print(self, shown: _Shown, rows: Sequence[Mapping[str, Any]]) -> None:
        if self._form is not Form.TABLE:
            mark = {"_display": shown.display.name} if len(self._shown) > 1 else {}
            for row in rows:
                print(json.dumps({**row, **mark}, ensure_ascii=False), flush=True)
            return
        if rows and len(self._shown) > 1 and self._last is not shown:
            console().print(f"\n{shown.display.name or 'output'}", style="bold")
            self._last = shown
        for row in rows:
            shown.print(row)


class _Shown:
    """One display on the screen: the columns under its heading, and how wide they are."""

    def __init__(self, display: Display) -> None:
        self.display = display
        self._columns: list[str] = []
        self._widths: dict[str, int] = {}

    def print(self, row: Mapping[str, Any]) -> None:
        columns = self.display.columns or [name for name in names([row]) if name not in HIDDEN and name[0] != "_"]
        row = self._with_durations(row)
        if not set(columns) <= set(self._columns):
            self._columns = [*self._columns, *(name for name in columns if name not in self._columns)]
            self._widths = {
                name: min(MAX_WIDTH, max(MIN_WIDTH, len(name), len(cell(row.get(name))))) for name in self._columns
            }
            self._line({name: name for name in self._columns}, bold=True)
        self._line({**row} | {name: _why(row, name) for name in row.get("_absent", {})})

    def _with_durations(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        shown = {name: row[name] for name in self.display.durations if isinstance(row.get(name), int | float)}
        return {**row, **{name: duration(number) for name, number in shown.items()}}

    def _line(self, row: Mapping[str, Any], *, bold: bool = False) -> None:
        text = "  ".join(cell(row.get(name)).ljust(self._widths[name]) for name in self._columns)
        console().print(text, style="bold" if bold else None, soft_wrap=True)


def duration(nanoseconds: float) -> str:
    """For people, to four digits; programs get the nanoseconds."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if abs(nanoseconds) >= size:
            return f"{nanoseconds / size:.4g}{unit}"
    return f"{nanoseconds:.4g}ns"


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
