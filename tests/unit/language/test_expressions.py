from __future__ import annotations

import pytest
from hypothesis import given

from language import expressions
from language.errors import ExpressionError
from language.expressions import parse, render, walk
from language.syntax import And, Attribute, Builtin, Compare, Constant, Index, Len, Name, Not, Param, Ret, Slice
from tests.builders.templates import expressions_


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("l.Units", Attribute(Name("l"), "Units")),
        ("o.Items[:8]", Slice(Attribute(Name("o"), "Items"), 8)),
        ("a[0].b", Attribute(Index(Name("a"), 0), "b")),
        ("len(x)", Len(Name("x"))),
        ("ret(1)", Ret(1)),
        ("latency()", Builtin("latency")),
        ("latency", Name("latency")),
        ("x == nil", Compare("==", Name("x"), Constant(None))),
        ("x != None", Compare("!=", Name("x"), Constant(None))),
        ("a < 1 < b", And((Compare("<", Name("a"), Constant(1)), Compare("<", Constant(1), Name("b"))))),
        ("x not in (1, 2)", Not(Compare("in", Name("x"), (Constant(1), Constant(2))))),
        ('x.startswith("a")', Compare("startswith", Name("x"), Constant("a"))),
        ("x == params.p", Compare("==", Name("x"), Param("p"))),
        ("x == -5", Compare("==", Name("x"), Constant(-5))),
        ("a\n  and b", And((Name("a"), Name("b")))),
    ],
)
def test_an_expression_is_read_as_its_tree(text: str, tree: object) -> None:
    assert parse(text, ["p"]) == tree


def test_pythons_keywords_are_names_where_the_program_has_them_as_names() -> None:
    assert parse("from.class == lambda_.in") == Compare(
        "==", Attribute(Name("from"), "class"), Attribute(Name("lambda_"), "in")
    )


@given(expressions_)
def test_what_is_rendered_is_read_back_as_the_same_tree(tree: expressions.Expression) -> None:
    assert parse(render(tree), ["p"]) == tree


@pytest.mark.parametrize(
    ("text", "column", "part"),
    [
        ("l.Units / 2", 1, "// divides whole numbers"),
        ("a and lenn(x)", 7, "did you mean len()?"),
        ("x.String()", 1, "cannot call the program's own functions"),
        ("x[-1]", 3, "from 0"),
        ("x[1:3]", 3, "starts at 0"),
        ("x[:n]", 3, "ends with a number"),
        ("a if b else c", 1, "a conditional is not part"),
        ("x == 1.5", 6, "cannot be compared in the kernel"),
        ("x == f'{y}'", 6, "an f-string"),
        ("params.minUnit", 1, "did you mean params.minUnits?"),
        ("a == 1 # and b == 2", 8, "no comments"),
        ("l.Units +", 10, "not an expression"),
        ("x is None", 1, "write == nil"),
        ("x in y", 6, "a list of literals"),
        ("x == 18446744073709551616", 6, "does not fit into 64 bits"),
        ("", 1, "is empty"),
        ("a\x00b", 2, "printable"),
        ("__import__('os')", 1, "there is no function"),
        ("é.x / 2", 1, "//"),
        ("(é.x) + y / 2", 9, "//"),
    ],
)
def test_what_is_outside_the_language_is_refused_at_its_place(text: str, column: int, part: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        parse(text, ["minUnits"])
    assert part in refused.value.problem
    assert refused.value.position is not None
    assert refused.value.position.column == column


@pytest.mark.parametrize(
    "text",
    [
        "-" * 1000 + "1",
        "(" * 400 + "1" + ")" * 400,
        "a" + ".b" * 500,
        " and ".join(["a"] * 200),
        "not " * 250 + "a",
        "a" * 1025,
    ],
)
def test_what_is_too_large_is_refused_without_harm(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse(text)


def test_walking_visits_every_node() -> None:
    assert Constant(2) in set(walk(parse("a.b == 1 or c in (2, 3)")))


def test_roots_are_where_values_come_from() -> None:
    found = set(expressions.roots(parse("l.Units + ret(0) > latency()")))
    assert found == {Name("l"), Ret(0), Builtin("latency")}
