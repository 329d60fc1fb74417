"""What is split over neighbouring columns is hidden in each of them; numbers that merely stand side by side survive."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from agents.decoding.model import RecordBatch
from agents.masking.actions import UNSCANNED
from agents.masking.budget import Budget
from agents.masking.model import FieldRule
from agents.masking.service import mask
from language.masking import Action
from tests.builders.ordinary_lines import generated

LINES, COLUMNS = 3_000, 6
MAX_MORE = 20  # values of some forty thousand


def masked(columns, actions=None, budget=None, function="shop.Do"):
    arrays = [pa.array(values) for values in columns.values()]
    said = {b"type": b"T", b"function": function.encode()}
    fields = [
        pa.field(name, array.type, metadata=said | {b"expression": name.encode()})
        for name, array in zip(columns, arrays, strict=True)
    ]
    rules = [FieldRule(name, (actions or {}).get(name, Action.DETECT), "r") for name in columns]
    batch = mask(RecordBatch(pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))), rules, budget)
    return [tuple(row.values()) for row in batch.columns.to_pylist()], batch


CARD4 = ("<CARD>",) * 4


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        ({"a": [4111], "b": [1111], "c": [1111], "d": [1111]}, CARD4),
        ({"a": ["4111"], "b": ["1111"], "c": [1111], "d": [1111]}, CARD4),
        ({"a": ["3782"], "b": ["822463"], "c": ["10005"]}, CARD4[:3]),
        ({"first": ["41111111"], "second": ["11111111"]}, CARD4[:2]),
        ({"cardFront": [41111111], "cardBack": [11111111]}, CARD4[:2]),
        ({"pan1": ["411111"], "pan2": ["1111111111"]}, CARD4[:2]),
        ({"user": ["bob.smith"], "host": ["@example.com"]}, ("<EMAIL>",) * 2),
        ({"left": ["mail bob@exam"], "right": ["ple.com now"]}, ("<EMAIL>",) * 2),
        ({"bank": ["DE89370400"], "rest": ["440532013000"]}, ("<IBAN>",) * 2),
    ],
)
def test_what_two_to_four_columns_hold_together_is_hidden_in_each(columns, shown):
    assert masked(columns)[0] == [shown]


def test_only_the_rows_and_columns_that_it_touches_are_hidden():
    rows, batch = masked(
        {"n": [7, 8], "a": [4111, 1], "b": [1111, 2], "c": [1111, 3], "d": [1111, 4], "note": ["x", "y"]}
    )
    assert rows == [(7, *CARD4, "x"), (8, "1", "2", "3", "4", "y")]
    assert {(r.column, r.values, r.hidden) for r in batch.receipts if r.hidden} == {(c, 2, 1) for c in "abcd"}


def test_zeros_that_an_integer_lost_are_put_back_where_a_name_speaks_of_cards():
    digits = ("4000", "0000", "0000", "0002")
    columns = {f"card{number}": [int(part)] for number, part in enumerate(digits)}
    assert masked(columns)[0] == [CARD4]


def test_a_column_whose_rule_allows_it_takes_no_part():
    columns = {"a": [4111], "b": [1111], "c": [1111], "d": [1111]}
    assert masked(columns, {"b": Action.ALLOW})[0] == [(4111, 1111, 1111, 1111)]


def test_past_the_time_budget_candidates_are_hidden_and_counted():
    rows, batch = masked({"a": [4111], "b": [1111], "c": [1111], "d": [1112]}, budget=Budget(0.0))
    assert rows == [(UNSCANNED,) * 4]
    assert any(receipt.rule == "unscanned" for receipt in batch.receipts)


@pytest.mark.parametrize(
    "columns",
    [
        {"trace": ["4bf92f3577b34da6"], "span": ["00f067aa0ba902b7"]},
        {"user_id": [41111111], "order_id": [11111111]},
        {"width": [1920], "height": [1080], "left": [1111], "top": [1111]},
        {"lUnits": [4111], "rUnits": [1111]},
        {"user": ["bob"], "file": ["main.go"]},
        {"user": ["bob"], "host": ["example.com"]},
        {"day": ["20240131"], "until": ["20240301"]},
        {"version": ["1.22.3"], "commit": ["a1b2c3d4e5f6"]},
    ],
)
def test_what_merely_stands_side_by_side_survives(columns):
    assert masked(columns)[0] == [tuple(values[0] for values in columns.values())]


def test_random_integers_side_by_side_are_hardly_ever_taken_for_a_card():
    random = np.random.default_rng(6)
    sizes = (10, 1000, 10**5, 10**6, 10**9, 10**11, 10**5, 10**4, 10**4)
    columns = {f"n{place}": random.integers(0, size, 5000) for place, size in enumerate(sizes)}
    rows, _ = masked(columns)
    hidden = sum("<CARD>" in row for row in rows)
    assert hidden <= 10


def test_words_of_ordinary_logs_side_by_side_survive():
    words = [word for line, _ in generated(LINES, 7) for word in line.split()]
    rows = len(words) // COLUMNS
    columns = {f"w{place}": words[place * rows : (place + 1) * rows] for place in range(COLUMNS)}
    _, alone = masked({"w": words[: rows * COLUMNS]})
    shown, _ = masked(columns)
    together = [value for place in range(COLUMNS) for value in (row[place] for row in shown)]
    before = alone.columns.column("w").to_pylist()
    assert sum(new != old for new, old in zip(together, before, strict=True)) <= MAX_MORE
