"""What a script says to show is what is shown, in its order; what is not there is compared with nothing."""

import pytest

from client.cli.displays import Display
from client.sdk import ClientError


def display(*operations) -> Display:
    return Display.of({"name": "shown", "operations": list(operations)})


ROWS = [
    {"time_": 1, "units": 5, "currency": "USD", "order": {"id": "o-1"}},
    {"time_": 2, "units": 900, "currency": "EUR", "order": {"id": "o-2"}},
    {"time_": 3, "units": None, "currency": "EUR", "order": None, "_absent": {"units": "not_resident"}},
]


def times(shown: Display, rows=ROWS) -> list[int]:
    return [row["time_"] for row in shown.apply(rows)]


def test_a_filter_keeps_the_rows_that_it_holds_for():
    assert times(display({"filter": "units > 5"})) == [2]
    assert times(display({"filter": "currency == 'EUR' and startswith(order.id, 'o-')"})) == [2]
    assert times(display({"filter": "currency in ('USD', 'GBP') or units % 2 == 0"})) == [1, 2]


def test_an_absent_value_is_neither_equal_nor_unequal():
    assert times(display({"filter": "units == 5"})) == [1]
    assert times(display({"filter": "units != 5"})) == [2]


def test_a_head_counts_over_all_batches_and_behind_the_filter_before_it():
    shown = display({"filter": "currency == 'EUR'"}, {"head": 1})
    assert times(shown) == [2]
    assert times(shown) == []


def test_select_and_drop_choose_columns_but_never_hide_why_one_is_absent():
    assert next(display({"select": ["units"]}).apply(ROWS[2:])) == {"units": None, "_absent": {"units": "not_resident"}}
    assert "currency" not in next(display({"drop": ["currency"]}).apply(ROWS))


def test_an_operation_that_is_not_known_is_refused_not_skipped():
    with pytest.raises(ClientError, match="too old"):
        display({"groupby": ["units"]})
    with pytest.raises(ClientError, match="same type"):
        times(display({"filter": "currency > 5"}))
