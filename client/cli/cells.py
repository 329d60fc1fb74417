"""One cell's expression and one row -> its value, or Missing when a part of it is absent.

An absent value is neither equal nor unequal to anything, and nothing is computed from it: missing, never zero. Division by
zero has no value either. Entered by `displays`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from client.sdk import ClientError
from language.frame_syntax import (
    QUANTILES,
    Aggregate,
    Binary,
    Call,
    Cell,
    Column,
    Function,
    Item,
    Literal,
    OneOf,
    Unary,
)

_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARITHMETIC: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}


class Missing(Exception):
    """A value that the row does not have."""


def value(cell: Cell, row: Mapping[str, Any]) -> Any:
    """Raises Missing, ClientError for types that do not fit."""
    match cell:
        case Column(name):
            return _present(row.get(name))
        case Literal(constant):
            return constant
        case OneOf(values):
            return [literal.value for literal in values]
        case Item(inner, key):
            return _present(_item(value(inner, row), key))
        case Unary("not", inner):
            return not holds(inner, row)
        case Unary(_, inner):
            return _computed("-", lambda _, number: -number, 0, value(inner, row))
        case Binary("and", left, right):
            return holds(left, row) and holds(right, row)
        case Binary("or", left, right):
            return holds(left, row) or holds(right, row)
        case Binary("in", left, right):
            return value(left, row) in value(right, row)
        case Binary(op, left, right) if op in _COMPARE:
            return _computed(op, _COMPARE[op], value(left, row), value(right, row))
        case Binary(op, left, right):
            return _computed(op, _ARITHMETIC[op], value(left, row), value(right, row))
        case Call(function, arguments):
            return _called(function, [value(argument, row) for argument in arguments])


def holds(condition: Cell, row: Mapping[str, Any]) -> bool:
    """Whether a condition is true of a row; of what is not there, nothing is."""
    try:
        return bool(value(condition, row))
    except Missing:
        return False


def aggregated(how: Aggregate, values: Sequence[Any]) -> Any:
    """Of those that are there; None when none is, but a count of none is 0."""
    if how is Aggregate.COUNT:
        return len(values)
    if not values:
        return None
    try:
        match how:
            case Aggregate.SUM:
                return math.fsum(values) if any(isinstance(each, float) for each in values) else sum(values)
            case Aggregate.MEAN:
                return math.fsum(values) / len(values)
            case Aggregate.MIN:
                return min(values)
            case Aggregate.MAX:
                return max(values)
            case Aggregate.QUANTILES:
                ordered = sorted(values)
                return {f"p{share:02d}": _quantile(ordered, share / 100) for share in QUANTILES}
    except TypeError as problem:
        raise ClientError(f"{how} of values of different kinds: {problem}") from problem


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Linear between the two neighbours, as numpy's and pandas' default has it (Hyndman and Fan's type 7)."""
    at = share * (len(ordered) - 1)
    below = math.floor(at)
    above = min(below + 1, len(ordered) - 1)
    return float(ordered[below] + (ordered[above] - ordered[below]) * (at - below))


def _called(function: Function, given: list[Any]) -> Any:
    match function:
        case Function.BIN:
            return _computed("px.bin", lambda number, size: number - number % size, *given)
        case Function.STRIP_PREFIX:
            prefix, text = given
            return _text(function, text).removeprefix(_text(function, prefix))
        case Function.DURATION_NANOS:
            return given[0]
        case Function.PLUCK:
            return _present(_item(given[0], given[1]))
        case Function.CONTAINS:
            return _text(function, given[1]) in _text(function, given[0])
        case Function.LENGTH:
            return len(given[0])
        case Function.STARTS_WITH:
            return _text(function, given[0]).startswith(_text(function, given[1]))


def _computed(op: str, compute: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    try:
        return compute(left, right)
    except ZeroDivisionError as problem:
        raise Missing from problem
    except TypeError as problem:
        raise ClientError(f"{op} of {left!r:.60} and {right!r:.60}: give both the same type") from problem


def _text(function: Function, given: Any) -> str:
    if not isinstance(given, str):
        raise ClientError(f"{function} takes texts, {given!r:.60} came")
    return given


def _present(found: Any) -> Any:
    if found is None:
        raise Missing
    return found


def _item(found: Any, key: Any) -> Any:
    try:
        return found[key]
    except (KeyError, IndexError, TypeError):
        return None
