"""Too much for the host: who goes is fair between tenants, the same for every agent, and said."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.stages.budget import PATIENCE, WINDOW_NS
from agents.supervisor.host_budget import HostBudget, Share, too_much
from agents.supervisor.ledger import FORGOTTEN_NS, FRESH_NS, FileLedger

SHARES = st.lists(
    st.builds(
        Share,
        st.sampled_from(["acme", "beta", "core"]),
        st.integers(0, 40).map("tp_{}".format),
        st.integers(0, 100).map(lambda percent: percent / 100),
    ),
    unique_by=lambda share: (share.tenant, share.tracepoint_id),
    max_size=12,
)


class Alone:
    """A ledger that nobody else writes to."""

    def __init__(self, *others: Share) -> None:
        self.published: list[list[Share]] = []
        self.of_others = others

    def publish(self, shares) -> None:
        self.published.append(list(shares))

    def others(self):
        return self.of_others


def test_within_the_budget_everybody_stays():
    assert too_much([Share("acme", "tp_1", 0.1), Share("acme", "tp_2", 0.1)], 0.25) == ()


def test_the_most_expensive_goes_first_and_only_until_the_rest_fits():
    shares = [Share("acme", f"tp_{n}", cpu) for n, cpu in enumerate((0.05, 0.2, 0.1, 0.15))]
    assert [share.tracepoint_id for share in too_much(shares, 0.25)] == ["tp_1", "tp_3"]


def test_equal_ones_are_told_apart_by_name():
    shares = [Share("acme", f"tp_{n}", 0.2) for n in (3, 1, 2)]
    assert [share.tracepoint_id for share in too_much(shares, 0.25)] == ["tp_1", "tp_2"]


def test_a_tenant_with_many_cheap_probes_pays_for_them_and_not_the_one_with_a_dear_one():
    many = [Share("greedy", f"tp_{n}", 0.04) for n in range(5)]
    assert {share.tenant for share in too_much([*many, Share("modest", "tp_9", 0.1)], 0.25)} == {"greedy"}


@given(SHARES, st.integers(1, 200), st.randoms(use_true_random=False))
def test_every_agent_comes_to_the_same_verdict(shares, percent, chance: random.Random):
    shuffled = chance.sample(shares, len(shares))
    assert too_much(shares, percent / 100) == too_much(shuffled, percent / 100)


@given(SHARES, st.integers(1, 200))
def test_what_stays_fits_and_who_is_within_the_fair_share_loses_nothing(shares, percent):
    budget = percent / 100
    going = too_much(shares, budget)
    staying = [share for share in shares if share not in going]
    assert sum(share.cpu for share in sorted(staying, key=lambda s: (s.tenant, s.tracepoint_id))) <= budget
    tenants = {share.tenant for share in shares}
    for tenant in tenants:
        if sum(share.cpu for share in shares if share.tenant == tenant) <= budget / len(tenants) - 1e-9:
            assert tenant not in {share.tenant for share in going}


def verdicts(budget: HostBudget, windows: list[list[Share]]) -> list[tuple]:
    return [budget.judge(shares, (number + 1) * WINDOW_NS) for number, shares in enumerate(windows)]


def test_a_burst_is_forgiven_and_what_lasts_is_not():
    dear = [Share("acme", "tp_1", 0.4)]
    assert verdicts(HostBudget(0.25, Alone()), [*[dear] * (PATIENCE - 1), [], dear]) == [()] * (PATIENCE + 1)
    found = verdicts(HostBudget(0.25, Alone()), [dear] * PATIENCE)
    ((share, reason),) = found[-1]
    assert share.tracepoint_id == "tp_1"
    assert reason.startswith("host budget: all probes of this host used 40.0% of a core, allowed 25.0%")


def test_only_ones_own_are_ended_and_others_are_counted():
    others = Share("beta", "tp_9", 0.3)
    ours = [Share("acme", "tp_1", 0.1)]
    assert verdicts(HostBudget(0.25, Alone(others)), [ours] * PATIENCE)[-1] == ()
    ours = [Share("acme", "tp_1", 0.31)]
    assert [share.tracepoint_id for share, _ in verdicts(HostBudget(0.25, Alone(others)), [ours] * PATIENCE)[-1]] == [
        "tp_1"
    ]


def test_a_host_at_rest_writes_nothing():
    ledger = Alone()
    verdicts(HostBudget(0.25, ledger), [[Share("acme", "tp_1", 0.0)]] * 5)
    assert ledger.published == []


# --- the ledger on disk --------------------------------------------------------------------------------------------


@pytest.fixture
def clock():
    return [10 * FORGOTTEN_NS]


def test_agents_of_one_host_hear_each_other_and_not_themselves(tmp_path, clock):
    one, two = (FileLedger(tmp_path / "run", lambda: clock[0], name) for name in ("1", "2"))
    one.publish([Share("acme", "tp_1", 0.2)])
    assert one.others() == ()
    assert two.others() == (Share("acme", "tp_1", 0.2),)


def test_an_agent_that_has_not_written_lately_counts_no_more_and_is_forgotten(tmp_path, clock):
    one, two = (FileLedger(tmp_path / "run", lambda: clock[0], name) for name in ("1", "2"))
    one.publish([Share("acme", "tp_1", 0.2)])
    clock[0] += FRESH_NS + 1
    assert two.others() == ()
    clock[0] += FORGOTTEN_NS
    assert two.others() == ()
    assert list((tmp_path / "run").iterdir()) == []


def test_what_is_no_ledger_is_passed_over(tmp_path, clock):
    one = FileLedger(tmp_path / "run", lambda: clock[0], "1")
    (tmp_path / "run" / "9.json").write_text('{"boot_ns": "x"}')
    (tmp_path / "run" / "8.json").write_text("[")
    assert one.others() == ()


def test_a_directory_that_others_may_write_to_is_not_believed(tmp_path, clock):
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(0o777)
    ledger = FileLedger(tmp_path / "run", lambda: clock[0], "1")
    ledger.publish([Share("acme", "tp_1", 0.2)])
    (tmp_path / "run" / "9.json").write_text(
        f'{{"boot_ns": {clock[0]}, "shares": [{{"tenant": "t", "tracepoint_id": "x", "cpu": 9}}]}}'
    )
    assert ledger.others() == ()
