"""One running probe: every hit is accounted for, every process of the target is probed once, nothing is left armed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.admission.model import HostPolicy, RefusalReason, Refused
from agents.binaries.model import Unresolved
from agents.compiler.model import CompileRequest, Counter
from agents.processes.model import NoProcess, NoProcessReason
from agents.runtime.model import ArmFailed, ArmReason
from agents.stages.accounting import Accounting, account, account_so_far
from agents.stages.budget import PATIENCE, WINDOW_NS, CpuBudget, Spent
from agents.stages.order import ProbeOrder
from agents.stages.probe import RunningProbe
from language.model import At, LimitSpec, TargetSpec
from tests.builders.probes import FakeHost, numbers, on_service

MINUTE = timedelta(minutes=1)


@pytest.fixture
def host(tmp_path) -> FakeHost:
    made = FakeHost(tmp_path)
    made.start(10)
    return made


def order(function: str = "shop/money.Sum", target: TargetSpec | None = None, **limits: object) -> ProbeOrder:
    request = CompileRequest(At.ENTRY, None, (), LimitSpec(**limits))
    return ProbeOrder(function, None, request, target or on_service(), ())


def armed(host: FakeHost, made: ProbeOrder | None = None, policy: HostPolicy | None = None) -> RunningProbe:
    probe = host.prober(policy).prepare(made or order(), host.boot + 60 * 10**9)
    probe.adopt()
    return probe


def test_rows_come_out_in_order_and_add_up(host):
    with armed(host) as probe:
        host.armed[0].fire(1, 2, 3)
        assert numbers(probe.take()) == [1, 2, 3]
        host.armed[0].fire(4)
        rest, accounting = probe.end()
        assert numbers(rest) == [4]
        assert accounting == Accounting(hits=4, delivered=4)


def test_every_outcome_is_in_the_accounting(host):
    with armed(host) as probe:
        one = host.armed[0]
        one.fire(1, 2)
        for counter, hits in (
            (Counter.FILTERED, 3),
            (Counter.SAMPLED_OUT, 4),
            (Counter.THROTTLED, 5),
            (Counter.EXPIRED, 6),
            (Counter.LOST_RING_FULL, 7),
            (Counter.LOST_STASH_FULL, 8),
            (Counter.LOST_NO_RETURN, 9),
        ):
            one.count(counter, hits)
        one.enter()
        _, accounting = probe.end()
    assert accounting.lost == {"ring_full": 7, "stash_full": 8, "no_return": 10}
    assert (accounting.hits, accounting.delivered, accounting.filtered) == (45, 2, 3)
    assert accounting.adds_up


def test_a_call_in_flight_is_no_hit_yet_and_lost_at_the_end(host):
    with armed(host) as probe:
        host.armed[0].enter()
        assert probe.accounting() == Accounting()
        assert probe.end()[1] == Accounting(hits=1, lost={"no_return": 1})


def test_what_cannot_be_decoded_is_lost_and_said_without_its_value(host, caplog):
    with armed(host) as probe:
        host.undecodable = True
        host.armed[0].fire(1, 2)
        assert probe.take() == ()
        _, accounting = probe.end()
    assert accounting == Accounting(hits=2, lost={"undecoded": 2})
    assert "2 records" in caplog.text
    assert "secret-value" not in caplog.text


def test_max_hits_ends_it_over_all_files_together(host):
    host.start(11, file="other")
    with armed(host, order(max_hits=3)) as probe:
        for each in host.armed:
            each.fire(1, 2)
        assert len(numbers(probe.take())) == 3
        assert probe.full
        _, accounting = probe.end()
    assert accounting == Accounting(hits=4, delivered=3, lost={"surplus": 1})


def test_files_share_the_rate_between_them(host):
    host.start(11, file="other")
    with armed(host, order(max_events_per_second=1000)):
        assert [each.request.max_events_per_second for each in host.armed] == [500, 500]


def test_processes_of_one_file_are_one_armed_probe(host):
    host.start(11)
    host.start(12, service="other")
    with armed(host) as probe:
        assert probe.processes == (10, 11)
        assert len(host.armed) == host.compilations == 1


def test_a_process_that_starts_later_is_armed_without_reading_its_file_again(host):
    with armed(host) as probe:
        assert probe.adopt() == 0
        host.start(11)
        assert probe.adopt() == 1
        assert probe.processes == (10, 11)
        assert host.resolutions == 1


def test_hits_of_a_process_that_ended_stay_in_the_accounting(host):
    host.start(11, file="other")
    with armed(host) as probe:
        host.armed[0].fire(1)
        host.stop(10)
        assert numbers(probe.take()) == [1]
        assert host.armed[0].closed
        assert probe.processes == (11,)
        assert probe.end()[1] == Accounting(hits=1, delivered=1)


def test_nothing_is_left_armed_when_it_breaks(host):
    with pytest.raises(RuntimeError), armed(host):
        raise RuntimeError
    assert host.in_kernel == []


def test_a_target_without_processes_says_so(host):
    with pytest.raises(NoProcess) as refused:
        armed(host, order(target=on_service("nobody")))
    assert refused.value.reason is NoProcessReason.NOT_FOUND


def test_a_target_whose_processes_have_all_gone_stays_quiet_once_it_was_armed(host):
    with armed(host) as probe:
        host.stop(10)
        assert probe.adopt() == 0


def test_a_function_that_is_not_there_says_so(host):
    with pytest.raises(Unresolved, match=r"none\.Such"):
        armed(host, order("shop/none.Such"))


@pytest.mark.parametrize("pattern", ["/srv/*", "*/shop"])
def test_an_executable_that_the_host_denies_is_not_even_read(host, pattern):
    with pytest.raises(Refused) as refused:
        armed(host, policy=HostPolicy(deny_paths=(pattern,)))
    assert refused.value.reason is RefusalReason.DENIED_BY_HOST
    assert host.resolutions == 0


def test_a_kernel_that_refuses_leaves_nothing(host):
    host.arm_problem = ArmReason.VERIFIER
    with pytest.raises(ArmFailed):
        armed(host)
    assert host.in_kernel == []


def test_a_renewal_moves_the_deadline_of_what_is_armed(host):
    with armed(host) as probe:
        probe.extend(host.boot + 3600 * 10**9)
        host.pass_time(2 * MINUTE)
        assert not probe.expired
        host.armed[0].fire(1)
        assert numbers(probe.take()) == [1]


def test_it_expires_on_the_boot_clock(host):
    with armed(host) as probe:
        host.pass_time(MINUTE)
        assert probe.expired


def test_a_batch_without_rows_can_carry_the_last_accounting(host):
    with armed(host) as probe:
        batch = probe.no_rows()
        assert batch is not None
        assert batch.columns.num_rows == 0


# --- accounting ----------------------------------------------------------------------------------------------------

COUNTS = st.integers(min_value=0, max_value=1 << 40)


@given(st.lists(COUNTS, min_size=8, max_size=8), COUNTS, COUNTS)
def test_it_adds_up_whenever_the_kernels_counters_do(outcomes, in_flight, dropped):
    delivered = outcomes[0]
    counters = dict(
        zip((c for c in Counter if c not in {Counter.HITS, Counter.UNPAIRED_RETURN}), outcomes, strict=True)
    )
    counters[Counter.HITS] = sum(outcomes) + in_flight
    lost = min(dropped, delivered)
    assert account(counters, delivered, {"undecoded": lost}, in_flight).adds_up
    assert account_so_far(counters, delivered, {"undecoded": lost}).adds_up


def test_it_does_not_add_up_when_a_hit_is_missing():
    counters = dict.fromkeys(Counter, 0) | {Counter.HITS: 3, Counter.DELIVERED: 2}
    assert not account(counters, 2, {}, 0).adds_up


@given(st.lists(st.tuples(COUNTS, COUNTS), max_size=5))
def test_sums_of_what_adds_up_add_up(parts):
    total = sum((Accounting(a + b, a, lost={"ring_full": b}) for a, b in parts), Accounting())
    assert total.adds_up


# --- budget --------------------------------------------------------------------------------------------------------


def verdicts(shares: list[float], limit: float = 0.01) -> list[bool]:
    budget, spent, found = CpuBudget(limit, 0), 0, []
    for second, share in enumerate(shares, start=1):
        spent += int(share * WINDOW_NS)
        found.append(budget.broken(Spent(spent, 0), second * WINDOW_NS))
    return found


def test_a_probe_within_its_budget_stays():
    assert not any(verdicts([0.009] * 20))


def test_a_burst_is_forgiven():
    assert not any(verdicts([0.5] * (PATIENCE - 1) + [0.0] + [0.5] * (PATIENCE - 1)))


def test_a_probe_that_is_over_its_budget_for_seconds_goes():
    assert verdicts([0.02] * PATIENCE) == [False] * (PATIENCE - 1) + [True]


def test_the_wait_for_a_target_does_not_thin_the_first_window(host):
    probe = host.prober().prepare(order(cpu=0.01), host.boot + 10**12)
    host.pass_time(timedelta(hours=1))
    with probe:
        probe.adopt()
        for _ in range(PATIENCE):
            host.armed[0].count(Counter.FILTERED, 5_000)  # 5 ms of traps
            host.pass_time(timedelta(microseconds=WINDOW_NS // 1000))
            over = probe.over_budget()
        assert over


def test_what_is_armed_while_the_probe_detaches_is_detached_as_well(host):
    with armed(host) as probe:
        probe.detach()
        host.start(11, file="other")
        assert probe.adopt() == 1
        assert host.in_kernel == []
        assert probe.end()[1] == Accounting()


def test_traps_and_run_time_count_together(host):
    with armed(host, order(cpu=0.01)) as probe:
        broken = []
        for _ in range(PATIENCE):
            host.pass_time(timedelta(seconds=1))
            host.armed[0].count(Counter.FILTERED, 6000)  # 6 ms of traps at 1 us each
            host.armed[0].run_time_ns += 6_000_000
            broken.append(probe.over_budget())
    assert broken[-1]
    assert probe.cpu_share == pytest.approx(0.012)
