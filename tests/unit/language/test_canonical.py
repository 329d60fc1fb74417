from __future__ import annotations

import json

import pytest
from hypothesis import given, settings

from language import canonical, yaml_front_end
from language.diff import Change, diff
from language.errors import TemplateError
from language.model import Template
from tests.builders.templates import SUM_YAML, templates


@settings(max_examples=60)
@given(templates())
def test_a_template_and_its_bytes_are_one(template: Template) -> None:
    assert canonical.from_bytes(canonical.to_bytes(template)) == template


@settings(max_examples=40)
@given(templates(), templates())
def test_a_diff_is_empty_exactly_when_the_bytes_are_equal(before: Template, after: Template) -> None:
    assert (diff(before, after) == ()) == (canonical.to_bytes(before) == canonical.to_bytes(after))
    assert diff(before, before) == ()


def _bytes() -> bytes:
    return canonical.to_bytes(yaml_front_end.load(SUM_YAML))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"format":1', '"format":2'),
        ('"format":1', '"format":1,"extra":1'),
        ('"format":1', '"format": 1'),
        ('"format":1', '"format":1,"format":1'),
        ('"maxHits":100000', '"maxHits":1e5'),
        ('"maxHits":100000', '"maxHits":true'),
        ('"maxHits":100000', '"maxHits":0'),
        ('"at":"entry+return"', '"at":"entry"'),
        ('"l.Units"', '"l .Units"x'),
        ('"money-sum"', '"Money"'),
        ('"sample":"1/1"', '"sample":"1/0"'),
    ],
)
def test_bytes_that_were_edited_are_refused(before: str, after: str) -> None:
    text = _bytes().decode()
    assert before in text
    with pytest.raises(TemplateError):
        canonical.from_bytes(text.replace(before, after, 1).encode())


@pytest.mark.parametrize("junk", [b"", b"{}", b"[]", b"\xff", b"[" * 100_000, b"null", b" " * 300_000])
def test_junk_is_refused(junk: bytes) -> None:
    with pytest.raises(TemplateError):
        canonical.from_bytes(junk)


def test_the_bytes_hold_every_field_and_no_floating_point() -> None:
    value = json.loads(_bytes(), parse_float=lambda text: pytest.fail(f"{text} is a float"))
    assert value["limits"]["cpuMillionths"] == 10_000
    assert value["limits"]["maxDepth"] == 3


def test_the_digest_names_its_algorithm() -> None:
    assert canonical.digest(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_diff_names_columns_and_fields() -> None:
    before = yaml_front_end.load(SUM_YAML)
    after = yaml_front_end.load(
        SUM_YAML.replace("units: l.Units", "units: r.Units")
        .replace("ttl: 10m", "ttl: 1h")
        .replace("      sum: ret(0).Units\n", "")
    )
    assert diff(before, after) == (
        Change("limits.ttl", "10m", "1h"),
        Change("probe.capture.sum", "ret(0).Units", None),
        Change("probe.capture.units", "l.Units", "r.Units"),
    )


def test_columns_that_change_places_are_a_difference() -> None:
    before = yaml_front_end.load(SUM_YAML)
    after = yaml_front_end.load(
        SUM_YAML.replace("      sum: ret(0).Units\n", "").replace(
            "      units:", "      sum: ret(0).Units\n      units:"
        )
    )
    assert [change.path for change in diff(before, after)] == ["order.capture"]
