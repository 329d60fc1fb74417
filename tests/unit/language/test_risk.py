"""The class of thirty templates, computed with the platform's pack and one tenant rule that allows a field."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from language import yaml_front_end
from language.masking import Action
from language.masking_model import BoundRule
from language.masking_rules import bind, load_rules
from language.model import Template
from language.risk import RiskClass, UnderstatedRisk, assess, refuse_understated

PACK = load_rules((Path(__file__).parents[3] / "policies/masking/platform.yaml").read_text())
# What a tenant's `allow` would come to if the platform had no default for values: nothing hides the column.
LOOSE = replace(PACK, defaults=dict.fromkeys(PACK.defaults, Action.ALLOW))

TEXT = """\
apiVersion: probegate/v1
kind: ProbeTemplate
metadata: {{name: t, description: d, labels: {{{labels}}}}}
spec:
  target: {{{target}}}
  probe:
    function: {function}
    at: entry+return
    capture: {{{capture}}}
  table: t
  limits: {{{limits}}}
"""


def template(capture, function="shop/money.Sum", target="service: shop", limits="ttl: 10m", labels="") -> Template:
    return yaml_front_end.load(
        TEXT.format(capture=capture, function=function, target=target, limits=limits, labels=labels)
    )


def risk_of(written: Template, pack=PACK):
    return assess(written, bind(written.probe.captures, written.masking, [pack]))


META, MASKED, RAW, WIDE = RiskClass
CASES = [
    # capture, what else, class, the column or "" for the probe as a whole, a word of the reason
    ("t: latency()", {}, META, "t", "no value"),
    ("n: len(items)", {}, META, "n", "no value"),
    ("s: stack()", {}, META, "s", "no value"),
    ("p: pid(), t: tid(), g: goid()", {}, META, "p", "no value"),
    ("c: comm()", {}, META, "c", "no value"),
    ("n: len(r.Header), t: latency()", {}, META, "n", "no value"),
    ("pw: u.Password", {}, META, "pw", "never read"),
    ("cvv: o.Card.CVV2", {}, META, "cvv", "never read"),
    ("pin: card.Pin, t: latency()", {}, META, "pin", "never read"),
    ("units: l.Units", {}, MASKED, "units", "detect"),
    ("cur: l.CurrencyCode", {}, MASKED, "cur", "detect"),
    ("tok: r.AuthToken", {}, MASKED, "tok", "redact"),
    ("card: o.Card.Number", {}, MASKED, "card", "partial(0,4)"),
    ("iban: payee.IBAN", {}, MASKED, "iban", "partial(0,4)"),
    ("err: ret(1)", {}, MASKED, "err", "detect"),
    ("all: 'o.Items[:8]'", {}, MASKED, "all", "detect"),
    ("s: l.Units + r.Units", {}, MASKED, "s", "detect"),
    ("t: latency(), u: l.Units", {}, MASKED, "u", "detect"),
    ("body: req.Body", {"limits": "maxString: 1024"}, MASKED, "body", "detect"),
    ("body: req.Body", {"limits": "maxString: 1025"}, RAW, "body", "too long"),
    ("body: req.Body", {"limits": "maxString: 4096"}, RAW, "body", "too long"),
    ("n: len(req.Body)", {"limits": "maxString: 4096"}, META, "n", "no value"),
    ("t: latency()", {"function": "runtime.mallocgc"}, WIDE, "", "called by everything"),
    ("t: latency()", {"function": "runtime.gcStart"}, META, "t", "no value"),
    ("t: latency()", {"function": '"sync.(*Mutex).Lock"'}, WIDE, "", "called by everything"),
    ("t: latency()", {"function": "malloc"}, WIDE, "", "called by everything"),
    ("t: latency()", {"function": "strconv.Itoa"}, META, "t", "no value"),
    ("t: latency()", {"target": "sharedObject: libssl.so, service: web"}, WIDE, "", "shared"),
    ("t: latency()", {"target": "sharedObject: libssl.so, pids: [7]"}, META, "t", "no value"),
    ("t: latency()", {"limits": "maxEventsPerSecond: 10001"}, WIDE, "", "events a second"),
    ("u: l.Units", {"limits": "cpu: 6%"}, WIDE, "", "of a core"),
    ("u: l.Units", {"limits": "cpu: 5%"}, MASKED, "u", "detect"),
]


@pytest.mark.parametrize(("capture", "more", "expected", "column", "word"), CASES)
def test_the_class_follows_from_the_plan(capture, more, expected, column, word) -> None:
    risk = risk_of(template(capture, **more))
    assert risk.risk_class is expected
    assert any(r.risk is expected and r.column == column and word in r.why for r in risk.reasons), risk.reasons


def test_a_value_that_nothing_hides_is_raw() -> None:
    written = template("u: l.Units")
    assert risk_of(written, LOOSE).risk_class is RAW
    assert assess(written, ()).risk_class is RAW, "a column without a rule is not vouched for"
    assert assess(written, [BoundRule("u", Action.TOKEN, "tenant:acme/u")]).risk_class is MASKED


def test_a_plan_can_be_in_several_classes_at_once() -> None:
    risk = risk_of(template("b: req.Body", function="malloc", limits="maxString: 2048"))
    assert risk.classes == {META, RAW, WIDE}
    assert risk.risk_class is WIDE
    assert risk.of("b") is RAW


@pytest.mark.parametrize("declared", ["metadata", "masked"])
def test_less_than_computed_cannot_be_declared(declared) -> None:
    written = template("b: req.Body", limits="maxString: 2048", labels=f"risk: {declared}")
    with pytest.raises(UnderstatedRisk, match=r"its plan is raw \(b\): texts of up to 2048 bytes"):
        refuse_understated(written, risk_of(written))


@pytest.mark.parametrize("declared", ["raw", "kernel-wide"])
def test_as_much_or_more_can_be_declared(declared) -> None:
    written = template("b: req.Body", limits="maxString: 2048", labels=f"risk: {declared}")
    refuse_understated(written, risk_of(written))


def test_a_class_that_does_not_exist_is_refused() -> None:
    written = template("t: latency()", labels="risk: harmless")
    with pytest.raises(UnderstatedRisk, match="is one of metadata, masked, raw, kernel-wide"):
        refuse_understated(written, risk_of(written))
