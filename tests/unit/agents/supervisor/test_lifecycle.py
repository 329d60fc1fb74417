"""No event leaves the table, and what ended stays ended unless somebody means it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.supervisor.lifecycle import ALIVE, FOR_GOOD, TABLE, EndReason, Event, NotInTable, State, after


@given(st.lists(st.sampled_from(Event), max_size=30))
def test_no_sequence_of_events_leaves_the_table(events):
    state = State.ADMITTED
    for event in events:
        try:
            state = after(state, event)
        except NotInTable:
            assert (state, event) not in TABLE
    assert state in State


def test_every_state_can_be_reached_and_every_event_can_happen():
    assert set(TABLE.values()) == set(State)
    assert {event for _, event in TABLE} == set(Event)


@pytest.mark.parametrize("state", sorted(set(State) - ALIVE))
@pytest.mark.parametrize("event", [Event.ARM, Event.RENEW, Event.END, Event.FAIL])
def test_what_is_over_does_nothing_more_by_itself(state, event):
    with pytest.raises(NotInTable):
        after(state, event)


def test_only_a_lost_lease_and_an_error_are_not_for_good():
    assert set(EndReason) - FOR_GOOD == {EndReason.LEASE, EndReason.ERROR}
