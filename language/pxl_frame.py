"""Operations on px.DataFrame -> a list of steps; what computes is done later, on the rows, by the client.

px.DataFrame(table='t', start_time='-5m')    df[df.a > 5]    df[['a', 'b']]    df.drop(['a'])    df.head(10)
df.groupby(['a']).agg(n=('b', px.count))     df.agg(n=('b', px.count))         df.c = df.a / df.b
"""

from __future__ import annotations

import ast
from dataclasses import replace
from datetime import timedelta
from typing import Final

from language import durations
from language.errors import TemplateError
from language.frame_syntax import Aggregate, Assign, Drop, Filter, GroupBy, Head, Operation, Result, Select, Since
from language.pxl_columns import Columns
from language.pxl_source import SIGNATURES, Source
from language.pxl_values import Frame, Names

DEFAULT_HEAD: Final = 5  # as PxL has it
MAX_ROWS: Final = 1_000_000
MAX_OPERATIONS: Final = 64
MAX_RESULTS: Final = 64
METHODS: Final = ("drop", "head", "groupby", "agg")
# Of Pixie's DataFrame, and why not here.
_NOT_HERE: Final = {
    "merge": "two tables are not joined here: export both and join them where you look at them",
    "append": "two tables are not joined here: show both with px.display",
    "rolling": "there are no windows: group by px.bin(df.time_, width)",
    "stream": "rows are streamed as they come, without it",
    "ctx": "there is no cluster behind a row: narrow the target of the tracepoint",
}


def frame(source: Source, names: Names, node: ast.expr) -> Frame | None:
    """The table that an expression means; None when it is no table at all. Raises TemplateError."""
    match node:
        case ast.Name(id=name):
            return names.frame(name)
        case ast.Call(func=ast.Attribute(value=ast.Name(id="px"), attr="DataFrame")):
            return _table(source, names, node)
        case ast.Call(func=ast.Attribute(value=inner, attr=method)):
            base = frame(source, names, inner)
            return None if base is None else _method(source, names, node, base, method)
        case ast.Subscript(value=inner, slice=index):
            base = frame(source, names, inner)
            return None if base is None else _subscript(source, names, node, base, inner, index)
        case _:
            return None


def assigned(source: Source, names: Names, target: ast.expr, value: ast.expr) -> None:
    """`df.column = ...` or `df['column'] = ...`. Raises TemplateError."""
    match target:
        case ast.Attribute(value=ast.Name(id=name), attr=column):
            pass
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str() as column)):
            pass
        case _:
            source.refuse(target, "a column is assigned as df.column = ..., df being a px.DataFrame")
    base = names.frame(name)
    if base is None:
        source.refuse(target, f"{name} is no px.DataFrame, so it has no columns")
    _whole(source, target, base)
    if not column.isidentifier():
        source.refuse(target, f"a column's name is letters, digits and _, {column[:80]!r} came")
    cell = Columns(source, names, name, base).cell(value)
    columns = base.columns if base.columns is None or column in base.columns else (*base.columns, column)
    names.assign(name, replace(_then(source, target, base, Assign(column, cell)), columns=columns))


def _table(source: Source, names: Names, call: ast.Call) -> Frame:
    source.function(call)
    found = source.arguments(call, SIGNATURES["px.DataFrame"], {"select", "start_time"})
    name = names.text(found["table"], "a table")
    made = Frame(name, (), names.columns_of(name))
    if "start_time" in found:
        made = _then(source, call, made, Since(_age(source, names, found["start_time"])))
    if "select" in found:
        chosen = names.texts(found["select"], "a column")
        made = _selected(source, names, call, made, chosen)
    return made


def _age(source: Source, names: Names, node: ast.expr) -> timedelta:
    text = names.text(node, "start_time")
    if not text.startswith("-"):
        source.refuse(node, f"start_time is how long ago and begins with a minus, like '-5m'; {text[:80]!r} came")
    try:
        return durations.parse(text[1:])
    except TemplateError as error:
        source.refuse(node, f"start_time is how long ago, like '-5m'; {error.problem}")


def _then(source: Source, node: ast.AST, base: Frame, operation: Operation) -> Frame:
    if len(base.operations) >= MAX_OPERATIONS:
        source.refuse(node, f"a table has at most {MAX_OPERATIONS} operations")
    return replace(base, operations=(*base.operations, operation))


def _whole(source: Source, node: ast.AST, base: Frame) -> None:
    if base.by is not None:
        source.refuse(node, "what was grouped is aggregated first: df.groupby('a').agg(n=('b', px.count))")


def _method(source: Source, names: Names, call: ast.Call, base: Frame, method: str) -> Frame:
    if method != "agg":
        _whole(source, call, base)
    match method:
        case "head":
            found = source.arguments(call, ("n",), {"n"})
            rows = names.constant(found["n"], "a number of rows") if "n" in found else DEFAULT_HEAD
            if not isinstance(rows, int) or not 1 <= rows <= MAX_ROWS:
                source.refuse(call, f"head takes 1 to {MAX_ROWS} rows, {rows!r} came")
            return _then(source, call, base, Head(rows))
        case "drop":
            found = source.arguments(call, ("columns",))
            gone = _known(source, names, call, base, names.texts(found["columns"], "a column"))
            left = None if base.columns is None else tuple(name for name in base.columns if name not in gone)
            return replace(_then(source, call, base, Drop(gone)), columns=left)
        case "groupby":
            found = source.arguments(call, ("by",))
            by = _known(source, names, call, base, names.texts(found["by"], "a column"))
            if not by or len(set(by)) != len(by):
                source.refuse(call, "groupby takes one or more different columns")
            return replace(base, by=by)
        case "agg":
            return _aggregated(source, names, call, base)
        case _ if method in _NOT_HERE:
            source.refuse(call.func, f"DataFrame.{method} is not supported: {_NOT_HERE[method]}")
        case _:
            return source.unknown(call.func, f"DataFrame.{method}", [f"DataFrame.{name}" for name in METHODS])
    return None


def _aggregated(source: Source, names: Names, call: ast.Call, base: Frame) -> Frame:
    if call.args or not call.keywords or len(call.keywords) > MAX_RESULTS:
        source.refuse(call, f"agg takes 1 to {MAX_RESULTS} columns by name: agg(n=('units', px.count))")
    by = base.by or ()
    results = []
    for keyword in call.keywords:
        match keyword:
            case ast.keyword(arg=str() as name, value=ast.Tuple(elts=[column, how])):
                written = ast.unparse(how)
                if written not in set(Aggregate):
                    source.unknown(how, written, list(Aggregate))
                (of,) = _known(source, names, column, base, (names.text(column, "a column"),))
                results.append(Result(name, of, Aggregate(written)))
            case _:
                source.refuse(keyword, "agg is written agg(n=('units', px.count)): a new name, a column, a function")
    made = [*by, *(result.name for result in results)]
    if len(set(made)) != len(made):
        source.refuse(call, "agg makes a column twice, or one that it groups by")
    grouped = GroupBy(by, tuple(results))
    return replace(_then(source, call, base, grouped), columns=tuple(made), by=None)


def _subscript(source: Source, names: Names, node: ast.expr, base: Frame, inner: ast.expr, index: ast.expr) -> Frame:
    _whole(source, node, base)
    if isinstance(index, ast.List | ast.Tuple):
        return _selected(source, names, index, base, names.texts(index, "a column"))
    if isinstance(index, ast.Constant):
        source.refuse(index, "columns are chosen with a list, df[['a', 'b']], rows with a condition, df[df.a > 5]")
    name = inner.id if isinstance(inner, ast.Name) else ""
    return _then(source, node, base, Filter(Columns(source, names, name, base).cell(index)))


def _selected(source: Source, names: Names, node: ast.AST, base: Frame, chosen: tuple[str, ...]) -> Frame:
    found = _known(source, names, node, base, chosen)
    if not found:
        source.refuse(node, "a selection names at least one column")
    return replace(_then(source, node, base, Select(found)), columns=found)


def _known(source: Source, names: Names, node: ast.AST, base: Frame, chosen: tuple[str, ...]) -> tuple[str, ...]:
    columns = Columns(source, names, "", base)
    return tuple(columns.column(node, name).name for name in chosen)
