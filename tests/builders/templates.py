"""Templates for tests: one plain, and strategies for any that obeys the rules."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction

from hypothesis import strategies as st

from language import expressions, rules
from language.model import (
    At,
    Capture,
    LimitSpec,
    ParameterSpec,
    ParameterType,
    ProbeSpec,
    TargetSpec,
    Template,
)
from language.syntax import (
    And,
    Arithmetic,
    Attribute,
    Builtin,
    Compare,
    Constant,
    Deref,
    Index,
    Len,
    Name,
    Not,
    Or,
    Param,
    Ret,
    Slice,
)

SUM_YAML = """\
apiVersion: probegate/v1
kind: ProbeTemplate
metadata: {name: money-sum, description: Sums of the shop, labels: {team: payments}}
spec:
  parameters:
    minUnits: {type: int, min: 0, max: 1000, default: 0}
  target: {service: checkoutservice, language: go}
  probe:
    function: shop/money.Sum
    at: entry+return
    where: l.Units >= params.minUnits
    capture:
      units: l.Units
      currency: l.CurrencyCode
      sum: ret(0).Units
      latency: latency()
  table: money_sum
  masking: {units: allow}
  limits: {ttl: 10m, cpu: 1%}
"""

SUM_PXL = """\
import pxtrace
import px

@pxtrace.probe('shop/money.Sum')
def money_sum():
    return [{'units': pxtrace.ArgExpr('l.Units')},
            {'sum': pxtrace.RetExpr('$0.Units')}]

pxtrace.UpsertTracepoint('money_sum_px', 'money_sum', money_sum, pxtrace.PodProcess('shop/checkoutservice'), '10m')
px.display(px.DataFrame('money_sum'))
"""

names = st.from_regex(rules.IDENTIFIER, fullmatch=True).map(lambda name: name[:12])
texts = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=12)
fields = st.sampled_from(["Units", "CurrencyCode", "class", "from", "a", "_b"])
arguments = st.sampled_from(["l", "r", "from", "len", "order"]).map(Name)

values = st.recursive(
    arguments | st.integers(0, 3).map(Ret),
    lambda inner: st.one_of(
        st.builds(Attribute, inner, fields),
        st.builds(Index, inner, st.integers(0, 100)),
        st.builds(Slice, inner, st.integers(1, 64)),
        st.builds(Deref, inner),
    ),
    max_leaves=4,
)
literals = (
    st.integers(-(2**63), 2**64 - 1)
    | st.booleans()
    | st.none()
    | st.text(st.characters(codec="utf-8", exclude_categories=("C",)), max_size=8).filter(str.isprintable)
).map(Constant)
scalars = st.one_of(
    values,
    values.map(Len),
    st.sampled_from(["latency", "goid", "pid", "tid", "comm", "stack"]).map(Builtin),
    literals,
    st.just(Param("p")),
)
expressions_ = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.builds(Compare, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), inner, inner),
        st.builds(Compare, st.just("in"), inner, st.lists(literals, min_size=1, max_size=3).map(tuple)),
        st.builds(Compare, st.just("startswith"), inner, st.just(Constant('a"b\\'))),
        st.builds(Arithmetic, st.sampled_from(["+", "-", "*", "//", "%"]), inner, inner),
        st.builds(Not, inner),
        st.lists(inner, min_size=2, max_size=3).map(tuple).map(And),
        st.lists(inner, min_size=2, max_size=3).map(tuple).map(Or),
    ),
    max_leaves=6,
)


def _pairs(
    keys: st.SearchStrategy[str], values: st.SearchStrategy[str]
) -> st.SearchStrategy[tuple[tuple[str, str], ...]]:
    return st.dictionaries(keys, values, max_size=3).map(lambda pairs: tuple(sorted(pairs.items())))


parameter_specs = st.one_of(
    st.builds(
        lambda name, low, span, has: ParameterSpec(
            name, ParameterType.INT, default=low if has else None, min=low, max=min(low + span, rules.INT_MAX)
        ),
        names,
        st.integers(rules.INT_MIN, rules.INT_MAX),
        st.integers(0, 2**40),
        st.booleans(),
    ),
    st.builds(
        lambda name, default: ParameterSpec(name, ParameterType.BOOL, default=default), names, st.none() | st.booleans()
    ),
    st.builds(
        lambda name, choices: ParameterSpec(name, ParameterType.STRING, max_length=64, choices=tuple(choices)),
        names,
        st.lists(texts, unique=True, max_size=3),
    ),
)
targets = st.builds(
    TargetSpec,
    service=st.none() | texts,
    exe=st.none() | texts.map(lambda text: f"/{text}"),
    pids=st.sets(st.integers(1, 4_000_000), max_size=3).map(lambda pids: tuple(sorted(pids))),
    language=st.none() | st.sampled_from(rules.LANGUAGES),
    pod=st.none() | st.sampled_from(["shop/checkout", "/checkout"]),
    labels=_pairs(texts, texts),
    shared_object=st.none() | texts,
)
limits = st.builds(
    LimitSpec,
    ttl=st.integers(1_000, 86_400_000).map(lambda ms: timedelta(milliseconds=ms)),
    max_events_per_second=st.integers(1, rules.MAX_EVENTS_PER_SECOND),
    sample=st.integers(1, rules.MAX_SAMPLE).map(lambda n: Fraction(1, n)),
    max_hits=st.integers(1, rules.MAX_HITS),
    max_string=st.integers(1, rules.MAX_STRING),
    max_items=st.integers(1, rules.MAX_ITEMS),
    max_depth=st.integers(1, rules.MAX_DEPTH),
    cpu=st.integers(1, rules.CPU_STEPS).map(lambda steps: steps / rules.CPU_STEPS),
)


@st.composite
def templates(draw: st.DrawFn) -> Template:
    columns = draw(
        st.lists(names, min_size=1, max_size=4, unique_by=str.lower).filter(
            lambda found: not {name.lower() for name in found} & rules.RESERVED_COLUMNS
        )
    )
    captures = tuple(Capture(column, expressions.render(draw(values))) for column in columns)
    masked = draw(st.sets(st.sampled_from(columns)))
    at = draw(st.sampled_from([At.ENTRY_AND_RETURN, At.RETURN]))
    return Template(
        name=draw(st.from_regex(r"[a-z][a-z0-9-]{0,10}[a-z0-9]", fullmatch=True)),
        description=draw(texts | st.just("")),
        labels=draw(_pairs(texts, texts)),
        parameters=tuple(draw(st.lists(parameter_specs, max_size=3, unique_by=lambda spec: spec.name))),
        target=draw(targets),
        probe=ProbeSpec(draw(texts), at, None, None, captures),
        table=draw(names),
        masking=tuple((column, "detect") for column in sorted(masked)),
        limits=draw(limits),
    )
