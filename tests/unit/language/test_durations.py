from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from language.durations import MAX_DURATION, parse, render
from language.errors import TemplateError


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("10m", timedelta(minutes=10)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("90s", timedelta(seconds=90)),
        ("500ms", timedelta(milliseconds=500)),
        ("2d", timedelta(days=2)),
        ("0s", timedelta()),
    ],
)
def test_a_duration_is_exact(text: str, duration: timedelta) -> None:
    assert parse(text) == duration


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 10m",
        "10m ",
        "10 m",
        "1.5h",
        "-2m",
        "+2m",
        "10",
        "m",
        "30m1h",
        "1m1m",
        "10min",
        "x10m",
        "10m;",
        "1H",
        "١m",
        "9" * 30 + "h",
        "999999999999d",
    ],
)
def test_junk_is_an_error(text: str) -> None:
    with pytest.raises(TemplateError):
        parse(text)


@given(st.integers(0, MAX_DURATION // timedelta(milliseconds=1)))
def test_what_is_rendered_is_read_back_as_the_same_duration(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert parse(render(duration)) == duration
