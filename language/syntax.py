"""The nodes of an expression: what `expressions.parse` makes of a text, and the compiler binds to a binary's types.

Frozen and plain, so that two expressions are equal exactly when they mean the same text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Name:
    """An argument or named result of the function, by its name in the program."""

    name: str


@dataclass(frozen=True)
class Attribute:
    """`value.field`, through any number of pointers."""

    value: Expression
    field: str


@dataclass(frozen=True)
class Index:
    """`value[index]` with a constant index, >= 0."""

    value: Expression
    index: int


@dataclass(frozen=True)
class Slice:
    """`value[:count]`: the first items, at most `count` of them."""

    value: Expression
    count: int


@dataclass(frozen=True)
class Len:
    value: Expression


@dataclass(frozen=True)
class Deref:
    value: Expression


@dataclass(frozen=True)
class Ret:
    """`ret(i)`: the i-th result, counted from 0; only at return."""

    index: int


@dataclass(frozen=True)
class Builtin:
    name: Literal["latency", "stack", "goid", "pid", "tid", "comm"]


@dataclass(frozen=True)
class Constant:
    value: int | str | bool | None  # None is nil


@dataclass(frozen=True)
class Param:
    """`params.name`, until parameters are bound and it becomes a Constant."""

    name: str


@dataclass(frozen=True)
class Compare:
    """One comparison; a chained one is an And of several."""

    op: Literal["==", "!=", "<", "<=", ">", ">=", "in", "startswith"]
    left: Expression
    right: Expression | tuple[Constant, ...]  # a tuple only for "in"


@dataclass(frozen=True)
class Arithmetic:
    op: Literal["+", "-", "*", "//", "%"]
    left: Expression
    right: Expression


@dataclass(frozen=True)
class Not:
    value: Expression


@dataclass(frozen=True)
class And:
    values: tuple[Expression, ...]


@dataclass(frozen=True)
class Or:
    values: tuple[Expression, ...]


Expression = (
    Name
    | Attribute
    | Index
    | Slice
    | Len
    | Deref
    | Ret
    | Builtin
    | Constant
    | Param
    | Compare
    | Arithmetic
    | Not
    | And
    | Or
)
