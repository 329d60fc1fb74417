from __future__ import annotations

from datetime import timedelta
from fractions import Fraction

import pytest

from language.errors import TemplateError
from language.model import At, LimitSpec, ParameterSpec, ParameterType, TargetSpec
from language.yaml_front_end import load
from tests.builders.templates import SUM_YAML

SHORTEST = """\
apiVersion: probegate/v1
kind: ProbeTemplate
metadata: {name: a-b}
spec:
  probe: {function: f, capture: {x: y.z}}
"""


def test_every_field_is_read() -> None:
    template = load(SUM_YAML)
    assert template.name == "money-sum"
    assert template.labels == (("team", "payments"),)
    assert template.parameters == (ParameterSpec("minUnits", ParameterType.INT, default=0, min=0, max=1000),)
    assert template.target == TargetSpec(service="checkoutservice", language="go")
    assert template.probe.at is At.ENTRY_AND_RETURN
    assert template.probe.where == "l.Units >= params.minUnits"
    assert template.limits == LimitSpec(ttl=timedelta(minutes=10), cpu=0.01)
    assert template.masking == (("units", "allow"),)


def test_the_order_of_the_columns_is_kept() -> None:
    assert [capture.column for capture in load(SUM_YAML).probe.captures] == ["units", "currency", "sum", "latency"]


def test_every_default_is_filled_in() -> None:
    template = load(SHORTEST)
    assert template.table == "a_b"
    assert template.probe.at is At.ENTRY
    assert template.limits == LimitSpec()
    assert template.target == TargetSpec()


@pytest.mark.parametrize(
    ("expression", "at"),
    [("y.z", At.ENTRY), ("ret(0)", At.RETURN), ("latency()", At.ENTRY_AND_RETURN), ("y + ret(0)", At.ENTRY_AND_RETURN)],
)
def test_where_a_probe_fires_follows_from_what_it_captures(expression: str, at: At) -> None:
    assert load(SHORTEST.replace("y.z", expression)).probe.at is at


def test_a_line_probe_names_file_and_line() -> None:
    text = SHORTEST.replace("function: f,", "function: f, at: 'line:a/b.go:42',")
    assert load(text).probe.line == ("a/b.go", 42)


def test_limits_have_units() -> None:
    text = SHORTEST + "  limits: {ttl: 1h30m, sample: 1/10, cpu: 0.5%}\n"
    limits = load(text).limits
    assert (limits.ttl, limits.sample, limits.cpu) == (timedelta(minutes=90), Fraction(1, 10), 0.005)


@pytest.mark.parametrize(
    ("before", "after", "line", "column", "part"),
    [
        ("  table", "  tabel", 17, 3, "did you mean 'table'?"),
        ("units: l.Units", "units: l.Units / 2", 13, 14, "// divides"),
        ("units: l.Units", "units: 'a and l.Units / 2'", 13, 21, "// divides"),
        ("params.minUnits", "params.minUnit", 11, 23, "did you mean params.minUnits?"),
        ("sum: ret(0).Units", "_sum: ret(0).Units", 15, 7, "a column is named"),
        ("sum: ret(0).Units", "goid: goid()", 15, 7, "every row has a column"),
        ("sum: ret(0).Units", "Units: ret(0).Units", 15, 7, "already"),
        ("sum: ret(0).Units", "units: ret(0).Units", 15, 7, "there twice"),
        ("entry+return", "entry", 15, 7, "at the return only"),
        ("entry+return", "return", 16, 7, "both ends of the call"),
        ("entry+return", "always", 10, 9, "at is entry, return"),
        ("{units: allow}", "{unit: allow}", 18, 13, "not captured"),
        ("{units: allow}", "{units: hide}", 18, 13, "expected one of allow"),
        ("ttl: 10m", "ttl: 10 m", 19, 17, "is not a duration"),
        ("ttl: 10m", "ttl: 48h", 19, 17, "1s to 1d"),
        ("cpu: 1%", "cpu: 1", 19, 27, "in per cent"),
        ("cpu: 1%", "cpu: 101%", 19, 27, "up to 100%"),
        ("cpu: 1%", "sample: 2/3", 19, 30, "sample is 1/N"),
        ("cpu: 1%", "maxHits: 010", 19, 31, "plain decimal digits"),
        ("default: 0", "default: 1001", 6, 55, "from 0 to 1000"),
        ("type: int", "type: float", 6, 22, "one of int, string, bool"),
        ("language: go", "language: java", 7, 48, "a language is one of"),
        ("team: payments", "team: on", 3, 75, "put it in quotes"),
        ("name: money-sum", "name: &n money-sum", 3, 18, "anchors and aliases"),
        ("name: money-sum", "name: !!str money-sum", 3, 18, "tags"),
        ("name: money-sum", "name: Money_Sum", 3, 18, "a-z, 0-9"),
        ("probegate/v1", "probegate/v2", 1, 13, "apiVersion is probegate/v1"),
        ("function: shop/money.Sum", "function:", 9, 14, "has no value"),
        ("    function: shop/money.Sum\n", "", 9, 5, "needs the key 'function'"),
        ("kind:", "---\nkind:", 2, 1, "another document"),
        ("spec:", "spec: [", 6, 13, "not YAML"),
    ],
)
def test_a_mistake_is_refused_at_its_place(before: str, after: str, line: int, column: int, part: str) -> None:
    assert before in SUM_YAML
    with pytest.raises(TemplateError) as refused:
        load(SUM_YAML.replace(before, after, 1))
    assert part in str(refused.value)
    position = refused.value.position
    assert position is not None
    assert (position.line, position.column) == (line, column)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a",
        "a: &a [1]\nb: [*a, *a]",
        "[" * 50 + "]" * 50,
        "{" * 3000,
        "a: " + "x" * 70_000,
        "\n".join(f"k{number}: 1" for number in range(3000)),
        "a: \x00",
        "? [a]\n: b",
        "a: !!python/object/apply:os.system [id]",
    ],
)
def test_hostile_yaml_is_refused(text: str) -> None:
    with pytest.raises(TemplateError):
        load(text)
