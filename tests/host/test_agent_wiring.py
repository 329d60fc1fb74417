"""The steps as `agents.bootstrap` puts them together, on a real program: what one step found out, the next one holds to."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from agents.bootstrap import build_prober
from agents.compiler.model import CaptureRequest, CompileRequest
from agents.masking.model import FieldRule
from agents.runtime.model import ArmFailed, ArmReason
from agents.settings import Settings
from agents.stages.order import ProbeOrder
from language import expressions
from language.masking import Action
from language.model import At, LimitSpec, TargetSpec
from tests.builders.traced import Counted, boot_ns, counted_binary

pytestmark = pytest.mark.host

MINUTE_NS = 60_000_000_000


@pytest.fixture
def target(tmp_path) -> Counted:
    """On a file of its own, which can be replaced."""
    own = tmp_path / "counted"
    shutil.copy(counted_binary(), own)
    with Counted(own) as running:
        yield running


def order(target: Counted) -> ProbeOrder:
    captures = (CaptureRequest("index", expressions.parse("index")),)
    limits = LimitSpec(max_events_per_second=1_000_000, max_hits=1_000_000)
    request = CompileRequest(At.ENTRY, None, captures, limits)
    rules = (FieldRule("index", Action.ALLOW, "test", b"", "", ()),)
    return ProbeOrder("probed", None, request, TargetSpec(pids=(target.pid,)), rules)


def replace(binary: Path) -> None:
    """As a deployment does it: another file under the same name."""
    new = binary.with_suffix(".new")
    shutil.copy(counted_binary(), new)
    new.rename(binary)


def test_rows_hits_and_the_programs_own_count_agree(target, tmp_path):
    prober, _ = build_prober(Settings(cache=tmp_path / "cache"))
    with prober.prepare(order(target), boot_ns() + MINUTE_NS) as probe:
        probe.adopt()
        target.call(1000)
        batches, accounting = probe.end()
    rows = [index for batch in batches for index in batch.columns.column("index").to_pylist()]
    assert rows == list(range(1000))
    assert accounting.adds_up
    assert accounting.hits == accounting.delivered == 1000


def test_under_overload_every_hit_has_its_outcome_and_none_is_missing(target, tmp_path):
    prober, _ = build_prober(Settings(cache=tmp_path / "cache"))
    with prober.prepare(order(target), boot_ns() + MINUTE_NS) as probe:
        probe.adopt()
        target.start("threads 4 100000")
        rows = 0
        for _ in range(5):  # a reader that is far too slow
            rows += sum(batch.columns.num_rows for batch in probe.take())
            time.sleep(0.01)
        target.finish()
        batches, accounting = probe.end()
    rows += sum(batch.columns.num_rows for batch in batches)
    assert accounting.adds_up
    assert accounting.hits == 400_000
    assert accounting.delivered == rows


def test_a_file_that_is_replaced_between_resolving_and_arming_is_not_armed(target, tmp_path):
    prober, _ = build_prober(Settings(cache=tmp_path / "cache"))
    with prober.prepare(order(target), boot_ns() + MINUTE_NS) as probe:
        found = probe.find(())
        replace(target.binary)
        with pytest.raises(ArmFailed, match="was replaced after it was resolved") as failed:
            probe.arm(found)
        assert failed.value.reason is ArmReason.ATTACH
        assert probe.program_ids == ()
    target.call(10)
