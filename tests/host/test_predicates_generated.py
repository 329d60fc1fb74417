"""Predicates made at random keep exactly the calls for which Python says the same of what the program printed.

The predicates of one scenario are armed together and see the same calls. Integers wrap at 64 bits, a value that cannot be
read makes the whole test false: `agents.compiler.predicate` says what a test means, and this says it a second time.
"""

from __future__ import annotations

import operator
import random

import pytest

from agents.compiler.model import CannotCompile, CaptureRequest, CompileRequest, Refusal
from agents.compiler.predicate import MAX_COUNTED_TEXT
from agents.compiler.service import compile_probe
from language import syntax as ex
from language.expressions import parse
from language.model import At, LimitSpec
from tests.builders.value_program import ValueProgram, balance, told_value

pytestmark = pytest.mark.host

PREDICATES = 40  # of one scenario, armed at once
WORD = 1 << 64
SIGNED = {"a": 1, "b": 1, "c": 1, "d": 1, "i": 1, "e": 0, "f": 0, "g": 0, "h": 0}  # of Ints
COMPARE = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
TEXTS = ["", "a", "hello", "hell", "long long", "na", "naïve ☃ 𝄞", "nothing like it"]


class Unreadable(Exception):
    pass


class Generator:
    def __init__(self, seed: int, numbers: list[str], flags: list[str], texts: list[str], pointers: list[str]) -> None:
        self.choose = random.Random(seed)
        self.kinds = [
            kind
            for kind, names in (
                (self.comparison, numbers),
                (self.flag, flags),
                (self.text, texts),
                (self.nil, pointers),
            )
            if names
        ]
        self.numbers, self.flags, self.texts, self.pointers = numbers, flags, texts, pointers

    def test(self, depth: int) -> str:
        if depth == 0 or self.choose.random() < 0.3:
            return self.choose.choice(self.kinds)()
        left, right = self.test(depth - 1), self.test(depth - 1)
        return self.choose.choice([f"({left} and {right})", f"({left} or {right})", f"not ({left})"])

    def number(self, depth: int) -> str:
        if depth == 0 or self.choose.random() < 0.4:
            constants = [0, 1, -1, 2, 5, 127, 255, 1 << 40, (1 << 63) - 1]
            return (
                str(self.choose.choice(constants)) if self.choose.random() < 0.25 else self.choose.choice(self.numbers)
            )
        left = self.number(depth - 1)
        if self.choose.random() < 0.3:
            return f"({left} {self.choose.choice(['//', '%'])} {self.choose.choice([1, 2, 3, 7, 256])})"
        return f"({left} {self.choose.choice('+-*')} {self.number(depth - 1)})"

    def comparison(self) -> str:
        return f"{self.number(2)} {self.choose.choice(list(COMPARE))} {self.number(2)}"

    def flag(self) -> str:
        return self.choose.choice(self.flags)

    def text(self) -> str:
        name, constant = self.choose.choice(self.texts), repr(self.choose.choice(TEXTS))
        other = self.choose.choice(self.texts)
        return self.choose.choice(
            [f"{name} == {constant}", f"{name} != {constant}", f"{name}.startswith({constant})",
             f"{name} in ({constant}, {self.choose.choice(TEXTS)!r})", f"{name} == {other}", f"len({name}) > {self.choose.choice([0, 1, 4, 16])}"]
        )  # fmt: skip

    def nil(self) -> str:
        return f"{self.choose.choice(self.pointers)} {self.choose.choice(['==', '!='])} None"


class Python:
    """What a test means, for one call's arguments."""

    def __init__(self, arguments: dict, raw: dict) -> None:
        self.arguments, self.raw = arguments, raw

    def keeps(self, node: ex.Expression) -> bool:
        try:
            return self.holds(node)
        except Unreadable:
            return False

    def holds(self, node: ex.Expression) -> bool:
        match node:
            case ex.Not(value):
                return not self.holds(value)
            case ex.And(values):
                return all(self.holds(each) for each in values)
            case ex.Or(values):
                return any(self.holds(each) for each in values)
            case ex.Compare(op, left, right):
                return self.compare(op, left, right)
        return bool(self.value(node))

    def compare(self, op: str, left: ex.Expression, right: object) -> bool:
        if isinstance(right, tuple):
            return any(self.compare("==", left, each) for each in right)
        one, other = self.value(left), self.value(right)
        if op == "startswith":
            return one.startswith(other)
        if (
            isinstance(other, bytes)
            and not isinstance(right, ex.Constant)
            and len(one) == len(other) > MAX_COUNTED_TEXT
        ):
            raise Unreadable  # two texts are compared as far as this
        return COMPARE[op](one, other)

    def value(self, node: ex.Expression) -> object:
        match node:
            case ex.Constant(str() as text):
                return text.encode()
            case ex.Constant(value):
                return value
            case ex.Name(name):
                found = self.raw[name]
                return bytes.fromhex(found["$s"]) if isinstance(found, dict) and "$s" in found else found
            case ex.Attribute(inner, field):
                held = self.value(inner)
                if held is None:
                    raise Unreadable
                found = held[field]
                return bytes.fromhex(found["$s"]) if isinstance(found, dict) and "$s" in found else found
            case ex.Len(inner):
                return len(self.value(inner))
            case ex.Arithmetic(op, left, right):
                return self.wrapped(op, self.value(left), self.value(right), unsigned=self.wide(node))
        raise AssertionError(node)

    def wrapped(self, op: str, left: int, right: int, *, unsigned: bool) -> int:
        found = {"+": operator.add, "-": operator.sub, "*": operator.mul, "//": operator.floordiv, "%": operator.mod}[
            op
        ](left, right)
        found %= WORD
        return found if unsigned or found < WORD // 2 else found - WORD

    def wide(self, node: ex.Expression) -> bool:
        """Whether it is worked out without a sign: an unsigned 64-bit number takes part."""
        match node:
            case ex.Arithmetic(_, left, right):
                return self.wide(left) or self.wide(right)
            case ex.Name(name):
                return name in {"h", "u"}
            case ex.Constant(int() as value):
                return value >= WORD // 2
        return False


SCENARIOS = {
    "Ints": Generator(1, list(SIGNED), [], [], []),
    "Bools": Generator(2, ["c", "d", "e"], ["a", "b"], [], []),
    "Strings": Generator(3, ["len(a)", "len(b)"], [], ["a", "b"], []),
    "Structs": Generator(4, ["p.X", "p.Y", "m.A", "m.B", "m.D", "m.P.X", "m.P.Y"], ["m.C"], ["m.S"], ["m.P"]),
    "OnStack": Generator(5, ["big.Count", "after", "big.Inner.A", "len(big.Name)"], ["big.Inner.C"], ["big.Name", "big.Inner.S"], ["big.Inner.P"]),
}  # fmt: skip


@pytest.fixture(scope="module")
def program():
    with ValueProgram() as running:
        yield running


def fitting(program, scenario: str) -> list[tuple[str, CompileRequest]]:
    """Predicates that compile; those that mix an unsigned number with a sign are refused, and nothing else is."""
    resolved, found = program.resolve(f"main.{scenario}"), []
    while len(found) < PREDICATES:
        text = SCENARIOS[scenario].test(3)
        request = CompileRequest(At.ENTRY, parse(text), (CaptureRequest("t", parse("tid()")),), LimitSpec())
        try:
            compile_probe(resolved, request)
        except CannotCompile as refused:
            assert refused.reason in {Refusal.WRONG_TYPE, Refusal.TOO_LARGE}, text
        else:
            found.append((text, request))
    return found


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_generated_predicate_keeps_what_python_keeps(program, scenario):
    predicates = fitting(program, scenario)
    resolved = program.resolve(f"main.{scenario}")
    seen = program.trace_all(scenario, [(resolved, request) for _, request in predicates])
    calls = [Python(told_value(call["arguments"]), call["arguments"]) for call in seen[0].told]
    wrong, kept = [], 0
    for (text, request), probe in zip(predicates, seen, strict=True):
        wanted = sum(call.keeps(request.where) for call in calls)
        kept += 0 < wanted < len(calls)
        if len(probe.rows) != wanted or not balance(probe):
            wrong.append(f"{text}: {len(probe.rows)} calls kept, Python keeps {wanted} of {len(calls)}")
    assert wrong == []
    assert kept > PREDICATES // 5  # most would say little if they kept all or nothing
