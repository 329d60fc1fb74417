"""What a script does with rows after they were captured and masked: the operations of px.DataFrame, and their expressions.

Made by `pxl_frame`, sent to the client as JSON (`frame_json`), computed there. Names are columns of the shown table; the
functions of the probed program play no part here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Function(StrEnum):
    """What a cell can be computed with, by PxL's names."""

    BIN = "px.bin"  # (value, size): the multiple of size at or below it
    STRIP_PREFIX = "px.strip_prefix"  # (prefix, text)
    DURATION_NANOS = "px.DurationNanos"  # (value): the same number, shown as a duration
    PLUCK = "px.pluck"  # (object, key)
    CONTAINS = "px.contains"  # (text, part)
    LENGTH = "len"
    STARTS_WITH = "startswith"


class Aggregate(StrEnum):
    """What a group's cells of one column come to; absent ones take no part."""

    COUNT = "px.count"
    SUM = "px.sum"
    MEAN = "px.mean"
    MIN = "px.min"
    MAX = "px.max"
    QUANTILES = "px.quantiles"  # an object: p01, p10, p25, p50, p75, p90, p99; linear between neighbours


QUANTILES = (1, 10, 25, 50, 75, 90, 99)


@dataclass(frozen=True)
class Column:
    name: str


@dataclass(frozen=True)
class Literal:
    value: int | float | str | bool


@dataclass(frozen=True)
class OneOf:
    """The right side of `in`."""

    values: tuple[Literal, ...]


@dataclass(frozen=True)
class Item:
    """A field or an item of a structured value."""

    value: Cell
    key: str | int


@dataclass(frozen=True)
class Unary:
    op: str  # "not", "-"
    value: Cell


@dataclass(frozen=True)
class Binary:
    op: str  # + - * / // % == != < <= > >= in and or
    left: Cell
    right: Cell


@dataclass(frozen=True)
class Call:
    function: Function
    arguments: tuple[Cell, ...]


Cell = Column | Literal | OneOf | Item | Unary | Binary | Call
ARITHMETIC = ("+", "-", "*", "/", "//", "%")
COMPARISONS = ("==", "!=", "<", "<=", ">", ">=", "in")
LOGIC = ("and", "or")


@dataclass(frozen=True)
class Filter:
    """Rows for which this holds."""

    condition: Cell


@dataclass(frozen=True)
class Assign:
    """A new column, or another value in one that is there."""

    column: str
    value: Cell


@dataclass(frozen=True)
class Select:
    """These columns, in this order."""

    columns: tuple[str, ...]


@dataclass(frozen=True)
class Drop:
    """All columns but these."""

    columns: tuple[str, ...]


@dataclass(frozen=True)
class Head:
    """The first rows."""

    rows: int


@dataclass(frozen=True)
class Since:
    """Rows not older than this, as of when they are shown."""

    age: timedelta


@dataclass(frozen=True)
class Result:
    """One column of an aggregation."""

    name: str
    column: str
    how: Aggregate


@dataclass(frozen=True)
class GroupBy:
    """One row for each combination of `by`, in their order; one row for all when `by` is empty."""

    by: tuple[str, ...]
    results: tuple[Result, ...]


Operation = Filter | Assign | Select | Drop | Head | Since | GroupBy
