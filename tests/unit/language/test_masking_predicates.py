"""A condition on a hidden value is refused: a probe that fires answers it."""

from pathlib import Path

import pytest

from language.masking import Action
from language.masking_predicates import refuse_hidden_predicate
from language.masking_rules import HiddenPredicate, Kind, RuleSet, Scope, bind, load_rules
from language.model import At, Capture, ParameterSpec, ParameterType, ProbeSpec, TargetSpec, Template

PLATFORM = load_rules((Path(__file__).parents[3] / "policies/masking/platform.yaml").read_text())
PARAMETERS = (
    ParameterSpec("minUnits", ParameterType.INT, default=0, min=0, max=1_000_000),
    ParameterSpec("big", ParameterType.INT, default=0, min=0, max=10**16),
    ParameterSpec("text", ParameterType.STRING, max_length=20),
    ParameterSpec("currency", ParameterType.STRING, choices=("USD", "EUR")),
)


def check(where, masking=(), captures=(("currency", "l.CurrencyCode"), ("units", "l.Units")), rulesets=(PLATFORM,)):
    probe = ProbeSpec("f", At.ENTRY, None, where, tuple(Capture(*capture) for capture in captures))
    template = Template("t", "", (), PARAMETERS, TargetSpec(), probe, "table", tuple(masking))
    names = [parameter.name for parameter in PARAMETERS]
    bound = bind(probe.captures, template.masking, rulesets, names)
    refuse_hidden_predicate(template, bound, rulesets)


@pytest.mark.parametrize(
    "where",
    [
        None,
        'l.Units >= params.minUnits and l.CurrencyCode == "USD"',
        "l.CurrencyCode == params.currency",
        'startswith(l.CurrencyCode, "U")',
        'l.CurrencyCode in ("USD", "EUR")',
        "latency() > 1000000000000",
        "len(o.Items) > 3",
        "l.Nanos % 10 == 0",
        "ret(1) != nil",
    ],
)
def test_a_condition_on_what_may_be_seen_is_accepted(where):
    check(where)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ('user.Password == "hunter2"', "masking does drop"),
        ("len(user.Password) > 8", "masking does drop"),
        ('startswith(o.Card.Number, "4")', "masking does partial"),
        ('not (r.AuthToken == "x") or l.Units > 1', "masking does redact"),
        ("l.CurrencyCode == params.text", "type any text"),
        ("l.Units == params.big", "as long as a card's"),
        ('u.Mail == "bob@example.com"', "looks like personal data"),
        ("o.N == 4111111111111111", "as long as a card number"),
    ],
)
def test_a_condition_that_would_show_a_hidden_value_is_refused(where, message):
    with pytest.raises(HiddenPredicate, match=message):
        check(where)


@pytest.mark.parametrize("action", ["last4", "hash", "redact", "drop"])
def test_a_condition_on_a_column_that_the_author_hides_is_refused(action):
    with pytest.raises(HiddenPredicate, match=r"l\.CurrencyCode"):
        check('l.CurrencyCode == "USD"', masking=[("currency", action)])


def test_a_condition_inside_a_hidden_struct_is_refused():
    with pytest.raises(HiddenPredicate):
        check("o.Buyer.Age > 3", captures=(("order", "o"),), masking=[("order", "redact")])


def test_a_captured_comparison_is_a_condition_too():
    with pytest.raises(HiddenPredicate):
        check(None, captures=(("hit", "u.Mail == params.text"),))


def test_a_tenants_stricter_kind_counts_in_a_comparison_of_that_kind():
    rules = (PLATFORM, RuleSet(Scope.TENANT, defaults={Kind.STRING: Action.REDACT}))
    with pytest.raises(HiddenPredicate, match=r"tenant:default\.string"):
        check('l.CurrencyCode == "USD"', rulesets=rules)
    check("l.Units > 3", rulesets=rules)
