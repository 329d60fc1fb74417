"""A function decorated with @pxtrace.probe -> the columns it captures and where the probe has to fire."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final

from language import expressions
from language.errors import ExpressionError
from language.model import At, Position
from language.pxl_source import SIGNATURES, Source
from language.pxl_values import Names, ProbeFunction
from language.syntax import Builtin, Ret

_RESULT: Final = re.compile(r"\$([0-9]+)|~r([0-9]+)(?![A-Za-z0-9_])", re.ASCII)  # "$0" of PxL, "~r0" of Go's DWARF
_FIELDS: Final = ("pxtrace.ArgExpr", "pxtrace.RetExpr", "pxtrace.FunctionLatency")


def probe_function(source: Source, names: Names, node: ast.FunctionDef) -> ProbeFunction:
    """Read the one statement such a function has. Raises TemplateError."""
    symbol = _symbol(source, names, node)
    arguments = node.args
    if arguments.args or arguments.posonlyargs or arguments.kwonlyargs or arguments.vararg or arguments.kwarg:
        source.refuse(node, "a probe function takes no arguments: the probed function's are named with pxtrace.ArgExpr")
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    match body:
        case [ast.Return(value=ast.expr() as value)]:
            fields = list(_fields(source, names, value))
        case _:
            source.refuse(
                node, "a probe function is one `return` of a list of columns: [{'units': pxtrace.ArgExpr('l.Units')}]"
            )
    return ProbeFunction(
        function=symbol,
        description=" ".join((ast.get_docstring(node) or "").split()),
        at=_at({kind for _, kind, _, _ in fields}),
        captures=tuple((column, expression, place) for column, _, expression, place in fields),
        position=source.place(node.decorator_list[0]),
    )


def _symbol(source: Source, names: Names, node: ast.FunctionDef) -> str:
    match node.decorator_list:
        case [ast.Call() as call] if source.function(call) == "pxtrace.probe":
            return names.text(source.arguments(call, SIGNATURES["pxtrace.probe"])["fn_name"], "the probed function")
        case [decorator, *_]:
            return source.unknown(decorator, f"@{ast.unparse(decorator)}", ["@pxtrace.probe"])
        case _:
            return source.refuse(node, "a function is a probe: decorate it with @pxtrace.probe('the.function')")


def _fields(source: Source, names: Names, value: ast.expr) -> Iterator[tuple[str, str, str, Position]]:
    """column, kind of field, expression, place; in the order they are written."""
    dictionaries = value.elts if isinstance(value, ast.List | ast.Tuple) else [value]
    for dictionary in dictionaries:
        if not isinstance(dictionary, ast.Dict):
            source.refuse(dictionary, "columns are written {'name': pxtrace.ArgExpr('l.Units')}")
        for key, field in zip(dictionary.keys, dictionary.values, strict=True):
            if key is None:
                source.refuse(dictionary, "columns are written {'name': pxtrace.ArgExpr('l.Units')}, without **")
            column = names.text(key, "a column's name")
            kind, expression = _field(source, names, field)
            yield column, kind, expression, source.place(key)


def _field(source: Source, names: Names, node: ast.expr) -> tuple[str, str]:
    if not isinstance(node, ast.Call):
        source.refuse(node, f"a column is one of {', '.join(_FIELDS)}")
    kind = source.function(node)
    if kind not in _FIELDS:
        source.refuse(node, f"a column is one of {', '.join(_FIELDS)}; {kind} came")
    arguments = source.arguments(node, SIGNATURES[kind])
    if kind == "pxtrace.FunctionLatency":
        return kind, expressions.render(Builtin("latency"))
    argument = arguments["expr"]
    text = names.text(argument, f"the expression of {kind}")
    return kind, _expression(source, argument, kind, text)


def _expression(source: Source, node: ast.expr, kind: str, text: str) -> str:
    written = (
        _RESULT.sub(lambda match: f"ret({match[1] or match[2]})", text, count=1) if kind.endswith("RetExpr") else text
    )
    try:
        expression = expressions.parse(written)
    except ExpressionError as error:
        place = source.place(node)
        if error.position is not None and isinstance(node, ast.Constant) and written == text:
            place = Position(place.line, place.column + error.position.column)  # behind the opening quote
        raise ExpressionError(f"{kind}({text!r}): {error.problem}", place) from error
    builtins = [root for root in expressions.roots(expression) if isinstance(root, Builtin) and root.name == "latency"]
    if builtins:
        source.refuse(node, f"{kind} reads one end of the call: write pxtrace.FunctionLatency()")
    if kind.endswith("ArgExpr") and any(isinstance(root, Ret) for root in expressions.roots(expression)):
        source.refuse(node, "results are read with pxtrace.RetExpr('$0')")
    return expressions.render(expression)


def _at(kinds: set[str]) -> At:
    if kinds == {"pxtrace.ArgExpr"}:
        return At.ENTRY
    return At.RETURN if kinds == {"pxtrace.RetExpr"} else At.ENTRY_AND_RETURN
