"""What a script does with its rows before it shows them, step by step in the script's order.

Entered by `live` with batches of masked rows and the operations that the control plane read out of the script. Steps
that look at one row at a time pass it on at once; a groupby keeps what it needs and gives its rows when all have come.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from client.cli.cells import Missing, aggregated, holds, value
from client.sdk import ClientError
from language import frame_json
from language.errors import TemplateError
from language.frame_syntax import Assign, Call, Drop, Filter, Function, GroupBy, Head, Operation, Select, Since

Row = Mapping[str, Any]
MAX_KEPT: Final = 2_000_000  # values that a groupby holds; a client of a few hundred MiB
NOT_COMPUTED: Final = "not computed"  # the reason of a cell whose parts are absent


class _Step(Protocol):
    def push(self, rows: Iterable[Row]) -> Iterator[Row]: ...
    def finish(self) -> Iterator[Row]: ...


class Display:
    """One shown table. `grouped`: its rows come when the stream ends."""

    def __init__(self, name: str, operations: Sequence[Operation]) -> None:
        self.name = name
        self._operations = tuple(operations)
        self._steps = [_step(operation) for operation in operations]
        self.columns = _columns(operations)
        self.durations = frozenset(
            operation.column
            for operation in operations
            if isinstance(operation, Assign)
            and isinstance(operation.value, Call)
            and operation.value.function is Function.DURATION_NANOS
        )

    @classmethod
    def of(cls, display: Mapping[str, Any]) -> Display:
        """From the control plane's words. Raises ClientError for an operation that this client does not know."""
        try:
            operations = [frame_json.from_json(operation) for operation in display.get("operations", [])]
        except TemplateError as problem:
            raise ClientError(f"this client is too old for the script: {problem}") from problem
        return cls(str(display.get("name", "")), operations)

    @property
    def grouped(self) -> bool:
        return any(isinstance(operation, GroupBy) for operation in self._operations)

    def apply(self, rows: Iterable[Row]) -> Iterator[dict[str, Any]]:
        """The rows to show of one batch; what a head has let through is remembered from batch to batch."""
        return self._through(rows, 0)

    def finish(self) -> Iterator[dict[str, Any]]:
        """What steps kept back until all rows had come."""
        for place, step in enumerate(self._steps):
            yield from self._through(step.finish(), place + 1)

    def _through(self, rows: Iterable[Row], start: int) -> Iterator[dict[str, Any]]:
        for step in self._steps[start:]:
            rows = step.push(rows)
        return (dict(row) for row in rows)


class _Rows:
    """A step that keeps nothing back."""

    def finish(self) -> Iterator[Row]:
        return iter(())


@dataclass
class _Filter(_Rows):
    operation: Filter

    def push(self, rows: Iterable[Row]) -> Iterator[Row]:
        return (row for row in rows if holds(self.operation.condition, row))


@dataclass
class _Assign(_Rows):
    operation: Assign

    def push(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            absent = {name: why for name, why in row.get("_absent", {}).items() if name != self.operation.column}
            try:
                made: Any = value(self.operation.value, row)
            except Missing:
                made, absent[self.operation.column] = None, NOT_COMPUTED
            rest = {name: cell for name, cell in row.items() if name != "_absent"}
            yield {**rest, self.operation.column: made} | ({"_absent": absent} if absent else {})


@dataclass
class _Columns(_Rows):
    """Select and drop. Why a cell is absent or cut belongs to the row and stays."""

    keep: tuple[str, ...] | None
    gone: frozenset[str] = frozenset()

    def push(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            marks = {name: cell for name, cell in row.items() if name.startswith("_")}
            if self.keep is None:
                yield {name: cell for name, cell in row.items() if name not in self.gone}
            else:
                yield {name: row.get(name) for name in self.keep} | marks


@dataclass
class _Head(_Rows):
    left: int

    def push(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            if self.left <= 0:
                return
            self.left -= 1
            yield row


@dataclass
class _Since(_Rows):
    operation: Since

    def push(self, rows: Iterable[Row]) -> Iterator[Row]:
        oldest = time.time_ns() - int(self.operation.age.total_seconds() * 1e9)
        return (row for row in rows if row.get("time_", oldest) >= oldest)


@dataclass
class _GroupBy:
    """An absent key is a group of its own: rows that cannot be placed are shown, not dropped."""

    operation: GroupBy
    _kept: int = 0
    _groups: dict[tuple[Any, ...], list[list[Any]]] = field(default_factory=dict)
    _keys: dict[tuple[Any, ...], tuple[Any, ...]] = field(default_factory=dict)

    def push(self, rows: Iterable[Row]) -> Iterator[Row]:
        results = self.operation.results
        for row in rows:
            shown = tuple(row.get(name) for name in self.operation.by)
            key = tuple(_comparable(cell) for cell in shown)
            group = self._groups.setdefault(key, [[] for _ in results])
            self._keys.setdefault(key, shown)
            for values, result in zip(group, results, strict=True):
                cell = row.get(result.column)
                if cell is not None:
                    values.append(cell)
                    self._kept += 1
            if self._kept > MAX_KEPT:
                raise ClientError(f"the groups hold more than {MAX_KEPT} values: filter first, or take fewer rows")
        return iter(())

    def finish(self) -> Iterator[Row]:
        if not self._groups and not self.operation.by:
            self._groups[()], self._keys[()] = [[] for _ in self.operation.results], ()
        for key in sorted(self._groups):
            row = dict(zip(self.operation.by, self._keys[key], strict=True))
            for values, result in zip(self._groups[key], self.operation.results, strict=True):
                row[result.name] = aggregated(result.how, values)
            yield row


def _comparable(cell: Any) -> tuple[int, Any]:
    """Orders cells of different kinds: numbers, texts, structured ones, absent ones last."""
    if cell is None:
        return 3, ""
    if isinstance(cell, bool | int | float):
        return 0, cell
    return (1, cell) if isinstance(cell, str) else (2, repr(cell))


def _step(operation: Operation) -> _Step:
    match operation:
        case Filter():
            return _Filter(operation)
        case Assign():
            return _Assign(operation)
        case Select(columns):
            return _Columns(columns)
        case Drop(columns):
            return _Columns(None, frozenset(columns))
        case Head(rows):
            return _Head(rows)
        case Since():
            return _Since(operation)
        case GroupBy():
            return _GroupBy(operation)


def _columns(operations: Iterable[Operation]) -> tuple[str, ...]:
    """What the last row-shaping step leaves, in order; empty when the script leaves it to the table."""
    known: tuple[str, ...] = ()
    for operation in operations:
        match operation:
            case Select(columns):
                known = columns
            case GroupBy(by, results):
                known = (*by, *(result.name for result in results))
            case Assign(column) if known and column not in known:
                known = (*known, column)
            case Drop(columns):
                known = tuple(name for name in known if name not in columns)
            case _:
                pass
    return known
