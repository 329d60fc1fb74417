"""The states of one version of a template, as one table; no I/O.

    in_review --approve--> approved --supersede--> superseded
        |                     |
        +--reject---> rejected (a reviewer may take an approval back: one no is enough)
        +--withdraw-> withdrawn
        +--supersede-> superseded (a newer version was submitted)

The last three are final. Any edit is a new version, with no reviews.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    IN_REVIEW = "in_review"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    SUPERSEDED = "superseded"


class Event(StrEnum):
    APPROVE = "approve"  # the last approval that was needed, or one more
    REJECT = "reject"
    WITHDRAW = "withdraw"
    SUPERSEDE = "supersede"


TRANSITIONS: Final[dict[tuple[State, Event], State]] = {
    (State.IN_REVIEW, Event.APPROVE): State.APPROVED,
    (State.IN_REVIEW, Event.REJECT): State.REJECTED,
    (State.IN_REVIEW, Event.WITHDRAW): State.WITHDRAWN,
    (State.IN_REVIEW, Event.SUPERSEDE): State.SUPERSEDED,
    (State.APPROVED, Event.APPROVE): State.APPROVED,
    (State.APPROVED, Event.REJECT): State.REJECTED,
    (State.APPROVED, Event.WITHDRAW): State.WITHDRAWN,
    (State.APPROVED, Event.SUPERSEDE): State.SUPERSEDED,
}


def after(state: State, event: Event) -> State | None:
    """The next state; None when this cannot happen to a version in this state."""
    return TRANSITIONS.get((state, event))
