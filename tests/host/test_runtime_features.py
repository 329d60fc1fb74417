"""What is found out about this kernel, and that finding it out leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.runtime import calibration
from agents.runtime.features import doctor_report, probe_kernel

pytestmark = pytest.mark.host


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_every_feature_of_this_kernel_has_a_sentence():
    for finding in doctor_report(probe_kernel(thorough=True)):
        assert finding.detail
        assert finding.ok or finding.cost


def test_what_a_probe_cannot_do_without_is_found_here():
    kernel = probe_kernel()
    assert kernel.bpf and kernel.ring_buffer and kernel.atomics and kernel.boot_clock
    assert kernel.uprobe_multi or kernel.perf_event


def test_finding_out_leaves_no_descriptor():
    probe_kernel(thorough=True)
    before = open_files()
    probe_kernel(thorough=True)
    calibration.measure()
    assert open_files() == before


def test_a_trap_is_measured_where_uprobe_multi_is():
    costs = calibration.measure()
    assert costs.measured == probe_kernel().uprobe_multi
    assert min(costs.emulated_ns, costs.stepped_ns, costs.returned_ns) > 0
