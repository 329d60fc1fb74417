"""An expression over columns in a PxL script -> a Cell: `df.latency / 1000 > 5`, `px.bin(df.units, 10)`.

Columns are written with the name of the frame that is being changed; other names stand for constants. Nothing is executed.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

from language.frame_syntax import Binary, Call, Cell, Column, Function, Item, Literal, OneOf, Unary
from language.pxl_source import Source
from language.pxl_values import Frame, Names

_ARITHMETIC: Final[Mapping[type[ast.operator], str]] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
}
_COMPARISONS: Final[Mapping[type[ast.cmpop], str]] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
}
# What each function takes, in PxL's order.
ARGUMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    Function.BIN: ("value", "bin_size"),
    Function.STRIP_PREFIX: ("prefix", "s"),
    Function.DURATION_NANOS: ("value",),
    Function.PLUCK: ("json", "key"),
    Function.CONTAINS: ("s", "part"),
    Function.LENGTH: ("s",),
}
_SAME: Final = {"px.pluck_float64": "px.pluck", "px.pluck_int64": "px.pluck", "px.length": "len"}


class Columns:
    """Reads cells of one frame; `name` is what the script calls it."""

    def __init__(self, source: Source, names: Names, name: str, frame: Frame) -> None:
        self._source = source
        self._names = names
        self._name = name
        self._frame = frame

    def cell(self, node: ast.expr) -> Cell:
        """Raises TemplateError."""
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=column) if name == self._name:
                return self.column(node, column)
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str() as column)) if (
                name == self._name
            ):
                return self.column(node, column)
            case ast.Attribute(value=inner, attr=field):
                return Item(self.cell(inner), field)
            case ast.Subscript(value=inner, slice=ast.Constant(value=(str() | int()) as key)):
                return Item(self.cell(inner), key)
            case ast.Constant(value=(bool() | int() | float() | str()) as value):
                return Literal(value)
            case ast.Name():
                return Literal(self._names.constant(node, "what a column is compared with"))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return Unary("not", self.cell(operand))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return Unary("-", self.cell(operand))
            case ast.BoolOp(op=op, values=values):
                word = "and" if isinstance(op, ast.And) else "or"
                whole, *rest = [self.cell(value) for value in values]
                for part in rest:
                    whole = Binary(word, whole, part)
                return whole
            case ast.BinOp(left=left, op=operator, right=right):
                return self._arithmetic(node, left, operator, right)
            case ast.Compare(left=left, ops=ops, comparators=rights):
                return self._compared(node, left, ops, rights)
            case ast.Call():
                return self._call(node)
            case _:
                self._source.refuse(
                    node,
                    "a column is computed from columns, constants, + - * / // %, comparisons, and/or/not and px functions",
                )
        return None

    def column(self, node: ast.AST, name: str) -> Column:
        known = self._frame.columns
        if known is not None and name not in known:
            near = get_close_matches(name, known, 1, cutoff=0.0)
            self._source.refuse(
                node,
                f"{self._name or 'the table'} has no column {name[:80]!r}; the nearest is {near[0]}"
                if near
                else "the table has no columns left",
            )
        return Column(name)

    def _arithmetic(self, node: ast.expr, left: ast.expr, operator: ast.operator, right: ast.expr) -> Cell:
        if isinstance(operator, ast.BitAnd | ast.BitOr):
            word = "and" if isinstance(operator, ast.BitAnd) else "or"
            self._source.refuse(node, f"conditions are joined with `{word}`")
        if type(operator) not in _ARITHMETIC:
            self._source.refuse(node, f"columns are computed with {' '.join(_ARITHMETIC.values())}")
        return Binary(_ARITHMETIC[type(operator)], self.cell(left), self.cell(right))

    def _compared(self, node: ast.expr, left: ast.expr, ops: list[ast.cmpop], rights: list[ast.expr]) -> Cell:
        whole: Cell | None = None
        for operator, right in zip(ops, rights, strict=True):
            if type(operator) not in _COMPARISONS:
                self._source.refuse(node, f"columns are compared with {' '.join(_COMPARISONS.values())}")
            op = _COMPARISONS[type(operator)]
            other = self._one_of(right) if op == "in" else self.cell(right)
            part = Binary(op, self.cell(left), other)
            whole = part if whole is None else Binary("and", whole, part)
            left = right
        if whole is None:  # Python's own grammar has at least one
            self._source.refuse(node, "a comparison has two sides")
        return whole

    def _one_of(self, node: ast.expr) -> OneOf:
        if not isinstance(node, ast.List | ast.Tuple):
            self._source.refuse(node, "`in` is followed by a list of constants")
        found = [self.cell(item) for item in node.elts]
        return OneOf(tuple(value for value in found if isinstance(value, Literal)))

    def _call(self, node: ast.Call) -> Cell:
        if isinstance(node.func, ast.Attribute) and node.func.attr == "startswith" and len(node.args) == 1:
            return Call(Function.STARTS_WITH, (self.cell(node.func.value), self.cell(node.args[0])))
        written = ast.unparse(node.func)
        name = _SAME.get(written, written)
        if name == Function.STARTS_WITH:
            found = self._source.arguments(node, ("s", "prefix"))
            return Call(Function.STARTS_WITH, (self.cell(found["s"]), self.cell(found["prefix"])))
        if name not in ARGUMENTS:
            self._source.unknown(node.func, written, [*ARGUMENTS, *_SAME])
        found = self._source.arguments(node, ARGUMENTS[name])
        return Call(Function(name), tuple(self.cell(found[argument]) for argument in ARGUMENTS[name]))
