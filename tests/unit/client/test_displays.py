"""What a script says to show is what is shown, in its order; what is not there is compared with nothing."""

import pytest

from client.cli.displays import NOT_COMPUTED, Display
from client.cli.live import duration
from client.sdk import ClientError
from language import frame_json
from language.pxl_front_end import load


def display(script: str) -> Display:
    """`script` works on `df`; as the client gets it, through JSON."""
    text = f"import px\ndf = px.DataFrame('t')\n{script}\npx.display(df, 'shown')\n"
    operations = [frame_json.to_json(operation) for operation in load(text).displays[0].operations]
    return Display.of({"name": "shown", "operations": operations})


ROWS = [
    {"time_": 1, "units": 5, "currency": "USD", "order": {"id": "o-1"}},
    {"time_": 2, "units": 900, "currency": "EUR", "order": {"id": "o-2"}},
    {"time_": 3, "units": None, "currency": "EUR", "order": None, "_absent": {"units": "not_resident"}},
]


def times(shown: Display, rows=ROWS) -> list[int]:
    return [row["time_"] for row in shown.apply(rows)]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("df.units > 5", [2]),
        ("df.currency == 'EUR' and df.order.id.startswith('o-')", [2]),
        ("startswith(df.currency, 'E')", [2, 3]),
        ("df.currency in ('USD', 'GBP') or df.units % 2 == 0", [1, 2]),
        ("not df.units > 5", [1, 3]),
        ("0 < df.units < 6", [1]),
        ("px.contains(df.order['id'], '-2')", [2]),
        ("len(df.currency) == 3", [1, 2, 3]),
    ],
)
def test_a_filter_keeps_the_rows_that_it_holds_for(condition, expected):
    assert times(display(f"df = df[{condition}]")) == expected


def test_an_absent_value_is_neither_equal_nor_unequal():
    assert times(display("df = df[df.units == 5]")) == [1]
    assert times(display("df = df[df.units != 5]")) == [2]


def test_a_head_counts_over_all_batches_and_behind_the_filter_before_it():
    shown = display("df = df[df.currency == 'EUR'].head(1)")
    assert times(shown) == [2]
    assert times(shown) == []


def test_select_and_drop_choose_columns_but_never_hide_why_one_is_absent():
    only = next(display("df = df[['units']]").apply(ROWS[2:]))
    assert only == {"units": None, "_absent": {"units": "not_resident"}}
    assert "currency" not in next(display("df = df.drop('currency')").apply(ROWS))


def test_what_cannot_be_computed_is_absent_with_a_reason_never_zero():
    rows = list(display("df.half = df.units / 2\ndf.bad = df.units / (df.units - 5)").apply(ROWS))
    assert [row["half"] for row in rows] == [2.5, 450.0, None]
    assert rows[2]["_absent"] == {"units": "not_resident", "half": NOT_COMPUTED, "bad": NOT_COMPUTED}
    assert rows[0]["_absent"] == {"bad": NOT_COMPUTED}


def test_groups_come_at_the_end_and_an_absent_key_is_a_group():
    shown = display("df = df.groupby('order').agg(n=('time_', px.count), most=('units', px.max))")
    assert list(shown.apply(ROWS[:1])) == list(shown.apply(ROWS[1:])) == []
    assert [(row["n"], row["most"]) for row in shown.finish()] == [(1, 5), (1, 900), (1, None)]


def test_a_whole_table_has_one_row_also_without_rows():
    shown = display("df = df.agg(n=('units', px.count), total=('units', px.sum))")
    list(shown.apply([]))
    assert list(shown.finish()) == [{"n": 0, "total": None}]


def test_durations_are_shown_for_people():
    assert [duration(n) for n in (12, 1500, 2_345_678, 3e9)] == ["12ns", "1.5us", "2.346ms", "3s"]
    assert display("df.latency = px.DurationNanos(df.units)").durations == {"latency"}


def test_only_recent_rows_are_shown_with_a_start_time():
    text = "import px\npx.display(px.DataFrame('t', start_time='-5m'))\n"
    shown = Display("", load(text).displays[0].operations)
    assert times(shown) == []


def test_an_operation_that_is_not_known_is_refused_not_skipped():
    with pytest.raises(ClientError, match="too old"):
        Display.of({"operations": [{"join": "other"}]})
    with pytest.raises(ClientError, match="too old"):
        Display.of({"operations": [{"filter": {"call": "px.sha256", "arguments": []}}]})
    with pytest.raises(ClientError, match="same type"):
        times(display("df = df[df.currency > 5]"))
