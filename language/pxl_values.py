"""The values a PxL script's names can stand for, and the reading of constants.

A name is a constant, a probe function or a table being transformed; there is nothing else to compute with.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Final

from language.frame_syntax import Operation
from language.model import At, Position
from language.pxl_source import Source

MAX_TEXT: Final = 4096  # characters of a joined string: joining a name to itself doubles it with every line


@dataclass(frozen=True)
class ProbeFunction:
    """A function decorated with @pxtrace.probe: what it captures, and where each column stands in the source."""

    function: str
    description: str
    at: At
    captures: tuple[tuple[str, str, Position], ...]  # column, expression, place
    position: Position


@dataclass(frozen=True)
class Frame:
    """px.DataFrame(table) and what was done to it."""

    table: str
    operations: tuple[Operation, ...] = ()
    columns: tuple[str, ...] | None = None  # None: not known here, the table may come from another script
    by: tuple[str, ...] | None = None  # grouped, not yet aggregated


Value = str | int | float | ProbeFunction | Frame
IMPLICIT: Final = ("time_", "pid", "tid", "goid")  # every row has them; goid when the program is a Go one


class Names:
    """The module-level names of a script, as assigned so far."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._values: dict[str, Value] = {}
        self._tables: dict[str, tuple[str, ...]] = {}

    def assign(self, name: str, value: Value) -> None:
        self._values[name] = value

    def get(self, node: ast.Name) -> Value:
        if node.id not in self._values:
            self._source.unknown(node, node.id, self._values)
        return self._values[node.id]

    def writes(self, table: str, columns: tuple[str, ...]) -> None:
        """A tracepoint of this script fills this table."""
        known = self._tables.get(table, IMPLICIT)
        self._tables[table] = (*known, *(column for column in columns if column not in known))

    def columns_of(self, table: str) -> tuple[str, ...] | None:
        """None for a table that this script does not fill."""
        return self._tables.get(table)

    def frame(self, name: str) -> Frame | None:
        value = self._values.get(name)
        return value if isinstance(value, Frame) else None

    def constant(self, node: ast.expr, what: str) -> str | int:
        """A string or a whole number: written down, named before, or strings joined by +."""
        match node:
            case ast.Constant(value=(str() | int()) as value) if not isinstance(value, bool):
                return value
            case ast.Name():
                named = self.get(node)
                if isinstance(named, str | int):
                    return named
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                joined = self.text(left, what) + self.text(right, what)
                if len(joined) > MAX_TEXT:
                    self._source.refuse(node, f"a string that is put together has at most {MAX_TEXT} characters")
                return joined
            case _:
                pass
        return self._source.refuse(node, f"{what} is a string or a number, or a name that stands for one")

    def text(self, node: ast.expr, what: str) -> str:
        value = self.constant(node, what)
        if not isinstance(value, str):
            self._source.refuse(node, f"{what} is a string, {value!r} came")
        return value

    def texts(self, node: ast.expr, what: str) -> tuple[str, ...]:
        """One string, or a list of strings."""
        if isinstance(node, ast.List | ast.Tuple):
            return tuple(self.text(item, what) for item in node.elts)
        return (self.text(node, what),)
