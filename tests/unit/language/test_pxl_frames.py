"""px.DataFrame in scripts: what is accepted means what it says, the rest is refused with line, column and what to use."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from language import frame_json
from language.errors import TemplateError
from language.frame_syntax import (
    Aggregate,
    Assign,
    Binary,
    Call,
    Column,
    Drop,
    Filter,
    Function,
    GroupBy,
    Head,
    Item,
    Literal,
    OneOf,
    Result,
    Select,
    Since,
    Unary,
)
from language.pxl_front_end import load
from tests.builders.templates import SUM_PXL

UNITS = Column("units")


def operations(script: str, before: str = "df = px.DataFrame('t')\n"):
    return load(f"import px\n{before}{script}\npx.display(df)\n").displays[0].operations


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("df = df[df.units > 5]", (Filter(Binary(">", UNITS, Literal(5))),)),
        ("df = df[df['units'] != 1.5]", (Filter(Binary("!=", UNITS, Literal(1.5))),)),
        ("df = df[df.units in [1, 2]]", (Filter(Binary("in", UNITS, OneOf((Literal(1), Literal(2))))),)),
        ("df = df[not df.ok]", (Filter(Unary("not", Column("ok"))),)),
        ("df = df[df.o.Id == 'x']", (Filter(Binary("==", Item(Column("o"), "Id"), Literal("x"))),)),
        ("df.ms = df.units / 1.0e6", (Assign("ms", Binary("/", UNITS, Literal(1e6))),)),
        ("df['b'] = px.bin(df.units, 10)", (Assign("b", Call(Function.BIN, (UNITS, Literal(10)))),)),
        ("df.b = px.bin(value=df.units, bin_size=10)", (Assign("b", Call(Function.BIN, (UNITS, Literal(10)))),)),
        (
            "df.p = px.strip_prefix('/a', df.p)",
            (Assign("p", Call(Function.STRIP_PREFIX, (Literal("/a"), Column("p")))),),
        ),
        ("df.l = px.DurationNanos(df.l)", (Assign("l", Call(Function.DURATION_NANOS, (Column("l"),))),)),
        ("df = df[['a', 'b']].drop('b').head(3)", (Select(("a", "b")), Drop(("b",)), Head(3))),
        ("df = df.head(n=2)", (Head(2),)),
        ("df = df.groupby('a').agg(n=('b', px.count))", (GroupBy(("a",), (Result("n", "b", Aggregate.COUNT),)),)),
        ("df = df.agg(q=('b', px.quantiles))", (GroupBy((), (Result("q", "b", Aggregate.QUANTILES),)),)),
    ],
)
def test_an_operation_is_read(script, expected) -> None:
    assert operations(script) == expected


def test_a_start_time_and_a_selection_of_the_table_are_steps() -> None:
    found = operations("", "df = px.DataFrame(table='t', select=['a'], start_time='-1h30m')\n")
    assert found == (Since(timedelta(hours=1, minutes=30)), Select(("a",)))


def test_several_tables_are_shown_each_with_its_own_steps() -> None:
    text = (
        SUM_PXL
        + "df = px.DataFrame('money_sum')\nslow = df[df.units > 5]\npx.display(slow, 'slow')\npx.display(df.head(1), 'first')\n"
    )
    shown = load(text).displays
    assert [(display.name, len(display.operations)) for display in shown] == [("output", 0), ("slow", 1), ("first", 1)]


@pytest.mark.parametrize(
    ("script", "line", "column", "part"),
    [
        ("df = df.merge(df)", 3, 6, "joined"),
        ("df = df.append(df)", 3, 6, "px.display"),
        ("df = df.rolling('1s')", 3, 6, "px.bin(df.time_, width)"),
        ("df = df.grupby('a')", 3, 6, "DataFrame.groupby"),
        ("df = df.groupby('a')", 4, 12, "aggregated first"),
        ("df = df.groupby('a').head(1)", 3, 6, "aggregated first"),
        ("df = df.groupby('a').agg(n=('b', px.cont))", 3, 34, "px.count"),
        ("df = df.groupby('a').agg(('b', px.count))", 3, 6, "by name"),
        ("df = df.groupby('a').agg(a=('b', px.count))", 3, 6, "twice"),
        ("df = df.groupby([]).agg(a=('b', px.count))", 3, 6, "one or more"),
        ("df = df['a']", 3, 9, "df[['a', 'b']]"),
        ("df = df[df.a > 5 & df.b]", 3, 16, "joined with `and`"),
        ("df.x = df.a ** 2", 3, 8, "+ - * / // %"),
        ("df.x = df.a is None", 3, 8, "compared with"),
        ("df.x = px.upid_to_service_name(df.a)", 3, 8, "px.strip_prefix"),
        ("df.x = px.bins(df.a, 5)", 3, 8, "px.bin"),
        ("df.x = px.bin(df.a)", 3, 8, "needs bin_size"),
        ("df.x = [1]", 3, 8, "computed from columns"),
        ("df.x = other.a", 3, 8, "other"),
        ("fd.x = 5", 3, 1, "no px.DataFrame"),
        ("df = df.head(0)", 3, 6, "1 to"),
        ("df = px.DataFrame('t', start_time='5m')", 3, 35, "minus"),
        ("df = px.DataFrame('t', start_time='-1.5h')", 3, 35, "is not a duration"),
        ("df = px.DataFrame('t', end_time='-5m')", 3, 24, "start_time"),
        ("df = df[['a']][df.b > 1]", 3, 16, "b"),
    ],
)
def test_the_rest_is_refused_with_its_place(script, line, column, part) -> None:
    with pytest.raises(TemplateError) as refused:
        operations(script)
    place = refused.value.position
    assert part in refused.value.problem, refused.value.problem
    assert (place.line, place.column) == (line, column), (place, refused.value.problem)


@pytest.mark.parametrize(
    ("script", "part"),
    [
        ("df = df[df.unit > 5]", "no column 'unit'; the nearest is units"),
        ("df = df.drop('sums')", "nearest is sum"),
        ("df = df[['units']]\ndf = df[df.sum > 1]", "no column 'sum'; the nearest is units"),
        ("df = df.groupby('units').agg(n=('sum', px.count))\ndf = df[df.sum > 1]", "no column 'sum'"),
    ],
)
def test_a_column_of_the_scripts_own_probe_is_checked(script, part) -> None:
    with pytest.raises(TemplateError) as refused:
        load(SUM_PXL + f"df = px.DataFrame('money_sum')\n{script}\npx.display(df)\n")
    assert part in refused.value.problem


def test_what_every_row_has_is_a_column() -> None:
    load(
        SUM_PXL + "df = px.DataFrame('money_sum')\ndf = df[['time_', 'pid', 'tid', 'goid', 'units']]\npx.display(df)\n"
    )


cells = st.recursive(
    st.one_of(
        st.sampled_from("abc").map(Column),
        (st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5) | st.booleans()).map(
            Literal
        ),
    ),
    lambda inner: st.one_of(
        st.builds(Binary, st.sampled_from(["+", "-", "/", "==", "<", "and", "or"]), inner, inner),
        st.builds(Unary, st.sampled_from(["not", "-"]), inner),
        st.builds(Item, inner, st.sampled_from(["f", 0])),
        st.builds(lambda a, b: Call(Function.BIN, (a, b)), inner, inner),
    ),
    max_leaves=8,
)
columns = st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True).map(tuple)
steps = st.one_of(
    st.builds(Filter, cells),
    st.builds(Assign, st.sampled_from("xyz"), cells),
    st.builds(Select, columns),
    st.builds(Drop, columns),
    st.builds(Head, st.integers(1, 100)),
    st.builds(Since, st.integers(0, 10**9).map(lambda ms: timedelta(milliseconds=ms))),
    st.builds(
        GroupBy,
        columns,
        st.lists(
            st.builds(Result, st.sampled_from("xyz"), st.sampled_from("abc"), st.sampled_from(Aggregate)), max_size=2
        ).map(tuple),
    ),
)


@given(steps)
def test_every_step_travels_as_json(step) -> None:
    assert frame_json.from_json(frame_json.to_json(step)) == step


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["filter", "op", "left", "value", "groupby", "agg", "head"]), inner, max_size=3
            )
        ),
        max_leaves=10,
    )
)
def test_foreign_json_is_refused_or_read_never_worse(document) -> None:
    if isinstance(document, dict):
        with contextlib.suppress(TemplateError):
            frame_json.from_json(document)
