"""A rule by type reaches every field of that type, once the binary is known."""

from __future__ import annotations

from agents.masking.applying import DYNAMIC_ONLY
from agents.masking.model import FieldRule, PathRule
from agents.masking.typed_rules import typed_rules
from language.masking import Action
from language.model import At
from tests.builders.compiler_types import request, shop_probe

CARDS = PathRule("", "*.Card", Action.REDACT, "tenant:cards")
STRINGS = PathRule("", "kind:string", Action.TOKEN, "tenant:default.string")
WORDS = PathRule("words:cvv", "", Action.DROP, "platform:cvv")


def bound(expression: str, *paths: PathRule) -> FieldRule:
    given = FieldRule("c", Action.DETECT, "platform:default.string", paths=paths)
    (rule,) = typed_rules([given], shop_probe(), request({"c": expression}, at=At.ENTRY_AND_RETURN))
    return rule


def test_a_captured_value_of_the_type_is_hidden_whole_also_behind_a_pointer():
    for expression in ("c", "o.Card", "o.Inline"):
        assert (bound(expression, CARDS).action, bound(expression, CARDS).rule) == (Action.REDACT, "tenant:cards")


def test_a_field_reached_through_the_type_is_hidden():
    assert bound("o.Card.Expiry", CARDS).action is Action.REDACT
    assert bound("o.Email", CARDS).action is Action.DETECT


def test_fields_of_the_type_inside_are_named():
    rule = bound("o", CARDS)
    assert rule.action is Action.DETECT
    assert {path.path for path in rule.paths if path.action is Action.REDACT and not path.type} == {
        "**.Card",
        "**.Inline",
    }


def test_items_of_the_type_are_found_in_lists():
    orders = PathRule("", "shop.Order", Action.REDACT, "tenant:orders")
    assert bound("list", orders).action is Action.REDACT
    assert bound("pointers[0].Total", orders).action is Action.REDACT


def test_what_an_interface_may_hold_is_looked_into():
    ints = PathRule("", "string", Action.TOKEN, "tenant:strings")
    assert PathRule("**.s", "", Action.TOKEN, "tenant:strings") in bound("e", ints).paths


def test_an_interfaces_own_type_stays_a_rule_for_each_row():
    rule = bound("e", PathRule("", "*errorString", Action.REDACT, "tenant:errors"))
    assert rule.action is Action.DETECT
    assert PathRule(DYNAMIC_ONLY, "*errorString", Action.REDACT, "tenant:errors") in rule.paths


def test_other_rules_stay_as_they_are():
    assert bound("o", WORDS, STRINGS).paths == (WORDS, STRINGS)
    assert bound("latency()", CARDS).paths == (CARDS,)
    assert set(bound("o", CARDS, WORDS, STRINGS).paths) >= {WORDS, STRINGS}
