"""What a script does with its rows before it shows them: filter, select, drop, head, in the script's order.

Entered by `run` with the operations that the control plane read out of the script; the rows are masked already.
A comparison with a value that is not there is false: an absent value is neither equal nor unequal to anything.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from client.sdk import ClientError
from language import expressions
from language.errors import TemplateError
from language.expressions import And, Arithmetic, Attribute, Compare, Constant, Expression, Index, Len, Name, Not, Or

Row = Mapping[str, Any]

_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "startswith": lambda text, start: isinstance(text, str) and text.startswith(start),
}
_ARITHMETIC: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "%": operator.mod,
}


class _Missing(Exception):
    """A value that the row does not have."""


@dataclass
class Display:
    """One shown table. `columns` is what its last select chose; `left` how many rows its heads still let through."""

    name: str = ""
    columns: tuple[str, ...] = ()
    dropped: frozenset[str] = frozenset()
    steps: tuple[Expression | int, ...] = ()
    _taken: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, display: Mapping[str, Any]) -> Display:
        """From the control plane's words. Raises ClientError for an operation that this client does not know."""
        columns: tuple[str, ...] = ()
        dropped: set[str] = set()
        steps: list[Expression | int] = []
        for operation in display.get("operations", []):
            match operation:
                case {"filter": str(text)}:
                    steps.append(_condition(text))
                case {"select": list(chosen)}:
                    columns = tuple(chosen)
                case {"drop": list(gone)}:
                    dropped |= set(gone)
                case {"head": int(rows)}:
                    steps.append(rows)
                case _:
                    raise ClientError(f"this client is too old for the script: it does not know {operation}")
        return cls(
            str(display.get("name", "")),
            tuple(c for c in columns if c not in dropped),
            frozenset(dropped),
            tuple(steps),
        )

    def apply(self, rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
        """The rows to show; what a head has let through is remembered from batch to batch."""
        for row in rows:
            if all(self._passes(place, step, row) for place, step in enumerate(self.steps)):
                yield {name: value for name, value in row.items() if self._shown(name)}

    def _passes(self, place: int, step: Expression | int, row: Row) -> bool:
        if isinstance(step, int):
            self._taken[place] = self._taken.get(place, 0) + 1
            return self._taken[place] <= step
        try:
            return bool(_value(step, row))
        except _Missing:
            return False

    def _shown(self, name: str) -> bool:
        if name.startswith("_"):
            return True  # why a value is absent or cut belongs to the row
        return name in self.columns if self.columns else name not in self.dropped


def _condition(text: str) -> Expression:
    try:
        return expressions.parse(text)
    except TemplateError as problem:
        raise ClientError(f"the script's filter cannot be read: {problem}") from problem


def _value(expression: Expression, row: Row) -> Any:
    match expression:
        case Constant(value):
            return value
        case Name(name):
            return _present(row.get(name))
        case Attribute(inner, name):
            return _present(_item(_value(inner, row), name))
        case Index(inner, index):
            return _present(_item(_value(inner, row), index))
        case Len(inner):
            return len(_value(inner, row))
        case Not(inner):
            return not _value(inner, row)
        case And(values):
            return all(_value(value, row) for value in values)
        case Or(values):
            return any(_value(value, row) for value in values)
        case Arithmetic(op, left, right):
            return _ARITHMETIC[op](_value(left, row), _value(right, row))
        case Compare("in", left, right) if isinstance(right, tuple):
            return _value(left, row) in [constant.value for constant in right]
        case Compare(op, left, right) if not isinstance(right, tuple):
            return _compared(op, _value(left, row), _value(right, row))
    raise ClientError(f"a filter on rows cannot use {expressions.render(expression)}")


def _compared(op: str, left: Any, right: Any) -> bool:
    try:
        return _COMPARE[op](left, right)
    except TypeError as problem:
        raise ClientError(f"a filter compares {left!r} with {right!r}: give both the same type") from problem


def _present(value: Any) -> Any:
    if value is None:
        raise _Missing
    return value


def _item(value: Any, key: str | int) -> Any:
    try:
        return value[key]
    except (KeyError, IndexError, TypeError):
        return None
