"""Errors say what was asked, the errno's name and what to do; the structs lie as the kernel's header says."""

from __future__ import annotations

import errno
import re

import pytest

from agents.runtime import bpf_abi
from agents.runtime.attach_perf import MAX_SITES, PerfAttachment
from agents.runtime.bpf_syscall import BpfError
from agents.runtime.maps import possible_cpus
from agents.runtime.model import ArmFailed, ArmReason
from agents.runtime.programs import LoadedProgram
from tests.builders.bpf_programs import counting_program


def test_an_error_names_the_call_the_errno_and_the_remedy():
    error = BpfError("creating the map pg_ring", errno.EPERM)
    assert str(error).startswith("creating the map pg_ring: EPERM, not permitted")
    assert "CAP_BPF" in str(error)


def test_the_kernels_own_errno_has_its_name():
    assert BpfError("loading", 524).name == "ENOTSUPP"


def test_an_errno_without_a_sentence_of_ours_gets_the_systems():
    assert re.search(r"EINTR, Interrupted", str(BpfError("loading", errno.EINTR)))


@pytest.mark.parametrize(
    ("struct", "field", "offset"),
    [
        (bpf_abi.MapCreate, "map_name", 28),
        (bpf_abi.MapElement, "key", 8),
        (bpf_abi.MapBatch, "map_fd", 36),
        (bpf_abi.ProgLoad, "log_buf", 32),
        (bpf_abi.ProgLoad, "prog_name", 48),
        (bpf_abi.ProgLoad, "expected_attach_type", 68),
        (bpf_abi.LinkCreateUprobeMulti, "path", 16),
        (bpf_abi.LinkCreateUprobeMulti, "pid", 56),
        (bpf_abi.ProgInfo, "name", 64),
        (bpf_abi.ProgInfo, "run_time_ns", 192),
        (bpf_abi.LinkInfo, "path", 16),
        (bpf_abi.LinkInfo, "pid", 60),
    ],
)
def test_a_field_is_where_the_kernel_reads_it(struct, field, offset):
    assert getattr(struct, field).offset == offset


def test_a_machine_has_at_least_one_possible_cpu():
    assert possible_cpus() >= 1


def test_more_sites_than_perf_events_can_bear_are_refused_before_any_is_attached():
    (program,) = counting_program(tuple(range(MAX_SITES + 1))).programs
    with pytest.raises(ArmFailed, match=r"6\.10") as failed:
        PerfAttachment().attach([LoadedProgram(program, -1, 0)], "/bin/true", [1])
    assert failed.value.reason is ArmReason.UNSUPPORTED
