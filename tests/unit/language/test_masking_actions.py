"""Actions are read strictly, and of any two of them one is the stricter."""

from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from language.masking import Action, BadAction, Generality, Treatment, parse_treatment, strictest, treatment
from language.masking_rules import MaskingRuleError, UnmaskedField, bind, load_rules, rule_from
from language.model import Capture
from tests.unit.language.test_masking_rules import HEADER, PLATFORM, tenant

PLAIN = [
    action for action in Action if action not in {Action.PARTIAL, Action.TRUNCATE, Action.BUCKET, Action.GENERALISE}
]
treatments = st.one_of(
    st.sampled_from([Treatment(action) for action in PLAIN]),
    st.sampled_from([Treatment(Action.GENERALISE, kind) for kind in Generality]),
    st.integers(1, 4096).map(lambda n: Treatment(Action.TRUNCATE, str(n))),
    st.integers(2, 10**15).map(lambda n: Treatment(Action.BUCKET, str(n))),
    st.tuples(st.integers(0, 6), st.integers(1, 6)).map(lambda n: Treatment(Action.PARTIAL, f"{n[0]},{n[1]}")),
)


@given(treatments)
def test_what_is_written_is_read_again(given_treatment):
    assert parse_treatment(str(given_treatment)) == given_treatment
    assert treatment(given_treatment.action.value, given_treatment.argument) == given_treatment


@given(treatments, treatments, treatments)
def test_strictness_is_a_total_order(one, other, third):
    assert (one.strictness == other.strictness) == (one == other)
    assert strictest([one, other]) == strictest([other, one])
    assert strictest([strictest([one, other]), third]) == strictest([one, strictest([other, third])])


def test_what_leaves_less_of_a_value_is_stricter():
    order = [
        "allow", "detect", "bucket(10)", "bucket(100)", "generalise(coordinates)", "generalise(ip)", "generalise(age)",
        "truncate(8)", "truncate(4)", "partial(6,4)", "partial(4,4)", "partial(0,4)", "token", "length", "count-only",
        "redact", "drop",
    ]  # fmt: skip
    for looser, stricter in combinations(order, 2):
        assert strictest([parse_treatment(looser), parse_treatment(stricter)]) == parse_treatment(stricter)


@pytest.mark.parametrize(
    "text",
    [
        "", "hide", "ALLOW", "allow()", "allow(1)", "redact ", " redact", "partial", "partial()", "partial(4)",
        "partial(0,0)", "partial(8,8)", "partial(-1,4)", "partial(00,4)", "partial(6, 4)", "truncate", "truncate(0)",
        "truncate(9999)", "bucket(1)", "bucket(1.5)", "bucket(x)", "generalise", "generalise(name)", "token(k1)", "hash(1)",
        "drop\n", "partial(0,4))", "partial(\uff10,4)",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text):
    with pytest.raises(BadAction, match=r"expected|takes"):
        parse_treatment(text)


def test_the_spellings_of_templates_approved_earlier_still_hold():
    assert (str(parse_treatment("hash")), str(parse_treatment("last4"))) == ("token", "partial(0,4)")


def test_a_rule_file_may_use_any_action_and_a_default_none_with_an_argument():
    assert rule_from({"name": "r", "words": ["a"], "action": "partial(6,4)"}).treatment == Treatment(
        Action.PARTIAL, "6,4"
    )
    with pytest.raises(MaskingRuleError, match="a default takes no argument"):
        load_rules(HEADER + "  defaults: {string: truncate(8)}")


def bound(*columns, masking=(), rules=()):
    captures = [Capture(column, expression) for column, expression in columns]
    return {rule.column: rule for rule in bind(captures, masking, (PLATFORM, tenant(*rules)))}


def test_the_strictest_argument_wins():
    rule = {"name": "mail", "path": "u.Mail", "action": "truncate(8)"}
    assert str(bound(("m", "u.Mail"), rules=[rule], masking=[("m", "truncate(4)")])["m"].treatment) == "truncate(4)"
    assert str(bound(("m", "u.Mail"), rules=[rule], masking=[("m", "truncate(12)")])["m"].treatment) == "truncate(8)"


def test_a_rule_inside_goes_along_with_its_argument():
    inside = bound(("o", "o"), rules=[{"name": "mail", "path": "o.Mail", "action": "partial(2,2)"}])["o"].paths
    assert any((path.path, path.argument) == ("Mail", "2,2") for path in inside)


def test_a_template_may_not_ask_for_a_token_of_what_rules_show_in_part():
    with pytest.raises(UnmaskedField, match="may not both exist"):
        bound(("n", "o.Card.Number"), masking=[("n", "token")])


def test_a_tenant_may_make_it_a_token_for_all():
    rule = {"name": "pan", "words": ["card number"], "action": "token"}
    assert bound(("n", "o.Card.Number"), rules=[rule])["n"].action is Action.TOKEN


@pytest.mark.parametrize(("whole", "part"), list(product(["u", "u.Mail"], ["partial(2,2)", "truncate(4)"])))
def test_two_columns_may_not_show_one_value_as_a_token_and_in_part(whole, part):
    with pytest.raises(UnmaskedField, match="two forms"):
        bound(("a", whole), ("b", "u.Mail"), masking=[("a", "token"), ("b", part)])
    bound(("a", whole), ("b", "v.Mail"), masking=[("a", "token"), ("b", part)])
