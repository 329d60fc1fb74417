"""Every hit has exactly one outcome; entry and return belong together or are counted apart."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.binaries.model import Language, Register
from agents.compiler.model import ControlField, Counter
from agents.compiler.service import compile_probe
from agents.decoding.rows import to_rows
from agents.decoding.service import decode
from language.model import At, LimitSpec
from tests.builders.bpf_machine import Machine
from tests.builders.compiler_types import request, shop_probe

STACK, G = 0x30_0000, 0x60_0000
HERE = {Register.RSP: STACK + 256, Register.R14: G}


def machine(at=At.ENTRY, *, where=None, limits=None, language=Language.GO) -> Machine:
    captures = {"n": "n"} | ({} if at is At.ENTRY else {"total": "total", "latency": "latency()"})
    program = compile_probe(shop_probe(language=language), request(captures, at=at, where=where, limits=limits))
    return Machine(
        program, {STACK: bytes(512), G: G.to_bytes(8, "little") + (STACK + 512).to_bytes(8, "little") + bytes(240)}
    )


def enter(m: Machine, n: int = 0, frame: int = 256) -> None:
    m.fire(HERE | {Register.RDI: n, Register.RSP: STACK + frame})


def leave(m: Machine, total: int = 0, frame: int = 256) -> None:
    m.fire(HERE | {Register.RAX: total, Register.RSP: STACK + frame}, index=0)


def rows(m: Machine) -> list[dict]:
    return list(to_rows(decode(m.program.layout, m.matrix(), 0).columns))


def outcomes(m: Machine) -> dict[str, int]:
    return {counter.name: count for counter, count in m.counters.items() if count and counter is not Counter.HITS}


def balanced(m: Machine) -> bool:
    ends = sum(count for c, count in m.counters.items() if c not in {Counter.HITS, Counter.UNPAIRED_RETURN})
    return m.counters[Counter.HITS] == ends + len(m.stash)


def test_another_process_is_not_even_counted_and_nothing_of_it_is_read():
    m = machine()
    m.processes = frozenset({7})
    enter(m)
    assert (m.reads, m.records, outcomes(m), m.counters[Counter.HITS]) == ([], [], {}, 0)


@pytest.mark.parametrize(
    ("field", "value"), [(ControlField.ENABLED, 0), (ControlField.DEADLINE, 999), (ControlField.DEADLINE, 0), (ControlField.MAX_HITS, 0)]
)  # fmt: skip
def test_a_probe_that_is_over_reads_nothing_and_counts_expired(field, value):
    m = machine()
    m.set(field, value)
    enter(m)
    assert (m.reads, m.records, outcomes(m)) == ([], [], {"EXPIRED": 1})


def test_no_more_than_the_number_of_hits_is_taken():
    m = machine()
    m.set(ControlField.MAX_HITS, 3)
    for _ in range(5):
        enter(m)
    assert outcomes(m) == {"DELIVERED": 3, "EXPIRED": 2}
    assert m.get(ControlField.TAKEN) == 3


def test_the_rate_lets_a_burst_through_and_then_one_an_interval():
    m = machine()
    m.set(ControlField.INTERVAL, 100)
    m.set(ControlField.BURST, 300)
    for _ in range(6):
        enter(m)
    assert outcomes(m) == {"DELIVERED": 4, "THROTTLED": 2}
    m.now += 100
    enter(m)
    enter(m)
    assert outcomes(m) == {"DELIVERED": 5, "THROTTLED": 3}


@pytest.mark.parametrize(("random", "delivered"), [(0, 1), ((1 << 30) - 1, 1), (1 << 30, 0), ((1 << 32) - 1, 0)])
def test_a_quarter_is_sampled_by_a_random_number_below_a_quarter(random, delivered):
    m = machine(limits=LimitSpec(sample=Fraction(1, 4)))
    m.random = random
    enter(m)
    assert outcomes(m) == ({"DELIVERED": 1} if delivered else {"SAMPLED_OUT": 1})


def test_a_full_ring_is_a_loss_with_its_reason():
    m = machine()
    m.ring_full = True
    enter(m)
    assert outcomes(m) == {"LOST_RING_FULL": 1}


def test_an_entry_and_its_return_make_one_row_with_both():
    m = machine(At.ENTRY_AND_RETURN)
    enter(m, n=5)
    assert len(m.stash) == 1
    m.now += 250
    m.tid = 999  # the goroutine moved to another thread
    leave(m, total=-8)
    assert [(r["n"], r["total"], r["latency"], r["time_"], r["tid"]) for r in rows(m)] == [(5, -8, 250, 1000, 101)]
    assert m.stash == {}


def test_a_goroutine_whose_stack_moved_is_still_the_same_call():
    m = machine(At.ENTRY_AND_RETURN)
    enter(m, n=5)
    moved = 0x90_0000
    m.memory[G] = G.to_bytes(8, "little") + (moved + 512).to_bytes(8, "little") + bytes(240)
    m.fire(HERE | {Register.RAX: 1, Register.RSP: moved + 256}, index=0)
    assert outcomes(m) == {"DELIVERED": 1}


def test_two_goroutines_at_one_depth_are_two_calls():
    m = machine(At.ENTRY_AND_RETURN)
    other = G + 0x1000
    m.memory[other] = m.memory[G]
    enter(m, n=1)
    m.fire(HERE | {Register.RDI: 2, Register.R14: other})
    leave(m, total=10)
    m.fire(HERE | {Register.RAX: 20, Register.R14: other}, index=0)
    assert [(r["n"], r["total"]) for r in rows(m)] == [(1, 10), (2, 20)]


def test_a_return_without_an_entry_is_no_hit():
    m = machine(At.ENTRY_AND_RETURN)
    leave(m)
    assert outcomes(m) == {"UNPAIRED_RETURN": 1}
    assert m.counters[Counter.HITS] == 0


def test_a_call_that_never_returned_is_counted_when_its_frame_is_entered_again():
    m = machine(At.ENTRY_AND_RETURN)
    enter(m, n=1)
    enter(m, n=2)
    leave(m, total=3)
    assert [(r["n"], r["total"]) for r in rows(m)] == [(2, 3)]
    assert outcomes(m) == {"LOST_NO_RETURN": 1, "DELIVERED": 1}


def test_a_refused_call_takes_away_what_an_earlier_one_left_at_its_frame():
    m = machine(At.ENTRY_AND_RETURN, where="n == 1")
    enter(m, n=1)  # never returns
    enter(m, n=2)  # filtered
    leave(m, total=3)
    assert m.records == []
    assert outcomes(m) == {"LOST_NO_RETURN": 1, "FILTERED": 1, "UNPAIRED_RETURN": 1}


def test_a_full_stash_is_a_loss_with_its_reason():
    m = machine(At.ENTRY_AND_RETURN)
    m.stash_entries = 1
    enter(m, frame=256)
    enter(m, frame=128)
    assert outcomes(m) == {"LOST_STASH_FULL": 1}
    assert balanced(m)


def test_a_probe_that_expires_during_a_call_drops_the_call():
    m = machine(At.ENTRY_AND_RETURN)
    enter(m)
    m.set(ControlField.ENABLED, 0)
    leave(m)
    assert (m.records, m.stash, outcomes(m)) == ([], {}, {"EXPIRED": 1})


def test_outside_go_a_call_is_known_by_its_thread_and_frame():
    m = machine(At.ENTRY_AND_RETURN, language=Language.C)
    enter(m, n=1)
    m.tid = 102
    enter(m, n=2)
    m.fire(HERE | {Register.RAX: 20, Register.RSP: STACK + 264}, index=0)  # after the return: rsp is the CFA
    m.tid = 101
    m.fire(HERE | {Register.RAX: 10, Register.RSP: STACK + 264}, index=0)
    assert [(r["n"], r["total"], r["tid"]) for r in rows(m)] == [(2, 20, 102), (1, 10, 101)]


STEPS = st.sampled_from(["enter", "leave", "throttle", "expire", "revive", "full", "empty", "skip"])


@given(st.lists(st.tuples(STEPS, st.integers(0, 3), st.integers(0, 2)), max_size=40))
@settings(max_examples=60, deadline=None)
def test_the_counters_add_up_after_every_step(steps):
    m = machine(At.ENTRY_AND_RETURN, where="n != 2 and total != 1")
    m.stash_entries = 3
    for what, frame, number in steps:
        match what:
            case "enter":
                enter(m, number, 64 * frame + 64)
            case "leave":
                leave(m, number, 64 * frame + 64)
            case "throttle":
                m.set(ControlField.INTERVAL, 1000)
            case "expire":
                m.set(ControlField.ENABLED, 0)
            case "revive":
                m.set(ControlField.ENABLED, 1)
                m.set(ControlField.INTERVAL, 0)
            case "full":
                m.ring_full = True
            case "empty":
                m.ring_full = False
            case "skip":
                m.now += 100
        assert balanced(m)
    assert len(m.records) == m.counters[Counter.DELIVERED]
