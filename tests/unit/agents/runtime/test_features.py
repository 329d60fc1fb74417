"""What `doctor` says of a kernel that lacks something."""

from __future__ import annotations

import dataclasses

import pytest

from agents.runtime.features import COSTS, WANTED_CAPABILITIES, doctor_report
from agents.runtime.model import ArmFailed, ArmReason, ArmRequest, KernelFeatures
from agents.runtime.service import arm
from tests.builders.bpf_programs import counting_program

FLAGS = [field.name for field in dataclasses.fields(KernelFeatures) if field.name not in {"capabilities", "details"}]


def kernel(**changes) -> KernelFeatures:
    flags = dict.fromkeys(FLAGS, True) | changes
    return KernelFeatures(
        **flags,
        capabilities=frozenset(WANTED_CAPABILITIES),
        details={name: "there" if flags[name] else "not there" for name in FLAGS},
    )


def test_every_feature_and_capability_has_a_line():
    assert {finding.name for finding in doctor_report(kernel())} == set(FLAGS) | set(WANTED_CAPABILITIES)


def test_a_complete_kernel_costs_nothing():
    assert all(finding.ok and not finding.cost for finding in doctor_report(kernel()))


@pytest.mark.parametrize("name", FLAGS)
def test_each_missing_feature_says_what_it_costs(name):
    (finding,) = [finding for finding in doctor_report(kernel(**{name: False})) if not finding.ok]
    assert (finding.name, finding.detail, finding.cost) == (name, "not there", COSTS[name])


def test_a_capability_that_is_not_held_says_what_it_costs():
    without = dataclasses.replace(kernel(), capabilities=frozenset())
    missing = [finding for finding in doctor_report(without) if not finding.ok]
    assert {finding.name for finding in missing} == set(WANTED_CAPABILITIES)
    assert all(finding.cost for finding in missing)


@pytest.mark.parametrize(("bpf", "reason"), [(True, ArmReason.UNSUPPORTED), (False, ArmReason.NOT_PERMITTED)])
def test_a_kernel_without_any_way_to_attach_refuses_before_anything_is_made(bpf, reason):
    nothing = kernel(bpf=bpf, uprobe_multi=False, perf_event=False)
    with pytest.raises(ArmFailed, match="uprobe_multi: not there") as failed:
        arm(counting_program((0,)), [], ArmRequest(1, 1, 1), "/bin/true", nothing)
    assert failed.value.reason is reason


@pytest.mark.parametrize("limits", [(0, 1), (1, 0), (-1, 1)])
def test_limits_that_are_not_positive_are_refused(limits):
    with pytest.raises(ValueError, match="must be positive"):
        arm(counting_program((0,)), [], ArmRequest(1, *limits), "/bin/true", kernel())
