"""Python's syntax tree of an expression -> the probe language's own (`language.syntax`), or a refusal with its place.

Only what is listed here passes; every number and every string is bounded, since it becomes work in the kernel.
`expressions.parse` comes before it; PxL's front end uses it directly for what stands inside a script.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection
from difflib import get_close_matches
from typing import Final, NoReturn

from language.errors import ExpressionError
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

MAX_DEPTH: Final = 24  # levels: the compiler's passes recurse, and the kernel's stack is 512 bytes
MAX_NODES: Final = 128  # work for one hit of the probe
MAX_INDEX: Final = 65_535  # one read each, but the offset must stay far from overflow
MAX_COUNT: Final = 256  # items of a slice; limits.maxItems cuts further
MAX_RESULT: Final = 63  # more results than any real function has
MAX_LITERAL: Final = 256  # bytes of a string that the kernel program compares with
MAX_CHOICES: Final = 32  # values after `in`: each one is a comparison a hit
INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**64 - 1

SUPPORTED: Final = (
    "supported are names, x.field, x[0], x[:8], len(x), deref(p), ret(0), latency(), stack(), goid(), pid(), tid(), "
    "comm(), params.name, integers, strings, True, False, nil, comparison, in, startswith, and/or/not, + - * // %"
)
_BUILTINS: Final[tuple[str, ...]] = ("latency", "stack", "goid", "pid", "tid", "comm")
_FUNCTIONS: Final = ("len", "deref", "ret", "startswith", *_BUILTINS)
_WORDS: Final[dict[str, int | str | bool | None]] = {"nil": None, "true": True, "false": False}
_COMPARISONS: Final[dict[type[ast.cmpop], str]] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_ARITHMETIC: Final[dict[type[ast.operator], str]] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.FloorDiv: "//",
    ast.Mod: "%",
}


def read(tree: ast.expr, parameters: Collection[str], place: Callable[[ast.AST], Position]) -> Expression:
    """The expression that a Python syntax tree means. Raises ExpressionError at the `place` of what it cannot be."""
    return _Reader(parameters, place).read(tree)


class _Reader:
    """One walk over a Python syntax tree; counts nodes and depth on the way."""

    def __init__(self, parameters: Collection[str], place: Callable[[ast.AST], Position]) -> None:
        self._parameters = parameters
        self._place = place
        self._nodes = 0
        self._depth = 0

    def read(self, node: ast.expr) -> Expression:
        self._nodes += 1
        self._depth += 1
        if self._nodes > MAX_NODES:
            self._refuse(node, f"an expression has at most {MAX_NODES} parts")
        if self._depth > MAX_DEPTH:
            self._refuse(node, f"an expression is at most {MAX_DEPTH} levels deep")
        result = self._node(node)
        self._depth -= 1
        return result

    def _node(self, node: ast.expr) -> Expression:
        match node:
            case ast.Name(id=name):
                return self._name(node, name)
            case ast.Attribute(value=ast.Name(id="params"), attr=name):
                return self._parameter(node, name)
            case ast.Attribute(value=value, attr=field):
                return Attribute(self._value(value), field)
            case ast.Subscript(value=value, slice=ast.Slice() as part):
                return Slice(self._value(value), self._count(part))
            case ast.Subscript(value=value, slice=index):
                return Index(self._value(value), self._index(index))
            case ast.Call():
                return self._call(node)
            case ast.Constant(value=constant):
                return self._constant(node, constant)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as number)) if type(number) is int:
                return self._constant(node, -number)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return Arithmetic("-", Constant(0), self.read(operand))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return Not(self.read(operand))
            case ast.BoolOp(op=ast.And(), values=values):
                return And(tuple(self.read(value) for value in values))
            case ast.BoolOp(op=ast.Or(), values=values):
                return Or(tuple(self.read(value) for value in values))
            case ast.Compare():
                return self._comparison(node)
            case ast.BinOp(left=left, op=op, right=right):
                return self._arithmetic(node, left, op, right)
            case _:
                return self._refuse(node, f"{_kind(node)} is not part of the probe language; {SUPPORTED}")

    def _name(self, node: ast.expr, name: str) -> Expression:
        if name in _WORDS:
            return Constant(_WORDS[name])
        if name == "params":
            self._refuse(node, "params is used as params.name")
        return Name(name)

    def _parameter(self, node: ast.expr, name: str) -> Param:
        if name not in self._parameters:
            near = get_close_matches(name, self._parameters, 1)
            meant = f"; did you mean params.{near[0]}?" if near else ""
            known = ", ".join(sorted(self._parameters)) or "none"
            self._refuse(node, f"there is no parameter {name!r}{meant} (declared: {known})")
        return Param(name)

    def _value(self, node: ast.expr) -> Expression:
        """What a field, an item or a length is taken of: never a literal."""
        value = self.read(node)
        if not isinstance(value, Name | Ret | Attribute | Index | Slice | Deref):
            self._refuse(node, "only a value of the program has fields, items or a length")
        return value

    def _count(self, part: ast.Slice) -> int:
        if part.step is not None or (part.lower is not None and _literal(part.lower) != 0):
            self._refuse(part, "a slice starts at 0 and has no step: x[:8]")
        count = _literal(part.upper)
        if count is None or not 1 <= count <= MAX_COUNT:
            self._refuse(part, f"a slice ends with a number from 1 to {MAX_COUNT}: x[:8]")
        return count

    def _index(self, node: ast.expr) -> int:
        index = _literal(node)
        if index is None or not 0 <= index <= MAX_INDEX:
            self._refuse(node, f"an index is a number from 0 to {MAX_INDEX}: x[0]")
        return index

    def _call(self, node: ast.Call) -> Expression:
        if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
            self._refuse(node, f"calls take plain arguments; {SUPPORTED}")
        match node.func:
            case ast.Attribute(value=value, attr="startswith"):
                return self._startswith(node, [value, *node.args])
            case ast.Name(id="startswith"):
                return self._startswith(node, node.args)
            case ast.Name(id=name):
                return self._function(node, name)
            case _:
                return self._refuse(node.func, f"a probe cannot call the program's own functions; {SUPPORTED}")

    def _function(self, node: ast.Call, name: str) -> Expression:
        match name, node.args:
            case "len", [value]:
                return Len(self._value(value))
            case "deref", [value]:
                return Deref(self._value(value))
            case "ret", [index]:
                number = _literal(index)
                if number is None or not 0 <= number <= MAX_RESULT:
                    self._refuse(index, f"ret takes the number of a result, from 0 to {MAX_RESULT}: ret(0)")
                return Ret(number)
            case ("latency" | "stack" | "goid" | "pid" | "tid" | "comm") as builtin, []:
                return Builtin(builtin)
            case _ if name in _FUNCTIONS:
                expected = "no argument" if name in _BUILTINS else "one argument"
                return self._refuse(node, f"{name} takes {expected}, {len(node.args)} came")
            case _:
                near = get_close_matches(name, _FUNCTIONS, 1)
                meant = f"; did you mean {near[0]}()?" if near else ""
                return self._refuse(node, f"there is no function {name}(){meant}; {SUPPORTED}")

    def _startswith(self, node: ast.Call, arguments: list[ast.expr]) -> Expression:
        if len(arguments) != 2:
            self._refuse(node, 'startswith is written x.startswith("prefix")')
        left, right = self.read(arguments[0]), self.read(arguments[1])
        if not isinstance(right, Param) and not (isinstance(right, Constant) and isinstance(right.value, str)):
            self._refuse(arguments[1], 'the prefix of startswith is a string or a parameter: x.startswith("prefix")')
        return Compare("startswith", left, right)

    def _constant(self, node: ast.expr, value: object) -> Constant:
        if value is None or isinstance(value, bool):
            return Constant(value)
        if isinstance(value, int):
            if not INT_MIN <= value <= INT_MAX:
                self._refuse(node, f"{value} does not fit into 64 bits")
            return Constant(value)
        if isinstance(value, str):
            if len(value.encode(errors="surrogatepass")) > MAX_LITERAL:
                self._refuse(node, f"a string has at most {MAX_LITERAL} bytes")
            if not value.isprintable():
                self._refuse(node, "a string holds printable characters only")
            return Constant(value)
        return self._refuse(
            node, f"{value!r} cannot be compared in the kernel: use integers, strings, True, False, nil"
        )

    def _comparison(self, node: ast.Compare) -> Expression:
        terms: list[Expression] = []
        left = self.read(node.left)
        for op, side in zip(node.ops, node.comparators, strict=True):
            if isinstance(op, ast.In | ast.NotIn):
                found = Compare("in", left, self._choices(side))
                terms.append(Not(found) if isinstance(op, ast.NotIn) else found)
                if side is not node.comparators[-1]:
                    self._refuse(node, "`in` ends a chain of comparisons: join with `and`")
                continue
            right = self.read(side)
            terms.append(self._compare(node, op, left, right))
            left = right
        return terms[0] if len(terms) == 1 else And(tuple(terms))

    def _compare(self, node: ast.Compare, op: ast.cmpop, left: Expression, right: Expression) -> Compare:
        match _COMPARISONS.get(type(op)):
            case ("==" | "!=" | "<" | "<=" | ">" | ">=") as word:
                return Compare(word, left, right)
            case _:
                return self._refuse(node, "`is` is not part of the probe language: write == nil or != nil")

    def _choices(self, node: ast.expr) -> tuple[Constant, ...]:
        if not isinstance(node, ast.Tuple | ast.List | ast.Set):
            self._refuse(node, 'after `in` comes a list of literals: x in ("a", "b")')
        if not 1 <= len(node.elts) <= MAX_CHOICES:
            self._refuse(node, f"after `in` come 1 to {MAX_CHOICES} literals, {len(node.elts)} came")
        choices = []
        for element in node.elts:
            choice = self.read(element)
            if not isinstance(choice, Constant):
                self._refuse(element, 'after `in` come literals only: x in ("a", "b")')
            choices.append(choice)
        return tuple(choices)

    def _arithmetic(self, node: ast.expr, left: ast.expr, op: ast.operator, right: ast.expr) -> Arithmetic:
        match _ARITHMETIC.get(type(op)):
            case ("+" | "-" | "*" | "//" | "%") as word:
                return Arithmetic(word, self.read(left), self.read(right))
            case _ if isinstance(op, ast.Div):
                return self._refuse(node, "/ is not part of the probe language: // divides whole numbers")
            case _:
                return self._refuse(node, f"this operator is not part of the probe language; {SUPPORTED}")

    def _refuse(self, node: ast.AST, problem: str) -> NoReturn:
        raise ExpressionError(problem, self._place(node))


def _literal(node: ast.expr | None) -> int | None:
    match node:
        case ast.Constant(value=int() as number) if type(number) is int:
            return number
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as number)) if type(number) is int:
            return -number
        case _:
            return None


def _kind(node: ast.AST) -> str:
    words = {
        "IfExp": "a conditional",
        "Lambda": "a lambda",
        "ListComp": "a comprehension",
        "GeneratorExp": "a comprehension",
        "JoinedStr": "an f-string",
        "NamedExpr": "an assignment",
        "Tuple": "a tuple outside `in`",
        "List": "a list outside `in`",
        "Set": "a set outside `in`",
        "Dict": "a dictionary",
        "UnaryOp": "this operator",
        "Starred": "a star",
    }
    return words.get(type(node).__name__, type(node).__name__.lower())
