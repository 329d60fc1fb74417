from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.templates.lifecycle import TRANSITIONS, Event, State, after

FINAL = {State.REJECTED, State.WITHDRAWN, State.SUPERSEDED}


@given(st.lists(st.sampled_from(Event), max_size=20))
def test_no_event_leaves_the_table(events: list[Event]) -> None:
    state = State.IN_REVIEW
    for event in events:
        reached = after(state, event)
        assert (reached is None) == ((state, event) not in TRANSITIONS)
        state = reached or state


@pytest.mark.parametrize("state", sorted(FINAL))
@pytest.mark.parametrize("event", Event)
def test_a_final_state_is_never_left(state: State, event: Event) -> None:
    assert after(state, event) is None


def test_every_state_can_be_reached() -> None:
    assert set(TRANSITIONS.values()) | {State.IN_REVIEW} == set(State)


def test_nothing_but_an_approval_approves() -> None:
    assert {event for (_, event), reached in TRANSITIONS.items() if reached is State.APPROVED} == {Event.APPROVE}
