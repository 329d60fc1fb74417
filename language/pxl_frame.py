"""Operations on px.DataFrame -> a list of steps; what computes is done later, on the rows, by the client or the query."""

from __future__ import annotations

import ast
import copy
from typing import Final

from language.expression_reader import read
from language.pxl_source import SIGNATURES, Source
from language.pxl_values import Frame, Names
from language.script import Drop, Filter, Head, Operation, Select

DEFAULT_HEAD: Final = 5  # as PxL has it
MAX_ROWS: Final = 1_000_000
MAX_OPERATIONS: Final = 64
METHODS: Final = ("drop", "head")


def frame(source: Source, names: Names, node: ast.expr) -> Frame | None:
    """The table that an expression means; None when it is no table at all. Raises TemplateError."""
    match node:
        case ast.Name(id=name):
            return names.frame(name)
        case ast.Call(func=ast.Attribute(value=ast.Name(id="px"), attr="DataFrame")):
            source.function(node)
            found = source.arguments(node, SIGNATURES["px.DataFrame"])
            return Frame(names.text(found["table"], "a table"))
        case ast.Call(func=ast.Attribute(value=inner, attr=method)):
            base = frame(source, names, inner)
            return None if base is None else _then(source, node, base, _method(source, names, node, method))
        case ast.Subscript(value=inner, slice=index):
            base = frame(source, names, inner)
            return None if base is None else _then(source, node, base, _subscript(source, names, inner, index))
        case _:
            return None


def _then(source: Source, node: ast.expr, base: Frame, operation: Operation) -> Frame:
    if len(base.operations) >= MAX_OPERATIONS:
        source.refuse(node, f"a table has at most {MAX_OPERATIONS} operations")
    return Frame(base.table, (*base.operations, operation))


def _method(source: Source, names: Names, call: ast.Call, method: str) -> Operation:
    match method:
        case "head":
            found = source.arguments(call, ("n",), {"n"})
            rows = names.constant(found["n"], "a number of rows") if "n" in found else DEFAULT_HEAD
            if not isinstance(rows, int) or not 1 <= rows <= MAX_ROWS:
                source.refuse(call, f"head takes 1 to {MAX_ROWS} rows, {rows!r} came")
            return Head(rows)
        case "drop":
            found = source.arguments(call, ("columns",))
            return Drop(names.texts(found["columns"], "a column"))
        case _:
            return source.unknown(call.func, f"DataFrame.{method}", [f"DataFrame.{name}" for name in METHODS])


def _subscript(source: Source, names: Names, inner: ast.expr, index: ast.expr) -> Operation:
    if isinstance(index, ast.List | ast.Tuple):
        return Select(names.texts(index, "a column"))
    if isinstance(index, ast.Constant):
        source.refuse(index, "columns are chosen with a list, df[['a', 'b']], rows with a condition, df[df.a > 5]")
    table = inner.id if isinstance(inner, ast.Name) else ""
    condition = _Columns(source, names, table).visit(copy.deepcopy(index))
    return Filter(read(condition, (), source.place))


class _Columns(ast.NodeTransformer):
    """`df.latency` and `df['latency']` become the name of the column, other names the constant they stand for."""

    def __init__(self, source: Source, names: Names, table: str) -> None:
        self._source = source
        self._names = names
        self._table = table

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        match node.value:
            case ast.Name(id=name) if name == self._table:
                return ast.copy_location(ast.Name(node.attr), node)
            case _:
                node.value = self.visit(node.value)
                return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        match node:
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str() as column)) if (
                name == self._table
            ):
                return ast.copy_location(ast.Name(column), node)
            case _:
                node.value = self.visit(node.value)
                return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        node.args = [self.visit(argument) for argument in node.args]  # the function's own name is not a column
        if isinstance(node.func, ast.Attribute):
            node.func.value = self.visit(node.func.value)
        return node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        value = self._names.constant(node, "what a column is compared with")
        return ast.copy_location(ast.Constant(value), node)
