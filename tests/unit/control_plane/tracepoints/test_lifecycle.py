from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.tracepoints.lifecycle import (
    LIVE,
    OVER,
    TRANSITIONS,
    WAITING,
    AgentState,
    Event,
    State,
    after,
    is_done,
)


@given(st.sampled_from([State.AWAITING, State.PENDING]), st.lists(st.sampled_from(Event), max_size=20))
def test_no_event_leaves_the_table(state: State, events: list[Event]) -> None:
    for event in events:
        reached = after(state, event)
        assert (reached is None) == ((state, event) not in TRANSITIONS)
        state = reached or state


@pytest.mark.parametrize("state", OVER)
@pytest.mark.parametrize("event", Event)
def test_what_is_over_stays_over(state: State, event: Event) -> None:
    assert after(state, event) is None


@pytest.mark.parametrize("state", sorted(set(State) - {*OVER, *WAITING}))
def test_whatever_is_on_a_host_ends_with_its_ttl(state: State) -> None:
    assert after(state, Event.EXPIRE) is State.ENDED


def test_what_was_taken_back_never_lives_again() -> None:
    assert not {reached for (state, _), reached in TRANSITIONS.items() if state is State.STOPPING} & set(LIVE)


@pytest.mark.parametrize("state", WAITING)
def test_what_waits_can_be_withdrawn_and_denied(state: State) -> None:
    assert (after(state, Event.DELETE), after(state, Event.DENY)) == (State.ENDED, State.DENIED)


def test_nothing_that_waits_is_armed_or_renewed_before_its_start() -> None:
    assert not {event for state, event in TRANSITIONS if state in WAITING} & {Event.ARM, Event.RENEW}
    assert [pair for pair, reached in TRANSITIONS.items() if reached is State.PENDING and pair[0] in WAITING] == [
        (State.SCHEDULED, Event.START)
    ]


def test_every_state_can_be_reached() -> None:
    assert {State.AWAITING, *TRANSITIONS.values()} == set(State)


@pytest.mark.parametrize(
    ("state", "reason", "done"),
    [
        (AgentState.PENDING, "", False),
        (AgentState.ARMED, "", False),
        (AgentState.ENDED, "ttl", True),
        (AgentState.ENDED, "lease", False),
        (AgentState.ENDED, "error", False),
        (AgentState.REFUSED, "", True),
    ],
)
def test_an_agent_that_lost_its_lease_comes_back(state: AgentState, reason: str, done: bool) -> None:
    assert is_done(state, reason) is done
