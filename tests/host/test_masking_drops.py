"""What policy drops is never read: no instruction is for it, and the ring never holds its bytes.

Which bytes of a struct a program reads around a dropped field is shown on invented memory in
tests/unit/agents/compiler/test_dropped.py; here it is a real program, the real kernel, and the raw records.
"""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from agents.bootstrap import build_prober
from agents.compiler import disasm
from agents.compiler.asm import Text
from agents.compiler.model import BpfProgram
from agents.settings import Settings
from agents.stages.order import ProbeOrder, order_from_template
from agents.stages.service import Prober
from language import front_end
from language.masking_rules import RuleSet, Scope, bind, load_rules, rule_from
from language.model import TargetSpec
from tests.builders.agent_program import shop
from tests.builders.programs import ROOT

pytestmark = pytest.mark.host

PLATFORM = load_rules((ROOT / "policies" / "masking" / "platform.yaml").read_text())
HIDDEN = ("@example", "12/29")  # of every order's buyer, and the date on every card
ROWS = 40
TEMPLATE = """\
apiVersion: probegate/v1
kind: ProbeTemplate
metadata: {{name: charges}}
spec:
  target: {{service: shop-under-test}}
  probe:
    function: github.com/GoogleCloudPlatform/microservices-demo/src/checkoutservice/orders.Charge
    at: entry
    capture: {{{capture}}}
  table: charges
  limits: {{cpu: 50%}}
"""


def order(pid: int, capture: str, *dropped: dict[str, object]) -> ProbeOrder:
    (deployment,) = front_end.load(TEMPLATE.format(capture=capture)).templates
    template = deployment.template
    tenant = RuleSet(Scope.TENANT, tuple(rule_from(rule) for rule in dropped))
    rules = bind(template.probe.captures, template.masking, (PLATFORM, tenant))
    return order_from_template(template, {}, TargetSpec(pids=(pid,)), rules, template.limits)


@pytest.fixture(scope="module")
def prober(tmp_path_factory: pytest.TempPathFactory) -> Prober:
    state = tmp_path_factory.mktemp("agent")
    return build_prober(Settings(state=state, cache=ROOT / ".cache" / "agent", shared=state))[0]


def ring_bytes(prober: Prober, asked: ProbeOrder) -> tuple[bytes, BpfProgram]:
    """Every byte that the ring held, as it came out of the kernel, and the program that wrote it."""
    raw: list[bytes] = []

    def kept(layout, records, file):
        raw.append(np.ascontiguousarray(records).tobytes())
        return prober.stages.decode(layout, records, file)

    watched = dataclasses.replace(prober, stages=dataclasses.replace(prober.stages, decode=kept))
    ends = time.monotonic() + 20
    with watched.prepare(asked, time.clock_gettime_ns(time.CLOCK_BOOTTIME) + 60 * 10**9) as probe:
        probe.adopt()
        program = probe.files[0].program
        while sum(map(len, raw)) < ROWS * program.layout.record_size and time.monotonic() < ends:
            probe.take()
            time.sleep(0.05)
        probe.end()
    found = b"".join(raw)
    assert len(found) >= ROWS * program.layout.record_size
    return found, program


def instructions(program: BpfProgram) -> list[str]:
    return [line for one in program.programs for line in disasm.lines(Text(one.instructions, one.maps, ()))]


def test_the_ring_holds_a_field_that_is_masked_later_but_never_one_that_is_dropped(prober):
    drop = [
        {"name": "mail", "words": ["email"], "action": "drop"},
        {"name": "expiry", "path": "**.Expiry", "action": "drop"},
    ]
    with shop() as program:
        shown, _ = ring_bytes(prober, order(program.pid, "order: o, card: deref(o.Card), mail: o.Email"))
        hidden, _ = ring_bytes(prober, order(program.pid, "order: o, card: deref(o.Card), mail: o.Email", *drop))
    assert all(text.encode() in shown for text in HIDDEN)
    assert b"o-0" in hidden
    assert not [text for text in HIDDEN if text.encode() in hidden]


def test_a_dropped_column_leaves_no_instruction_behind(prober):
    with shop() as program:
        _, without = ring_bytes(prober, order(program.pid, "id: o.ID, card: o.Card.Number"))
        _, dropped = ring_bytes(prober, order(program.pid, "id: o.ID, code: o.Card.Cvv, card: o.Card.Number"))
        _, kept = ring_bytes(prober, order(program.pid, "id: o.ID, date: o.Card.Expiry, card: o.Card.Number"))
    assert instructions(dropped) == instructions(without)
    assert instructions(kept) != instructions(without)
    assert [column.name for column in dropped.layout.columns] == ["id", "card"]
