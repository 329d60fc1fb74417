"""A capture gets the strictest rule that means it, or the template is refused."""

from pathlib import Path

import pytest

from language.masking import Action
from language.masking_rules import (
    BoundPath,
    Kind,
    MaskingRuleError,
    RuleSet,
    Scope,
    UnmaskedField,
    bind,
    load_rules,
    rule_from,
)
from language.model import Capture

PLATFORM = load_rules((Path(__file__).parents[3] / "policies/masking/platform.yaml").read_text())

HEADER = "apiVersion: probegate/v1\nkind: MaskingRules\nspec:\n"


def tenant(*rules, strict=False, defaults=None):
    return RuleSet(Scope.TENANT, tuple(rule_from(rule) for rule in rules), defaults or {}, strict=strict)


def bound(expression, *rulesets, masking=(), column="c"):
    (rule,) = bind([Capture(column, expression)], masking, rulesets or (PLATFORM,))
    return rule


@pytest.mark.parametrize(
    ("expression", "action", "rule"),
    [
        ("l.CurrencyCode", Action.DETECT, "platform:default.string"),
        ("ret(1)", Action.DETECT, "platform:default.string"),
        ("o.Items[:8]", Action.DETECT, "platform:default.string"),
        ("latency()", Action.ALLOW, "platform:default.latency"),
        ("stack()", Action.ALLOW, "platform:default.stack"),
        ("pid()", Action.ALLOW, "platform:default.identifier"),
        ("comm()", Action.ALLOW, "platform:default.comm"),
        ("len(o.Items)", Action.ALLOW, "platform:default.length"),
        ("o.Card.CVV", Action.DROP, "platform:card-verification-code"),
        ("deref(o.Card.Pin)", Action.DROP, "platform:pin"),
        ("o.Card.Number", Action.PARTIAL, "platform:card-number"),
        ("r.AuthToken", Action.REDACT, "platform:token"),
        ("user.Password[:4]", Action.DROP, "platform:password"),
        ("o.ShippingCost.Units", Action.DETECT, "platform:default.string"),
        ("1", Action.ALLOW, "constant"),
    ],
)
def test_the_platform_pack_decides_by_name_then_by_kind(expression, action, rule):
    decided = bound(expression)
    assert (decided.action, decided.rule) == (action, rule)


def test_the_length_of_what_is_never_read_is_not_read_either():
    assert bound("len(user.Password)").action is Action.DROP
    assert bound("len(o.Card.Number)").action is Action.ALLOW


def test_a_computed_value_is_as_hidden_as_its_parts():
    assert bound("o.Total + user.Pin").action is Action.DROP
    assert bound('r.AuthToken == "x"').action is Action.REDACT


def test_an_innocent_argument_in_a_telling_column_is_hidden():
    assert bound("s", column="password").action is Action.DROP
    assert bound("latency()", column="password_check").action is Action.ALLOW


@pytest.mark.parametrize(
    ("proposed", "action", "rule"),
    [
        ("allow", Action.DETECT, "platform:default.string"),
        ("detect", Action.DETECT, "platform:default.string"),
        ("hash", Action.TOKEN, "template"),
        ("drop", Action.DROP, "template"),
    ],
)
def test_a_template_can_only_tighten(proposed, action, rule):
    decided = bound("l.CurrencyCode", masking=[("c", proposed)])
    assert (decided.action, decided.rule) == (action, rule)


def test_a_tenant_can_only_tighten():
    loose = tenant({"name": "show", "words": ["number"], "action": "allow"})
    strict = tenant({"name": "amounts", "path": "l.Units", "action": "token"})
    assert bound("o.Card.Number", PLATFORM, loose).action is Action.PARTIAL
    assert bound("l.Units", PLATFORM, strict).rule == "tenant:amounts"


def test_a_rule_on_a_parent_holds_for_what_is_inside():
    rules = tenant({"name": "card", "path": "o.Card", "action": "redact"})
    assert bound("o.Card.Brand", PLATFORM, rules).rule == "tenant:card"


def test_names_and_types_inside_a_captured_struct_go_along():
    rules = tenant(
        {"name": "cards", "type": "*.Card", "action": "drop"},
        {"name": "mail", "path": "o.Buyer.Email", "action": "token"},
    )
    inside = bound("o", PLATFORM, rules).paths
    assert BoundPath("", "*.Card", Action.DROP, "tenant:cards") in inside
    assert BoundPath("Buyer.Email", "", Action.TOKEN, "tenant:mail") in inside
    assert any(path.path.startswith("words:") and "cvv" in path.path and path.action is Action.DROP for path in inside)


def test_a_stricter_kind_goes_along_because_only_the_agent_knows_kinds():
    rules = tenant(defaults={Kind.STRING: Action.REDACT})
    decided = bound("l.CurrencyCode", PLATFORM, rules)
    assert decided.action is Action.DETECT
    assert BoundPath("", "kind:string", Action.REDACT, "tenant:default.string") in decided.paths


def test_a_field_without_a_rule_is_refused():
    with pytest.raises(UnmaskedField, match=r"captures o\.Total, and no masking rule covers it"):
        bound("o.Total", RuleSet(Scope.PLATFORM))


def test_a_default_for_some_kinds_does_not_cover_a_value_of_unknown_kind():
    with pytest.raises(UnmaskedField):
        bound("o.Total", RuleSet(Scope.PLATFORM, defaults={Kind.INTEGER: Action.ALLOW}))


def test_a_strict_tenant_leaves_no_default_and_a_template_is_no_rule():
    rules = tenant({"name": "money", "words": ["units"], "action": "detect"}, strict=True)
    with pytest.raises(UnmaskedField):
        bound("l.CurrencyCode", PLATFORM, rules, masking=[("c", "redact")])
    assert bound("l.Units", PLATFORM, rules).action is Action.DETECT
    assert bound("latency()", PLATFORM, rules).action is Action.ALLOW


def test_masking_of_a_column_that_is_not_captured_is_refused():
    with pytest.raises(UnmaskedField, match="no captured column"):
        bound("l.Units", masking=[("typo", "drop")])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- [", "not YAML"),
        ("kind: MaskingRules", "expected `apiVersion"),
        (HEADER + "  rule: []", "unknown 'rule'"),
        (HEADER + "  strict: true\n  strict: false", "stands there twice"),
        (HEADER + "  rules: [{name: x, words: [a], action: hide}]", "action 'hide'"),
        (HEADER + "  rules: [{name: x, words: [a], type: b, action: drop}]", "exactly one of"),
        (HEADER + "  rules: [{name: x, words: [A], action: drop}]", "lower-case"),
        (HEADER + "  rules: [{name: x, words: [a], action: drop, cases: {matches: [b]}}]", "should match 'b'"),
        (HEADER + "  rules: [{name: x, words: [a], action: drop, cases: {ignores: [a]}}]", "should leave 'a'"),
        (HEADER + "  rules: &a []\n  defaults: *a", "aliases"),
        (HEADER + "  defaults: {text: drop}", "unknown 'text'"),
        (HEADER + "  rules: [{name: x, type: 'kind:string', action: drop}]", "DWARF type name"),
        ("x: " + "y" * 300_000, "at most"),
    ],
)
def test_a_rule_file_that_is_not_exactly_right_is_refused(text, message):
    with pytest.raises(MaskingRuleError, match=message):
        load_rules(text)


def test_the_platform_pack_leaves_no_kind_without_a_default_and_no_rule_without_cases():
    assert set(PLATFORM.defaults) == set(Kind)
    assert all(rule.cases.matches and rule.cases.ignores for rule in PLATFORM.rules)
