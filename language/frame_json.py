"""Operations on rows as JSON, and back: how the control plane tells a client what a script shows.

Reading is strict: a client that does not know an operation refuses the script instead of leaving a step out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from language.errors import TemplateError
from language.frame_syntax import (
    ARITHMETIC,
    COMPARISONS,
    LOGIC,
    Aggregate,
    Assign,
    Binary,
    Call,
    Cell,
    Column,
    Drop,
    Filter,
    Function,
    GroupBy,
    Head,
    Item,
    Literal,
    OneOf,
    Operation,
    Result,
    Select,
    Since,
    Unary,
)

MAX_NESTING: Final = 64  # of an expression; the front end makes no deeper ones


def to_json(operation: Operation) -> dict[str, Any]:
    match operation:
        case Filter(condition):
            return {"filter": _cell(condition)}
        case Assign(column, value):
            return {"assign": column, "value": _cell(value)}
        case Select(columns):
            return {"select": list(columns)}
        case Drop(columns):
            return {"drop": list(columns)}
        case Head(rows):
            return {"head": rows}
        case Since(age):
            return {"since_ms": age // timedelta(milliseconds=1)}
        case GroupBy(by, results):
            return {"groupby": list(by), "agg": [[r.name, r.column, r.how.value] for r in results]}


def from_json(document: Mapping[str, Any]) -> Operation:
    """Raises TemplateError for an operation that this version does not know."""
    try:
        match dict(document):
            case {"filter": condition, **rest} if not rest:
                return Filter(_read(condition))
            case {"assign": str(column), "value": value, **rest} if not rest:
                return Assign(column, _read(value))
            case {"select": [*columns], **rest} if not rest:
                return Select(_texts(columns))
            case {"drop": [*columns], **rest} if not rest:
                return Drop(_texts(columns))
            case {"head": int(rows), **rest} if not rest:
                return Head(rows)
            case {"since_ms": int(age), **rest} if not rest:
                return Since(timedelta(milliseconds=age))
            case {"groupby": [*by], "agg": [*results], **rest} if not rest:
                return GroupBy(_texts(by), tuple(Result(name, column, Aggregate(how)) for name, column, how in results))
    except (ValueError, TypeError) as error:
        raise TemplateError(f"an operation cannot be read: {error}") from error
    raise TemplateError(f"this version does not know the operation {', '.join(map(str, document))}")


def _cell(cell: Cell) -> dict[str, Any]:
    match cell:
        case Column(name):
            return {"column": name}
        case Literal(value):
            return {"value": value}
        case OneOf(values):
            return {"values": [literal.value for literal in values]}
        case Item(value, key):
            return {"item": key, "of": _cell(value)}
        case Unary(op, value):
            return {"op": op, "of": _cell(value)}
        case Binary(op, left, right):
            return {"op": op, "left": _cell(left), "right": _cell(right)}
        case Call(function, arguments):
            return {"call": function.value, "arguments": [_cell(argument) for argument in arguments]}


def _read(document: Any, depth: int = 0) -> Cell:
    if depth > MAX_NESTING or not isinstance(document, Mapping):
        raise ValueError("an expression is an object, nested at most 64 deep")
    match dict(document):
        case {"column": str(name)}:
            return Column(name)
        case {"value": bool() | int() | float() | str() as value}:
            return Literal(value)
        case {"values": [*values]}:
            return OneOf(tuple(Literal(value) for value in values))
        case {"item": str() | int() as key, "of": inner}:
            return Item(_read(inner, depth + 1), key)
        case {"op": "not" | "-" as op, "of": inner}:
            return Unary(op, _read(inner, depth + 1))
        case {"op": str(op), "left": left, "right": right} if op in {*ARITHMETIC, *COMPARISONS, *LOGIC}:
            return Binary(op, _read(left, depth + 1), _read(right, depth + 1))
        case {"call": str(function), "arguments": [*arguments]}:
            return Call(Function(function), tuple(_read(argument, depth + 1) for argument in arguments))
        case _:
            raise ValueError(f"unknown expression {', '.join(map(str, document))}")


def _texts(values: Sequence[Any]) -> tuple[str, ...]:
    if not all(isinstance(value, str) for value in values):
        raise TypeError("columns are texts")
    return tuple(values)
