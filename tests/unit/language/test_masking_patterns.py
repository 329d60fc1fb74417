"""A tenant's own detectors: what is taken, what is refused and why, and that a file proves its own patterns."""

import pytest

from language.masking import Action
from language.masking_patterns import MAX_FOUND, MAX_PATTERNS, BadRegex, PatternSet, ValuePattern, check_regex
from language.masking_rules import MaskingRuleError, RuleSet, Scope, bind, load_rules, rule_from
from language.model import Capture

EMPLOYEE = ValuePattern("tenant:employee-number", r"\bEMP-[0-9]{6}\b")
RULE = {
    "name": "employee-number",
    "regex": EMPLOYEE.regex,
    "action": "redact",
    "cases": {"matches": ["by EMP-123456"], "ignores": ["TEMP-123456"]},
}


@pytest.mark.parametrize(
    ("regex", "why"),
    [
        (".*", "empty text"), ("x*|y", "empty text"), (r"\b", "empty text"), ("^", "empty text"), (r"\B", "empty text"),
        ("(?:)", "empty text"), ("$", "empty text"), ("a||b", "empty text"), (r"(?m)$", "empty text"),
        ("", "1 to 512"), ("a" * 513, "1 to 512"), ("(?:a?){500}a{500}", "instructions"), (r"\pL{100}", "instructions"),
        ("a{1001}", "repetition"), ("((a{100}){100}){100}", "no RE2"), ("(?=a)b", "no RE2"), (r"(a)\1", "no RE2"),
        ("a(", "no RE2"), ("\ud800", "UTF-8"), (r"x\C", "any byte"),
    ],
)  # fmt: skip
def test_a_pattern_that_finds_nothing_at_all_or_costs_too_much_is_refused_with_the_reason(regex, why):
    with pytest.raises(BadRegex, match=why):
        check_regex(regex)


def test_ordinary_patterns_are_taken():
    for regex in (EMPLOYEE.regex, r"(?i)cust[_-]?[0-9a-f]{8,32}", "[\u4e00-\u9fff]{2,4}氏", r"\\C", "(x+x+)+y"):
        check_regex(regex)


def test_spans_are_in_characters_whatever_stands_before():
    text = "почта \ud800 EMP-123456"
    ((start, end, pattern),) = PatternSet([EMPLOYEE]).spans(text)
    assert (text[start:end], pattern.word) == ("EMP-123456", "employee-number")


def test_more_matches_than_are_looked_for_hide_the_rest_of_the_text():
    found = list(PatternSet([ValuePattern("tenant:a", "a")]).spans("a" * 4096))
    assert len(found) == MAX_FOUND + 1
    assert found[-1][:2] == (MAX_FOUND, 4096)


def test_the_end_of_a_cut_text_that_may_begin_a_match_is_known():
    patterns = PatternSet([EMPLOYEE])
    assert all(patterns.tail("hello " + "EMP-123456"[:kept]) == 6 for kept in range(1, 11))
    assert patterns.tail("hello world") == len("hello world")


def test_a_set_has_a_bound():
    many = [ValuePattern(f"tenant:r{n}", f"r{n}x") for n in range(MAX_PATTERNS + 1)]
    with pytest.raises(BadRegex, match="expected 1 to 25"):
        PatternSet(many)


def test_a_rule_with_a_regex_proves_itself_on_values():
    rule = rule_from(RULE)
    assert rule.means("EMP-000001, EMP-2")
    assert RuleSet(Scope.TENANT, (rule,)).patterns == (EMPLOYEE,)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"cases": {"matches": ["EMP-12"], "ignores": ["x"]}}, "should match"),
        ({"cases": {"matches": ["EMP-123456"], "ignores": ["EMP-123456"]}}, "should leave"),
        ({"cases": {"matches": ["EMP-123456"]}}, "cases of both kinds"),
        ({"action": "token"}, "its action is redact"),
        ({"words": ["employee"]}, "exactly one"),
        ({"regex": "a("}, "no RE2"),
        ({"regex": 7}, "expected text"),
    ],
)
def test_a_rule_that_does_not_prove_itself_is_refused(change, why):
    with pytest.raises(MaskingRuleError, match=why):
        rule_from(RULE | change)


def test_a_file_has_at_most_as_many_as_one_set_holds():
    rules = [
        f"    - {{name: r{n}, regex: 'r{n}x', action: redact, cases: {{matches: [r{n}x], ignores: [y]}}}}"
        for n in range(26)
    ]
    head = "apiVersion: probegate/v1\nkind: MaskingRules\nmetadata: {name: t}\nspec:\n  rules:\n"
    with pytest.raises(MaskingRuleError, match="at most 25 rules with a regex"):
        load_rules(head + "\n".join(rules))


@pytest.mark.parametrize(
    ("action", "patterns"), [("detect", (EMPLOYEE,)), ("truncate(8)", (EMPLOYEE,)), ("redact", ())]
)
def test_patterns_go_with_the_columns_that_are_looked_into(action, patterns):
    platform = load_rules(
        "apiVersion: probegate/v1\nkind: MaskingRules\nmetadata: {name: p}\n"
        "spec: {defaults: {string: detect, integer: detect, float: detect, boolean: detect}}"
    )
    tenant = RuleSet(Scope.TENANT, (rule_from(RULE),))
    (bound,) = bind([Capture("note", "o.Note")], [("note", action)], [platform, tenant])
    assert bound.patterns == patterns
    assert bound.action is not Action.ALLOW
