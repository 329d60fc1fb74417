"""An expression means one value of the function, or the error names what there is."""

import pytest

from agents.binaries.model import Language
from agents.compiler.access import Access, Fixed, Follow, Known, LengthOf, Pick, Within
from agents.compiler.bind import bind, type_name
from agents.compiler.model import CannotCompile, Refusal
from language.expressions import parse
from language.model import At
from tests.builders.compiler_types import shop_probe


def bound(text: str, at: At = At.ENTRY_AND_RETURN, **options):
    return bind(parse(text), shop_probe(**options), at)


@pytest.mark.parametrize(
    ("text", "steps", "type_"),
    [
        ("o", (), "*shop.Order"),
        ("o.Email", (Follow(8),), "string"),
        ("o.Card.Cvv", (Follow(24), Follow(16)), "int32"),
        ("o.Inline.Expiry", (Follow(56),), "string"),
        ("o.ID", (Follow(0),), "int"),
        ("deref(o)", (Follow(0),), "shop.Order"),
        ("c.Cvv", (Within(16),), "int32"),
        ("list[3].Done", (Pick(3, 88), Within(72)), "bool"),
        ("pointers[1].Card.Number", (Pick(1, 8), Follow(24), Follow(0)), "string"),
        ("hash[5]", (Within(5),), "uint8"),
        ("name[2]", (Pick(2, 1),), "byte"),
        ("ret(0)", (), "int"),
        ("total", (), "int"),
    ],
)
def test_a_value_is_reached_by_these_steps(text, steps, type_):
    value = bound(text)
    assert isinstance(value, Access)
    assert value.steps == steps
    assert type_name(value) == type_


def test_a_result_is_known_by_its_place_and_by_its_name():
    assert bound("ret(1)") == bound("err")
    assert bound("ret(1)").is_result
    assert not bound("o").is_result


def test_a_bit_field_keeps_its_bits():
    assert bound("flags.high").bits == (3, 13)


def test_lengths_builtins_and_constants_are_values_too():
    assert isinstance(bound("len(name)"), LengthOf)
    assert bound("len(hash)") == Fixed(32)
    assert bound("latency()") == Known("latency")
    assert bound("'x'") == Fixed("x")
    assert type_name(bound("len(m)")) == "int"


def test_a_slice_keeps_how_many_were_asked_for():
    assert bound("list[:3]").window == 3
    assert bound("o.Email[:4]").window == 4


@pytest.mark.parametrize(
    ("text", "reason", "words"),
    [
        ("o.Unit", Refusal.UNKNOWN_FIELD, "no field 'Unit' in shop.Order; it has Base, Email, Card, Inline, Done, Kind, Total"),
        ("x", Refusal.UNKNOWN_NAME, "no argument or result 'x' in shop.Charge; it has o, c, name"),
        ("ret(2)", Refusal.UNKNOWN_NAME, "it has 2: ret(0), ret(1)"),
        ("n.x", Refusal.UNKNOWN_FIELD, "int: it is no struct"),
        ("e.s", Refusal.WRONG_TYPE, "is an interface"),
        ("option.__0", Refusal.WRONG_TYPE, "has variants"),
        ("len(n)", Refusal.WRONG_TYPE, "int has no length"),
        ("n[0]", Refusal.WRONG_TYPE, "int has no items"),
        ("hash[32]", Refusal.WRONG_TYPE, "past the end"),
        ("n[:2]", Refusal.WRONG_TYPE, "cannot be sliced"),
        ("deref(n)", Refusal.WRONG_TYPE, "deref() wants a pointer"),
        ("deref(nothing)", Refusal.WRONG_TYPE, "deref() wants a pointer"),
        ("n == 3", Refusal.UNSUPPORTED, "belong in where"),
        ("n + 3", Refusal.UNSUPPORTED, "belong in where"),
        ("list[:2][0]", Refusal.WRONG_TYPE, "take the field or item of x itself"),
        ("len(list[:2])", Refusal.WRONG_TYPE, "ask for len(x)"),
    ],
)  # fmt: skip
def test_what_cannot_be_bound_is_refused_with_what_there_is(text, reason, words):
    with pytest.raises(CannotCompile) as refused:
        bound(text)
    assert refused.value.reason is reason
    assert words in refused.value.detail


@pytest.mark.parametrize("text", ["ret(0)", "total", "latency()"])
@pytest.mark.parametrize("at", [At.ENTRY, At.LINE])
def test_results_and_latency_are_refused_where_there_is_no_return(text, at):
    with pytest.raises(CannotCompile) as refused:
        bound(text, at)
    assert refused.value.reason is Refusal.NOT_HERE


def test_a_goroutine_is_refused_in_a_program_that_has_none():
    with pytest.raises(CannotCompile, match="this one is c"):
        bound("goid()", language=Language.C)


def test_an_item_behind_a_c_pointer_is_that_many_sizes_further():
    assert bound("o[2].Total", language=Language.C).steps == (Follow(256),)
    assert bound("text[:9]", language=Language.C).window == 9
