"""Real probes in the real kernel: who fires, what is counted, what is left behind."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from agents.binaries.model import BinaryIdentity
from agents.compiler.model import BpfProgram, Counter, Role
from agents.runtime import inventory
from agents.runtime.features import probe_kernel
from agents.runtime.model import ArmFailed, ArmReason, ArmRequest, AttachMethod, KernelFeatures
from agents.runtime.service import arm
from tests.builders.bpf_programs import RECORD, counting_program, maps, one_program
from tests.builders.programs import ROOT
from tests.builders.traced import Counted, boot_ns, counted_binary, offset_of

pytestmark = pytest.mark.host

MINUTE_NS = 60_000_000_000
UNLIMITED = 2_000_000_000  # a second: no interval between two events


@pytest.fixture(scope="module")
def binary():
    return counted_binary()


@pytest.fixture(scope="module")
def offset(binary):
    return offset_of(binary, "probed")


@pytest.fixture(scope="module")
def kernel() -> KernelFeatures:
    return probe_kernel(thorough=True)


@pytest.fixture(params=list(AttachMethod))
def features(request, kernel) -> KernelFeatures:
    """This kernel, and this kernel as if it had nothing but perf events."""
    if request.param is AttachMethod.UPROBE_MULTI and not kernel.uprobe_multi:
        pytest.skip(kernel.details["uprobe_multi"])
    if request.param is AttachMethod.PERF_EVENT and not kernel.perf_event:
        pytest.skip(kernel.details["perf_event"])
    return dataclasses.replace(kernel, uprobe_multi=request.param is AttachMethod.UPROBE_MULTI)


@pytest.fixture
def target(binary):
    with Counted(binary) as running:
        yield running


def wanted(max_hits: int = 1 << 40, deadline: int | None = None, rate: int = UNLIMITED) -> ArmRequest:
    return ArmRequest(boot_ns() + MINUTE_NS if deadline is None else deadline, max_hits, rate)


def armed(target: Counted, program: BpfProgram, features: KernelFeatures, request: ArmRequest | None = None):
    return arm(program, [target.target()], request or wanted(), str(target.binary), features)


@contextmanager
def balanced(*arguments):
    """`armed`; when the test is through, every hit has its outcome."""
    with armed(*arguments) as probe:
        yield probe
        probe.detach()
        counters = probe.counters()
        outcomes = [counters[each] for each in Counter if each not in {Counter.HITS, Counter.UNPAIRED_RETURN}]
        assert counters[Counter.HITS] == sum(outcomes)


def rows(probe) -> np.ndarray:
    return probe.drain(1 << 20).view(RECORD)[:, 0]


def kernel_objects_held() -> list[str]:
    """Maps, programs, links and perf events that this test process holds open."""
    names = [str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return [name for name in names if "bpf" in name or "perf_event" in name or "pidfd" in name]


def test_every_call_of_the_target_is_a_record(target, offset, features):
    with balanced(target, counting_program((offset,)), features) as probe:
        target.call(1000)
        records = rows(probe)
        assert records["index"].tolist() == list(range(1000))
        assert set(records["pid"].tolist()) == {target.pid}
        assert (np.diff(records["time"].astype(np.int64)) >= 0).all()
        assert probe.counters()[Counter.HITS] == probe.counters()[Counter.DELIVERED] == 1000
        assert probe.processes == (target.pid,)


def test_another_process_of_the_same_file_does_not_fire(target, binary, offset, features):
    with Counted(binary) as other, balanced(target, counting_program((offset,)), features) as probe:
        other.call(500)
        target.call(3)
        assert probe.counters()[Counter.HITS] == 3
        assert set(rows(probe)["pid"].tolist()) == {target.pid}


def test_both_processes_fire_when_both_are_meant(target, binary, offset, features):
    with Counted(binary) as other:
        both = [target.target(), other.target()]
        with arm(counting_program((offset,)), both, wanted(), str(binary), features) as probe:
            other.call(5)
            target.call(3)
            assert sorted(rows(probe)["pid"].tolist()) == sorted([other.pid] * 5 + [target.pid] * 3)


def test_threads_of_the_target_fire_too(target, offset, features):
    with balanced(target, counting_program((offset,)), features) as probe:
        target.command("threads 4 250")
        records = rows(probe)
        assert len(records) == 1000
        assert len(set(records["tid"].tolist())) == 4


def test_a_returned_value_is_seen_by_a_return_probe(target, offset, features):
    program = counting_program((offset,), role=Role.RETURN, on_return=True)
    with balanced(target, program, features) as probe:
        target.call(10)
        assert rows(probe)["index"].tolist() == [3 * index + ord("a") for index in range(10)]


@pytest.mark.parametrize("sleepable", [True, False])
def test_user_memory_is_read(target, offset, features, sleepable):
    target.call(1)  # the literal's page is resident now, so that a program that may not sleep reads it as well
    with balanced(target, counting_program((offset,), sleepable=sleepable, read_text=True), features) as probe:
        target.call(2)
        assert rows(probe)["letter"].tolist() == [ord("a")] * 2


def test_the_switch_stops_and_starts_it_at_once(target, offset, features):
    with balanced(target, counting_program((offset,)), features) as probe:
        probe.switch(enabled=False)
        target.call(10)
        assert len(rows(probe)) == 0
        assert probe.counters()[Counter.EXPIRED] == 10
        probe.switch(enabled=True)
        target.call(1)
        assert len(rows(probe)) == 1


def test_the_kernel_ends_a_probe_at_its_deadline_and_a_renewal_revives_it(target, offset, features):
    with balanced(target, counting_program((offset,)), features, wanted(deadline=boot_ns())) as probe:
        target.call(10)
        assert len(rows(probe)) == 0
        probe.extend(boot_ns() + MINUTE_NS)
        target.call(2)
        assert len(rows(probe)) == 2
        assert probe.counters()[Counter.EXPIRED] == 10


def test_no_more_records_than_max_hits_are_taken(target, offset, features):
    with balanced(target, counting_program((offset,)), features, wanted(max_hits=7)) as probe:
        target.call(100)
        assert len(rows(probe)) == 7
        assert probe.counters()[Counter.EXPIRED] == 93


def test_a_hundred_thousand_records_come_out_complete_and_in_order(target, offset, features):
    program = counting_program((offset,), ring_size=1 << 18, discard_odd=True)  # wraps some twenty times
    with balanced(target, program, features) as probe:
        taken = []
        for _ in range(100):
            target.call(2000)
            taken.append(rows(probe)["index"])
        indexes = np.concatenate(taken)
        assert np.array_equal(indexes, np.tile(np.arange(0, 2000, 2), 100))
        counters = probe.counters()
        assert counters[Counter.HITS] == 200_000
        assert counters[Counter.DELIVERED] == counters[Counter.FILTERED] == 100_000
        assert counters[Counter.LOST_RING_FULL] == 0


def test_a_reader_beside_a_running_target_gets_every_record(target, offset, features):
    with balanced(target, counting_program((offset,)), features) as probe:
        target.start("call 100000")
        taken = []
        while sum(map(len, taken)) < 100_000 - probe.counters()[Counter.LOST_RING_FULL]:
            taken.append(rows(probe)["index"])
            time.sleep(0.002)
        target.finish()
        taken.append(rows(probe)["index"])
        indexes = np.concatenate(taken)
        assert (np.diff(indexes.astype(np.int64)) > 0).all()
        assert len(indexes) == probe.counters()[Counter.DELIVERED]
        assert probe.counters()[Counter.HITS] == 100_000


def test_a_full_ring_is_counted_and_what_was_in_it_stays_right(target, offset, features):
    with balanced(target, counting_program((offset,), ring_size=4096), features) as probe:
        target.call(1000)
        counters = probe.counters()
        records = rows(probe)
        assert records["index"].tolist() == list(range(len(records)))
        assert counters[Counter.LOST_RING_FULL] == 1000 - len(records) > 0


def test_hits_are_the_sum_of_their_outcomes_with_a_small_ring_under_overload(target, offset, features):
    with balanced(target, counting_program((offset,), ring_size=64 << 10), features) as probe:
        target.start("threads 4 50000")
        taken = 0
        for _ in range(20):  # a reader that is far too slow
            taken += len(rows(probe))
            time.sleep(0.005)
        target.finish()
        probe.detach()
        taken += len(rows(probe))
        counters = probe.counters()
        assert counters[Counter.HITS] == 200_000
        assert counters[Counter.LOST_RING_FULL] > 0
        assert counters[Counter.HITS] == taken + counters[Counter.LOST_RING_FULL]
        assert counters[Counter.DELIVERED] == taken


def test_a_site_is_told_by_its_cookie(target, binary, offset, kernel):
    twice = offset_of(binary, "probed")
    with balanced(target, counting_program((twice, twice)), kernel) as probe:
        target.call(1)
        assert sorted(rows(probe)["site"].tolist()) == [0, 1]


def test_run_time_is_measured_while_armed(target, offset, features):
    with balanced(target, counting_program((offset,)), features) as probe:
        target.call(1000)
        cost = probe.cost()
        assert cost.runs >= 1000  # perf events see every process of the file, and tests run side by side
        assert cost.run_time_ns is not None and cost.run_time_ns > 0


def test_after_detaching_nothing_fires_but_what_was_taken_can_be_read(target, offset, features):
    with balanced(target, counting_program((offset,)), features) as probe:
        target.call(10)
        probe.detach()
        probe.detach()
        target.call(10)
        assert len(rows(probe)) == 10
        assert probe.counters()[Counter.HITS] == 10
        assert inventory.links(probe.program_ids()) == ()


def test_the_kernel_lists_what_is_armed_and_nothing_after_closing(target, offset, features):
    probe = armed(target, counting_program((offset,)), features)
    ids = probe.program_ids()
    assert {program.name for program in inventory.remaining(ids)} == {"pg_entry"}
    if probe.method is AttachMethod.UPROBE_MULTI:
        assert [(link.sites, link.pid) for link in inventory.links(ids)] == [(1, target.pid)]
    probe.close()
    probe.close()
    assert inventory.wait_until_gone(ids, seconds=5) == ()
    assert inventory.links(ids) == ()
    target.call(5)  # it still runs


def test_arming_again_and_again_leaves_no_descriptor_behind(target, offset, features):
    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    armed(target, counting_program((offset,)), features).close()
    before = open_files()
    for _ in range(20):
        armed(target, counting_program((offset,)), features).close()
    assert open_files() == before


def test_a_process_that_ends_is_let_go(binary, offset, features):
    with Counted(binary) as first, Counted(binary) as second:
        both = [first.target(), second.target()]
        with arm(counting_program((offset,)), both, wanted(), str(binary), features) as probe:
            first.end()
            assert probe.processes == (second.pid,)
            second.call(2)
            assert len(rows(probe)) == 2
            second.end()
            assert probe.processes == ()


def test_a_process_that_is_gone_is_refused(binary, offset, features):
    with Counted(binary) as target:
        gone = target.target()
    with pytest.raises(ArmFailed) as failed:
        arm(counting_program((offset,)), [gone], wanted(), str(binary), features)
    assert failed.value.reason is ArmReason.PROCESS_GONE
    assert str(gone[0].pid) in failed.value.detail


def test_a_pid_that_belongs_to_another_process_now_is_refused(target, offset, features):
    process, bias = target.target()
    earlier = dataclasses.replace(process, start_ticks=process.start_ticks - 1)
    with pytest.raises(ArmFailed) as failed:
        arm(counting_program((offset,)), [(earlier, bias)], wanted(), str(target.binary), features)
    assert failed.value.reason is ArmReason.PROCESS_GONE


def test_no_process_at_all_is_refused(binary, offset, features):
    with pytest.raises(ArmFailed) as failed:
        arm(counting_program((offset,)), [], wanted(), str(binary), features)
    assert failed.value.reason is ArmReason.PROCESS_GONE


def test_a_program_that_the_verifier_refuses_says_why(target, offset, features):
    program = counting_program((offset,))
    (one,) = program.programs
    without_end = dataclasses.replace(one, instructions=one.instructions[:-8])  # no exit
    with pytest.raises(ArmFailed) as failed:
        armed(target, dataclasses.replace(program, programs=(without_end,)), features)
    assert failed.value.reason is ArmReason.VERIFIER
    assert "last insn is not an exit or jmp" in failed.value.detail
    assert kernel_objects_held() == []


def test_a_file_that_is_not_there_is_refused_and_nothing_stays(target, offset, features):
    with pytest.raises(ArmFailed) as failed:
        arm(counting_program((offset,)), [target.target()], wanted(), "/nonexistent/program", features)
    assert failed.value.reason is ArmReason.ATTACH
    assert "/nonexistent/program" in failed.value.detail
    assert kernel_objects_held() == []


def test_a_place_outside_the_file_is_refused_and_nothing_stays(target, features):
    with pytest.raises(ArmFailed) as failed:
        armed(target, counting_program((1 << 30,)), features)
    assert failed.value.reason is ArmReason.ATTACH
    assert str(target.binary) in failed.value.detail
    assert kernel_objects_held() == []


def test_a_file_that_was_replaced_since_it_was_resolved_is_refused(target, offset, features):
    there = target.binary.stat()
    resolved = BinaryIdentity(str(target.binary), "", there.st_ino, there.st_dev)
    program, processes, file = counting_program((offset,)), [target.target()], str(target.binary)
    arm(program, processes, wanted(), file, features, resolved).close()
    with pytest.raises(ArmFailed, match="was replaced"):
        arm(program, processes, wanted(), file, features, dataclasses.replace(resolved, inode=there.st_ino + 1))


def test_entry_and_return_are_two_programs_of_one_probe(target, offset, features):
    both = tuple(
        one_program((offset,), role, on_return=role is Role.RETURN, sleepable=True, discard_odd=False, read_text=False)
        for role in (Role.ENTRY, Role.RETURN)
    )
    program = dataclasses.replace(counting_program((offset,)), programs=both)
    assert len(maps()) == len(program.maps)
    with balanced(target, program, features) as probe:
        target.call(2)
        assert rows(probe)["index"].tolist() == [0, ord("a"), 1, 3 + ord("a")]
        assert {each.name for each in inventory.remaining(probe.program_ids())} == {"pg_entry", "pg_return"}


HOLDER = """
import sys, time, dataclasses
from agents.runtime.features import probe_kernel
from agents.runtime.model import ArmRequest
from agents.runtime.service import arm
from agents.processes.proc import ProcFs
from tests.builders.bpf_programs import counting_program
pid, offset, path, multi = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4] == "uprobe_multi"
kernel = dataclasses.replace(probe_kernel(thorough=True), uprobe_multi=multi)
deadline = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + 60_000_000_000
probe = arm(counting_program((offset,)), [(ProcFs().find(pid), 0)], ArmRequest(deadline, 1000, 1000), path, kernel)
print(*probe.program_ids(), flush=True)
time.sleep(60)
"""


def test_a_holder_that_is_killed_leaves_nothing_in_the_kernel(target, offset, features):
    method = "uprobe_multi" if features.uprobe_multi else "perf_event"
    command = [sys.executable, "-c", HOLDER, str(target.pid), str(offset), str(target.binary), method]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "proto")])
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": paths})
    try:
        ids = [int(word) for word in holder.stdout.readline().split()]
        target.call(5)
        assert len(inventory.remaining(ids)) == 1
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
    assert inventory.wait_until_gone(ids, seconds=5) == ()
    assert inventory.links(ids) == ()
    target.call(5)
