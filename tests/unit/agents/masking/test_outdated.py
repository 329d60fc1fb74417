"""When the policy is over, rows carry types and lengths only: no value, whatever its rule allowed."""

from __future__ import annotations

import pyarrow as pa
import pytest

from agents.decoding.fields import BEYOND_LIMIT
from agents.decoding.model import RecordBatch
from agents.masking.model import FieldRule, PathRule
from agents.masking.outdated import OUTDATED
from agents.masking.service import types_and_lengths
from language.masking import Action


def shown(array, action=Action.ALLOW, metadata=None, paths=()):
    part = pa.field("c", array.type, metadata=metadata or {b"type": b"string"})
    columns = pa.RecordBatch.from_arrays([array], schema=pa.schema([part]))
    batch = types_and_lengths(RecordBatch(columns), [FieldRule("c", action, "r", paths=tuple(paths))])
    return batch.columns.column(0).to_pylist(), batch


def test_a_text_is_its_type_and_length():
    assert shown(pa.array(["ada", "", None, "é☃"]))[0] == ["<string of 3>", "<string of 0>", None, "<string of 2>"]


@pytest.mark.parametrize(
    ("array", "type_name", "expected"),
    [
        (pa.array([4111111111111111, None]), b"int64", ["<int64>", None]),
        (pa.array([1.5]), b"float64", ["<float64>"]),
        (pa.array([True]), b"bool", ["<bool>"]),
        (pa.array([{"Number": "4111"}]), b"shop.Card", ["<shop.Card>"]),
        (pa.array([["a", "b"], []]), b"[]string", ["<[]string of 2>", "<[]string of 0>"]),
    ],
)
def test_anything_else_is_its_type_and_a_list_its_length(array, type_name, expected):
    assert shown(array, metadata={b"type": type_name})[0] == expected


def test_a_json_text_has_no_length_that_would_tell_of_what_is_in_it():
    assert shown(pa.array(['{"a":1}']), metadata={b"type": b"map[string]int", b"encoding": b"json"})[0] == [
        "<map[string]int>"
    ]


def test_what_a_rule_hides_more_of_stays_hidden():
    assert shown(pa.array(["ada"]), Action.REDACT)[0] == ["<REDACTED>"]
    assert shown(pa.array(["ada"]), Action.TOKEN)[0] == ["<string>"]
    assert shown(pa.array([["ada"]]), paths=[PathRule("x", "", Action.REDACT, "r")])[0] == ["<string>"]


def test_a_column_without_a_rule_shows_nothing():
    columns = pa.RecordBatch.from_arrays([pa.array(["ada"])], ["c"])
    assert types_and_lengths(RecordBatch(columns), []).columns.column(0).to_pylist() == ["<REDACTED>"]


def test_the_length_is_that_of_what_may_be_shown():
    assert shown(pa.array(["a" * 40]), metadata={b"type": b"string", BEYOND_LIMIT: b"16 80"})[0] == ["<string of 16>"]


def test_every_value_is_counted():
    _, batch = shown(pa.array(["ada", None, "bob"]))
    assert [(receipt.rule, receipt.values, receipt.hidden) for receipt in batch.receipts] == [(OUTDATED, 2, 2)]
