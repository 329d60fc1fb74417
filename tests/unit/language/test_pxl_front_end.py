from __future__ import annotations

from datetime import timedelta

import pytest

from language import canonical, front_end, yaml_front_end
from language.errors import TemplateError, UnsupportedName
from language.frame_syntax import Binary, Column, Drop, Filter, Head, Literal, Select
from language.model import At, Capture, TargetSpec
from language.pxl_front_end import load
from tests.builders.templates import SUM_PXL


def test_a_script_is_read_as_its_deployment() -> None:
    [deployment] = load(SUM_PXL).templates
    assert (deployment.name, deployment.table, deployment.ttl) == ("money_sum_px", "money_sum", timedelta(minutes=10))
    assert deployment.template.name == "money-sum-px"
    assert deployment.template.probe.captures == (Capture("units", "l.Units"), Capture("sum", "ret(0).Units"))
    assert deployment.template.probe.at is At.ENTRY_AND_RETURN
    assert deployment.target == TargetSpec(pod="shop/checkoutservice")


def test_yaml_and_pxl_of_one_probe_have_the_same_bytes() -> None:
    same = """\
apiVersion: probegate/v1
kind: ProbeTemplate
metadata: {name: money-sum-px}
spec:
  target: {pod: shop/checkoutservice}
  probe:
    function: shop/money.Sum
    capture: {units: l . Units, sum: (ret(0)).Units}
  table: money_sum
"""
    [deployment] = load(SUM_PXL).templates
    assert canonical.to_bytes(deployment.template) == canonical.to_bytes(yaml_front_end.load(same))


def _with(before: str, after: str) -> str:
    assert before in SUM_PXL
    return SUM_PXL.replace(before, after, 1)


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ("[{'a': pxtrace.ArgExpr('l.Units')}]", At.ENTRY),
        ("[{'a': pxtrace.RetExpr('$0')}]", At.RETURN),
        ("{'a': pxtrace.RetExpr('sum.Units')}", At.RETURN),
        ("{'a': pxtrace.FunctionLatency()}", At.ENTRY_AND_RETURN),
        ("{'a': pxtrace.RetExpr('$0'), 'b': pxtrace.ArgExpr('l')}", At.ENTRY_AND_RETURN),
    ],
)
def test_where_a_probe_fires_follows_from_its_fields(fields: str, at: At) -> None:
    text = _with("[{'units': pxtrace.ArgExpr('l.Units')},\n            {'sum': pxtrace.RetExpr('$0.Units')}]", fields)
    assert load(text).templates[0].template.probe.at is at


@pytest.mark.parametrize(
    ("written", "expression"),
    [("$0.Units", "ret(0).Units"), ("$12", "ret(12)"), ("~r1.f", "ret(1).f"), ("sum.f", "sum.f")],
)
def test_results_are_named_by_number_or_name(written: str, expression: str) -> None:
    assert load(_with("$0.Units", written)).templates[0].template.probe.captures[1].expression == expression


@pytest.mark.parametrize(
    ("written", "target"),
    [
        ("pxtrace.PodProcess('ns/p', '', '')", TargetSpec(pod="ns/p")),
        (
            "pxtrace.LabelSelector({'app': 'x'}, 'ns')",
            TargetSpec(labels=(("app", "x"), ("k8s.namespace.name", "ns"))),
        ),
        ("px.uint128('1:22:333')", TargetSpec(pids=(22,))),
        ("px.uint128('00000001-0000-0016-0000-00000000000a')", TargetSpec(pids=(22,))),
        ("pxtrace.SharedObject('libc', px.uint128('1:22:333'))", TargetSpec(pids=(22,), shared_object="libc")),
    ],
)
def test_targets_are_read(written: str, target: TargetSpec) -> None:
    assert load(_with("pxtrace.PodProcess('shop/checkoutservice')", written)).templates[0].target == target


@pytest.mark.parametrize(
    ("before", "after", "line", "column", "part"),
    [
        ("pxtrace.UpsertTracepoint(", "pxtrace.UpsertTracepont(", 9, 1, "pxtrace.UpsertTracepoint"),
        ("px.display(", "px.dispaly(", 10, 1, "px.display"),
        ("pxtrace.ArgExpr", "pxtrace.ArgExp", 6, 23, "pxtrace.ArgExpr"),
        ("import px\n", "import os\n", 2, 1, "import px"),
        ("import px\n", "from px import display\n", 2, 1, "import px"),
        ("px.DataFrame('money_sum')", "px.DataFrame('money_sum').grupby('a')", 10, 12, "DataFrame.groupby"),
        ("pxtrace.PodProcess('shop/checkoutservice')", "pxtrace.kprobe()", 9, 66, "every process of the host"),
        ("'money_sum', money_sum,", "'money_sum', pxtrace.TraceProgram('x'),", 9, 55, "@pxtrace.probe"),
        ("'money_sum', money_sum,", "'money_sum', money_sun,", 9, 55, "money_sum"),
        ("px.display(px", "exec('x'); px.display(px", 10, 1, "exec is not supported"),
    ],
)
def test_a_name_outside_the_set_is_refused_with_the_nearest(
    before: str, after: str, line: int, column: int, part: str
) -> None:
    with pytest.raises(UnsupportedName) as refused:
        load(_with(before, after))
    assert part in refused.value.problem
    assert refused.value.position is not None
    assert (refused.value.position.line, refused.value.position.column) == (line, column)


@pytest.mark.parametrize(
    ("before", "after", "part"),
    [
        ("'10m'", "'10m '", "is not a duration"),
        ("'10m'", "'1.5h'", "is not a duration"),
        ("'10m'", "'25h'", "1s to 1d"),
        ("money_sum, pxtrace", "'kprobe:f { }', pxtrace", "bpftrace program"),
        ("'l.Units'", "'l.Units()'", "cannot call the program's own functions"),
        ("'l.Units'", "'ret(0)'", "pxtrace.RetExpr"),
        ("'l.Units'", "'latency()'", "pxtrace.FunctionLatency()"),
        ("'sum'", "'units'", "already"),
        ("'sum'", "'time_'", "every row has"),
        ("def money_sum()", "def money_sum(x)", "takes no arguments"),
        ("    return", "    x = 1\n    return", "one `return`"),
        ("@pxtrace.probe('shop/money.Sum')\n", "", "decorate it"),
        ("px.display(", "while True: pass\npx.display(", "while came"),
        ("'money_sum_px'", "'money sum'", "a tracepoint's name"),
        ("'shop/checkoutservice')", "'shop/checkoutservice', 'server')", "container_name"),
        (", '10m')", ")", "needs ttl"),
        (", '10m')", ", '10m', 'x')", "6 arguments"),
        ("import px\n", "import px as p\n", "keep their names"),
        ("import px\n", "x = \n", "not a PxL script"),
    ],
)
def test_a_mistake_is_refused_with_its_place(before: str, after: str, part: str) -> None:
    with pytest.raises(TemplateError) as refused:
        load(_with(before, after))
    assert part in refused.value.problem
    assert refused.value.position is not None


def test_operations_on_the_table_are_kept_in_order() -> None:
    text = SUM_PXL + (
        "least = 5\ndf = px.DataFrame('money_sum')\ndf = df[df.units > least]\n"
        "df = df[['units', 'sum']].drop('sum').head(10)\npx.display(df, 'mine')\npxtrace.DeleteTracepoint('old')\n"
    )
    script = load(text)
    assert script.displays[1].name == "mine"
    assert script.displays[1].operations == (
        Filter(Binary(">", Column("units"), Literal(5))),
        Select(("units", "sum")),
        Drop(("sum",)),
        Head(10),
    )
    assert script.deletions == ("old",)


@pytest.mark.parametrize("text", ["", "import px", "x" * 70_000, "(" * 5000, "x = 1\n" * 9000, "x\x00"])
def test_hostile_scripts_are_refused(text: str) -> None:
    with pytest.raises(TemplateError):
        load(text)


def test_the_language_of_a_text_is_told_by_its_beginning() -> None:
    assert front_end.load(SUM_PXL).templates[0].name == "money_sum_px"
    with pytest.raises(TemplateError, match="neither"):
        front_end.load("hello: world")


# Every public name of Pixie's module, its meaning here or why it is refused and what to use instead.
@pytest.mark.parametrize(
    ("before", "after", "part"),
    [
        ("import px\n", "import px\nimport pxconfig\n", "configured on their hosts"),
        ("px.display(px", "px.display(px.GetTracepointStatus()", "probegate tracepoint ls"),
        ("'money_sum', money_sum,", "'money_sum', [pxtrace.TraceProgram('x', min_kernel='5.1')],", "bpftrace program"),
        ("pxtrace.PodProcess('shop/checkoutservice')", "pxtrace.kprobe()", "every process of the host"),
        ("pxtrace.PodProcess('shop/checkoutservice')", "px.uint128('7')", "asid:pid:start"),
        ("pxtrace.PodProcess('shop/checkoutservice')", "pxtrace.SharedObject('libc')", "needs upid"),
        ("pxtrace.PodProcess('shop/checkoutservice')", "'shop/checkoutservice'", "a target is one of"),
        ("pxtrace.PodProcess('shop/checkoutservice')", "pxtrace.LabelSelector({}, 'ns')", "at least one"),
        ("return [{", "return [] #", "column"),
        ("'10m'", "'-2m'", "is not a duration"),
        ("'10m'", "'ten minutes'", "is not a duration"),
    ],
)
def test_what_pixie_has_and_we_have_not_is_refused_with_what_to_use(before: str, after: str, part: str) -> None:
    text = _with(before, after)
    if after.endswith("#"):
        text = SUM_PXL[: SUM_PXL.index("    return")] + "    return []\n" + SUM_PXL[SUM_PXL.index("\npxtrace.Upsert") :]
    with pytest.raises(TemplateError) as refused:
        load(text.replace("GetTracepointStatus().DataFrame('money_sum')", "GetTracepointStatus()"))
    assert part in refused.value.problem
    assert refused.value.position is not None


@pytest.mark.parametrize(
    ("written", "milliseconds"), [("10m30s", 630_000), ("90s", 90_000), ("1h", 3_600_000), ("500ms", None)]
)
def test_a_ttl_is_exact(written: str, milliseconds: int | None) -> None:
    if milliseconds is None:
        with pytest.raises(TemplateError):
            load(_with("'10m'", f"'{written}'"))
    else:
        assert load(_with("'10m'", f"'{written}'")).templates[0].ttl == timedelta(milliseconds=milliseconds)


def test_deleting_and_upserting_again_are_words_of_a_script() -> None:
    script = load(SUM_PXL + "pxtrace.DeleteTracepoint(name='money_sum_px')\n")
    assert script.deletions == ("money_sum_px",)
    assert [deployment.name for deployment in script.templates] == ["money_sum_px"]
