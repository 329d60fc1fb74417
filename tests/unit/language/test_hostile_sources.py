"""Whatever comes in: a script, or a TemplateError; never anything else, never for long."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from language import canonical, expressions, front_end, pxl_front_end, yaml_front_end
from language.errors import TemplateError
from tests.builders.templates import SUM_PXL, SUM_YAML

LOADERS = [yaml_front_end.load, pxl_front_end.load, front_end.load, expressions.parse]
FRAGMENTS = st.sampled_from(
    [
        *"'\":{}[](),\n\t#%~=@|\x00é𝐟",
        chr(0xD800),  # half a surrogate pair
        *("&a ", "*a", "!!x ", "- ", "? ", "---\n", "null", "0x1", "1e9", "on", "\\x00", "  "),
        *("lambda: 0", "async ", "**x", "$0"),
    ]
)


@pytest.mark.parametrize("load", LOADERS)
@given(text=st.text(max_size=200))
def test_any_text_is_read_or_refused(load: Callable[[str], object], text: str) -> None:
    with suppress(TemplateError):
        load(text)


@pytest.mark.parametrize(("load", "good"), [(yaml_front_end.load, SUM_YAML), (pxl_front_end.load, SUM_PXL)])
@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_any_damage_is_read_or_refused(load: Callable[[str], object], good: str, data: st.DataObject) -> None:
    text = good
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        gone = data.draw(st.integers(0, 10))
        text = text[:at] + data.draw(FRAGMENTS) + text[at + gone :]
    with suppress(TemplateError):
        load(text)


@settings(max_examples=400, deadline=None)
@given(at=st.integers(0, 2000), value=st.integers(0, 255), gone=st.integers(0, 3))
def test_any_damage_to_the_canonical_bytes_is_refused(at: int, value: int, gone: int) -> None:
    good = canonical.to_bytes(yaml_front_end.load(SUM_YAML))
    at %= len(good)
    bad = good[:at] + bytes([value]) + good[at + gone :]
    try:
        template = canonical.from_bytes(bad)
    except TemplateError:
        return
    assert canonical.to_bytes(template) == bad  # another template, in its own one spelling


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "[" * 3000 + "]" * 3000,
        "x = " + "-" * 60_000 + "1",
        "x = " + "+".join(["'a'"] * 4000),
        "x = 1\n" * 2000,
        "px.display(" + "df.head().head()" * 2000 + ")",
        "df = px.DataFrame('t')\n" + "df = df.head()\n" * 3000,
        "if 1:\n" + "".join(" " * n + "if 1:\n" for n in range(1, 120)) + " " * 120 + "pass",
        "x = 'a'\n" + "x = x + x\n" * 60,
        "x = 10**10**10",
        "x = " + "+".join(["'a'"] * 2500),
        "px.display(px.DataFrame('t')" + ".head()" * 900 + ")",
        "df = px.DataFrame('t')\npx.display(df[" + "not " * 2000 + "df.a])",
        "x = '" + "a" * 60_000 + "'",
    ],
    ids=range(13),
)
def test_a_hostile_script_costs_little(text: str) -> None:
    begun = time.monotonic()
    with suppress(TemplateError):
        pxl_front_end.load(text)
    assert time.monotonic() - begun < 3
