"""Sample rows are shown as a probe's would be, with the rule that decided and what was nearly hidden and why not."""

import json

import pytest

from agents.masking.model import FieldRule, PathRule
from agents.masking.near_misses import MAX_NEAR
from agents.masking.samples import MAX_FIELDS, SampleProblem, shown_samples
from language.masking import Action
from language.masking_patterns import ValuePattern

DETECT = FieldRule("note", Action.DETECT, "platform:default.string")


def one(value, rule=DETECT, *names):
    (field,) = shown_samples([{"note": value}], [rule], {"note": names})
    return field


def why(value, kind, rule=DETECT, *names):
    return [miss["why"] for miss in one(value, rule, *names)["near"] if kind in miss["kinds"]]


def test_what_is_hidden_says_by_which_rule_and_where():
    field = one("to bob@example.com")
    assert (field["shown"], field["rule"], field["action"]) == ("to <EMAIL>", "platform:default.string", "detect")
    assert field["spans"] == [[3, 18, "EMAIL", "redact"]]
    assert field["near"] == []


def test_a_number_without_its_word_is_a_near_miss_and_with_it_none():
    assert why("id 9434765919", "UK_NHS") == ["no keyword"]
    assert one("nhs 943 476 5919 x")["shown"] == "nhs <UK_NHS> x"
    assert one("943 476 5919", DETECT, "p.NhsNumber")["shown"] == "<UK_NHS>"


def test_a_word_that_stands_too_far_away_is_said():
    assert why("passport: " + "and so on " * 8 + "C01X00T47", "PASSPORT") == ["keyword too far"]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("4111111111111112", "CARD"),
        (4111111111111112, "CARD"),
        ("GB82WEST12345698765431", "IBAN"),
        ("nhs 9434765910", "UK_NHS"),
    ],
)
def test_wrong_check_digits_are_said(value, kind):
    assert "checksum" in why(value, kind)


def test_what_a_rule_shows_although_it_was_found_is_out_of_scope():
    field = one("bob@example.com", FieldRule("note", Action.ALLOW, "template"))
    assert field["shown"] == "bob@example.com"
    assert field["near"] == [{"start": 0, "end": 15, "why": "out of scope", "kinds": ["EMAIL"]}]


def test_a_tenants_own_detector_stands_there_under_its_name():
    mine = FieldRule("note", Action.DETECT, "platform:r", patterns=(ValuePattern("tenant:employee", "EMP-[0-9]{6}"),))
    assert one("EMP-123456", mine)["spans"] == [[0, 10, "employee", "redact"]]
    assert one(["EMP-123456"], mine)["shown"] == "<employee>"


def test_each_field_inside_a_value_has_its_own_rule():
    rule = FieldRule(
        "note", Action.DETECT, "platform:r", paths=(
            PathRule("words:pin", "", Action.DROP, "platform:pin"), PathRule("", "*.Card", Action.REDACT, "tenant:card"),
            PathRule("", "kind:integer", Action.TOKEN, "tenant:numbers"),
        ),
    )  # fmt: skip
    value = {"Pin": "1234", "Card": {"type": "main.Card", "value": {"n": 1}}, "Items": [7, "x"]}
    fields = shown_samples([{"note": value}], [rule], {})
    assert [(field["path"], field["shown"], field["rule"]) for field in fields] == [
        ("Pin", "<DROPPED>", "platform:pin"),
        ("Card", "<REDACTED>", "tenant:card"),
        ("Items", "<TOKEN>", "tenant:numbers"),
        ("Items", "x", "platform:r"),
    ]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"other": 1}], "no column 'other'"),
        ([{"note": list(range(MAX_FIELDS + 1))}], "more than 500 fields"),
        ([{"note": {"a": json.loads('{"a":' * 20 + "1" + "}" * 20)}}], "nested deeper"),
    ],
)
def test_rows_that_cannot_be_shown_are_refused(rows, said):
    with pytest.raises(SampleProblem, match=said):
        shown_samples(rows, [DETECT], {})


def test_a_value_full_of_near_misses_has_a_bound():
    assert len(one("4111111111111112, " * 100)["near"]) == MAX_NEAR
