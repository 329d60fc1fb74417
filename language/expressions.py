"""Expression text -> a small typed syntax tree (`language.syntax`), and back.

The grammar is Python's own, read with `ast` and never executed; what is not in the list of the probe language is
refused with its place and with what is supported. `agents.compiler` binds the tree to a binary's types; review and
masking look at it too.
"""

from __future__ import annotations

import ast
import io
import keyword
import tokenize
from collections.abc import Collection, Iterator
from typing import Final

from language.errors import ExpressionError
from language.expression_reader import SUPPORTED, read
from language.model import Position
from language.syntax import (
    And,
    Arithmetic,
    Attribute,
    Builtin,
    Compare,
    Constant,
    Deref,
    Expression,
    Index,
    Len,
    Name,
    Not,
    Or,
    Param,
    Ret,
    Slice,
)

__all__ = [
    "And",
    "Arithmetic",
    "Attribute",
    "Builtin",
    "Compare",
    "Constant",
    "Deref",
    "Expression",
    "Index",
    "Len",
    "Name",
    "Not",
    "Or",
    "Param",
    "Ret",
    "Slice",
    "children",
    "parse",
    "render",
    "roots",
    "walk",
]

MAX_TEXT: Final = 1024  # characters: more than a reviewer reads in one go
_OWN_KEYWORDS: Final = frozenset({"and", "or", "not", "in", "is", "if", "else", "True", "False", "None", "lambda"})
BOLD_A: Final = 0x1D41A  # MATHEMATICAL BOLD SMALL A, the first of 26


def parse(text: str, parameters: Collection[str] = ()) -> Expression:
    """Read one expression. `parameters` are the names that `params.x` may use.

    Raises ExpressionError with the position inside `text`.
    """
    flat = text.replace("\r", " ").replace("\n", " ").replace("\t", " ")  # folded YAML; every column stays where it is
    if len(flat) > MAX_TEXT:
        raise ExpressionError(f"an expression has at most {MAX_TEXT} characters, this one has {len(flat)}")
    if not flat.strip():
        raise ExpressionError("the expression is empty", Position(1, 1))
    if not flat.isprintable():
        bad = next(i for i, character in enumerate(flat) if not character.isprintable())
        raise ExpressionError("an expression holds printable characters only", Position(1, bad + 1))
    indent = len(flat) - len(flat.lstrip())
    tree, source = _python(flat.strip(), indent)
    return read(tree, parameters, lambda node: Position(1, indent + _column(source, node) + 1))


def children(expression: Expression) -> tuple[Expression, ...]:
    """The direct parts of a node, left to right."""
    match expression:
        case Attribute(value) | Index(value) | Slice(value) | Len(value) | Deref(value) | Not(value):
            return (value,)
        case Compare(_, left, right):
            return (left, *right) if isinstance(right, tuple) else (left, right)
        case Arithmetic(_, left, right):
            return (left, right)
        case And(values) | Or(values):
            return values
        case Name() | Ret() | Builtin() | Constant() | Param():
            return ()


def walk(expression: Expression) -> Iterator[Expression]:
    """The node and everything below it, each before its parts."""
    yield expression
    for child in children(expression):
        yield from walk(child)


def roots(expression: Expression) -> Iterator[Name | Ret | Builtin]:
    """Where the values come from: arguments, results, builtins."""
    return (node for node in walk(expression) if isinstance(node, Name | Ret | Builtin))


def render(expression: Expression) -> str:
    """The expression as text; `parse` makes the same tree of it."""
    return _render(expression, 0)


def _python(text: str, indent: int) -> tuple[ast.expr, str]:
    """Python's syntax tree, and the text that its columns count in."""
    try:
        return _strict(text, indent), text
    except SyntaxError as error:
        disguised = _disguise(text)
        if disguised != text:
            try:
                return _strict(disguised, indent), disguised
            except SyntaxError:
                pass
        column = indent + (error.offset or len(text) + 1)  # no offset: something is missing at the end
        raise ExpressionError(f"not an expression ({error.msg}); {SUPPORTED}", Position(1, column)) from error


def _strict(text: str, indent: int) -> ast.expr:
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                raise ExpressionError(
                    "an expression has no comments: what stands behind # would be ignored",
                    Position(1, indent + token.start[1] + 1),
                )
        return ast.parse(text, mode="eval").body
    except tokenize.TokenError as error:
        raise SyntaxError(str(error.args[0])) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError("the expression is nested too deeply to be read", Position(1, indent + 1)) from error


def _disguise(text: str) -> str:
    """Let a program's `from` or `class` be a name, though Python has it as a keyword.

    Python compares keywords before it normalises identifiers (NFKC, Language Reference 2.3): a bold first letter
    makes another token of the same length that is read back as the plain name.
    """
    foreign = frozenset(keyword.kwlist) - _OWN_KEYWORDS
    letters = list(text)
    before = ""
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            is_name = token.string in foreign or (before == "." and keyword.iskeyword(token.string))
            if token.type == tokenize.NAME and is_name and token.string[0].islower():
                letters[token.start[1]] = chr(BOLD_A + ord(token.string[0]) - ord("a"))
            before = token.string
    except tokenize.TokenError:
        return text
    return "".join(letters)


def _column(text: str, node: ast.AST) -> int:
    offset: int = getattr(node, "col_offset", 0)  # in UTF-8 bytes; a disguised letter has four of them
    return len(text.encode()[:offset].decode(errors="ignore"))


# --- to text ---------------------------------------------------------------------------------------------------

_OR, _AND, _NOT, _COMPARE, _SUM, _PRODUCT, _ATOM = range(1, 8)  # how tightly each binds


def _render(expression: Expression, outer: int) -> str:
    text, binds = _text(expression)
    return f"({text})" if binds < outer else text


def _text(expression: Expression) -> tuple[str, int]:
    match expression:
        case Name(name):
            return name, _ATOM
        case Attribute(value, field):
            return f"{_render(value, _ATOM)}.{field}", _ATOM
        case Index(value, index):
            return f"{_render(value, _ATOM)}[{index}]", _ATOM
        case Slice(value, count):
            return f"{_render(value, _ATOM)}[:{count}]", _ATOM
        case Len(value):
            return f"len({_render(value, 0)})", _ATOM
        case Deref(value):
            return f"deref({_render(value, 0)})", _ATOM
        case Ret(index):
            return f"ret({index})", _ATOM
        case Builtin(name):
            return f"{name}()", _ATOM
        case Param(name):
            return f"params.{name}", _ATOM
        case Constant(constant):
            return _quoted(constant), _ATOM
        case Not(value):
            return f"not {_render(value, _NOT)}", _NOT
        case And(values):
            return " and ".join(_render(value, _AND + 1) for value in values), _AND
        case Or(values):
            return " or ".join(_render(value, _OR + 1) for value in values), _OR
        case Compare("startswith", left, right) if not isinstance(right, tuple):
            return f"startswith({_render(left, 0)}, {_render(right, 0)})", _ATOM
        case Compare(op, left, right):
            side = _listed(right) if isinstance(right, tuple) else _render(right, _COMPARE + 1)
            return f"{_render(left, _COMPARE + 1)} {op} {side}", _COMPARE
        case Arithmetic(op, left, right):
            binds = _SUM if op in {"+", "-"} else _PRODUCT
            return f"{_render(left, binds)} {op} {_render(right, binds + 1)}", binds


def _listed(choices: tuple[Constant, ...]) -> str:
    inside = ", ".join(_quoted(choice.value) for choice in choices)
    return f"({inside},)" if len(choices) == 1 else f"({inside})"


def _quoted(value: int | str | bool | None) -> str:
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return "nil" if value is None else str(value)
