from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.templates.lifecycle import FINAL, TRANSITIONS, Event, State, after


@given(st.lists(st.sampled_from(Event), max_size=20))
def test_no_event_leaves_the_table(events: list[Event]) -> None:
    state = State.DRAFT
    for event in events:
        reached = after(state, event)
        assert (reached is None) == ((state, event) not in TRANSITIONS)
        state = reached or state


@pytest.mark.parametrize("state", sorted(FINAL))
@pytest.mark.parametrize("event", Event)
def test_a_final_state_is_never_left(state: State, event: Event) -> None:
    assert after(state, event) is None


def test_every_state_can_be_reached_and_every_other_left() -> None:
    assert set(TRANSITIONS.values()) | {State.DRAFT} == set(State)
    assert {state for state, _ in TRANSITIONS} | FINAL == set(State)


def test_nothing_but_an_approval_in_review_approves() -> None:
    reaching = {pair for pair, reached in TRANSITIONS.items() if reached is State.APPROVED}
    assert reaching == {(State.IN_REVIEW, Event.APPROVE), (State.APPROVED, Event.APPROVE)}
