"""What only the tenant knows to be personal is hidden wherever it stands, under the name of the tenant's rule."""

import base64
import json
from dataclasses import replace
from urllib.parse import quote

import pyarrow as pa
import pytest

from agents.masking import own_patterns
from agents.masking.budget import Budget
from agents.masking.service import mask
from language.masking import Action
from language.masking_patterns import ValuePattern
from tests.unit.agents.masking.test_hostile import HOSTILE, LIMIT, SECONDS
from tests.unit.agents.masking.test_service import batch, by_name, masked, rule

EMPLOYEE = ValuePattern("tenant:employee-number", r"EMP-[0-9]{6}")
BADGE = ValuePattern("tenant:badge", r"\b77[0-9]{5}\b")
OWN = replace(rule(), patterns=(EMPLOYEE, BADGE))
ID = "EMP-123456"

HOSTILE_RULES = tuple(
    ValuePattern(f"tenant:hostile-{n}", regex)
    for n, regex in enumerate(
        [*(rf"[01]*1[01]{{{n}}}" for n in range(10, 24)), "(x+x+)+y", "a.*b|a", "(a|aa)+c", "(?:a?){90}a{90}",
         r"(.*,){11}P", r"([a-z]+){2,30}$", r"(?:[a-z]+[0-9]?){20}!", r"(?i)(?:a|b|c|d){1,99}e", r"[\s\S]{60}z",
         r"\w+@\w+\.\w+\.\w+\.q", "."]
    )
)  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        f"by {ID}.", f'{{"who": "{ID}"}}', quote(f"who={ID}&x=1", safe=""), f"https://x/?q={ID.replace('-', '%2D')}",
        "EMP\u200b-123456", "EMP-１２３４５６", base64.b64encode(f"by {ID} and more".encode()).decode(),
        f"by {ID} again".encode().hex(), f"{ID} " * 70, f"\ud800 {ID}",
    ],
    ids=ascii,
)  # fmt: skip
def test_it_is_found_as_it_stands_and_behind_every_view_of_a_text(text):
    if "\ud800" in text:
        text = text.encode("utf-8", "replace").decode()
    (shown,), _ = masked(pa.array([text]), OWN)
    assert "<employee-number>" in shown
    assert "123456" not in shown


def test_it_stands_beside_what_the_platform_finds():
    (shown,), _ = masked(pa.array([f"{ID} bob@example.com"]), OWN)
    assert shown == "<employee-number> <EMAIL>"


def test_numbers_are_looked_at_as_their_digits():
    shown, result = masked(pa.array([7712345, 12, None]), OWN)
    assert shown == ["<badge>", "12", None]
    assert ("tenant:badge", 1, 1) in [(one.rule, one.values, one.hidden) for one in result.receipts]


def test_bytes_maps_structs_and_json_are_looked_into():
    packed = pa.array([ID.encode()])
    assert masked(packed, OWN)[0] == ["<employee-number>"]
    nested = pa.array([[(ID, [ID])]], pa.map_(pa.string(), pa.list_(pa.string())))
    assert ID not in str(masked(nested, OWN)[0])
    record = batch(pa.array([json.dumps({ID: {"n": 7712345, "t": [ID]}})]))
    part = record.columns.schema.field("c")
    part = part.with_metadata({**part.metadata, b"encoding": b"json"})
    index = record.columns.schema.get_field_index("c")
    columns = pa.RecordBatch.from_arrays(record.columns.columns, schema=record.columns.schema.set(index, part))
    (shown,) = mask(replace(record, columns=columns), (OWN,)).columns.column("c").to_pylist()
    assert json.loads(shown) == {"<employee-number>": {"n": "<badge>", "t": ["<employee-number>"]}}


def test_the_receipt_counts_rows_under_the_tenants_rule():
    _, result = masked(pa.array([ID, ID, "plain", f"{ID} x"]), OWN)
    assert {(one.rule, one.action, one.hidden) for one in result.receipts} >= {
        ("tenant:employee-number", Action.REDACT, 3),
        ("platform:r", Action.DETECT, 3),
    }


@pytest.mark.parametrize("kept", range(1, len(ID)))
def test_one_that_was_cut_in_the_middle_stays_hidden(kept):
    text = f"handled by {ID[:kept]}"
    (shown,), _ = masked(pa.array([text]), OWN, cut=[{"c": 400}])
    assert shown == "handled by <CUT>"


def test_truncated_and_stricter_places_inside_know_it_too():
    (shown,), _ = masked(pa.array([f"by {ID}"]), replace(rule(Action.TRUNCATE, argument="8"), patterns=(EMPLOYEE,)))
    assert shown.startswith("by <empl")
    array = pa.array([{"Note": f"x {ID}", "Pin": ID}])
    shown, _ = masked(array, replace(rule(Action.DETECT, by_name("pin", Action.REDACT)), patterns=(EMPLOYEE,)))
    assert shown == [{"Note": "x <employee-number>", "Pin": "<REDACTED>"}]


def test_a_tenant_without_patterns_pays_for_no_pass(monkeypatch):
    def refuse(*_):
        raise AssertionError("looked for patterns that nobody has")

    monkeypatch.setattr(own_patterns, "pattern_set", refuse)
    assert masked(pa.array([ID]), rule())[0] == [ID]


def test_a_pattern_that_does_not_compile_hides_the_column():
    broken = replace(rule(), patterns=(ValuePattern("tenant:broken", "a("),))
    shown, result = masked(pa.array(["plain"]), broken)
    assert shown == ["<UNSCANNED>"]
    assert [one.rule for one in result.receipts] == ["unscanned"]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:12]))
def test_hostile_rules_on_hostile_texts_stay_within_the_time_and_hide_what_they_must(text):
    """25 patterns, as hostile as are taken, on texts at the capture limit."""
    budget = Budget(SECONDS * 4)
    planted = f"{text} {ID} bob@example.com"
    mine = replace(rule(), patterns=(*HOSTILE_RULES[:24], EMPLOYEE))
    (shown,) = mask(batch(pa.array([planted])), (mine,), budget).columns.column("c").to_pylist()
    assert ID not in shown
    assert "bob@example.com" not in shown
    assert not budget.over()


def test_no_time_left_hides_everything():
    mine = replace(rule(), patterns=HOSTILE_RULES)
    shown = mask(batch(pa.array(["01" * (LIMIT // 2), ID])), (mine,), Budget(0)).columns.column("c").to_pylist()
    assert shown == ["<UNSCANNED>"] * 2
