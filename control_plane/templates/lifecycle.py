"""The states of one version of a template, as one table; no I/O.

    draft --submit--> in_review --approve--> approved --deprecate--> deprecated --revoke--> revoked
      |                   |                     |
      |                   +--reject---> rejected (a reviewer may take an approval back: one no is enough)
      +--withdraw---------+--withdraw-> withdrawn
      +--supersede--------+--supersede-> superseded (a newer version was submitted, or approved) --revoke--> revoked
                          +--lapse----> lapsed (nobody finished the review in time)

deprecated: runs on until its TTLs end, and can be renewed, not asked for anew. revoked: what runs of it is taken back.
rejected, withdrawn, lapsed and revoked are final. Any edit is a new version, with no reviews.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    DRAFT = "draft"
    IN_REVIEW = "in_review"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    SUPERSEDED = "superseded"
    LAPSED = "lapsed"
    DEPRECATED = "deprecated"
    REVOKED = "revoked"


class Event(StrEnum):
    SUBMIT = "submit"
    APPROVE = "approve"  # the last approval that was needed, or one more
    REJECT = "reject"
    WITHDRAW = "withdraw"
    SUPERSEDE = "supersede"
    LAPSE = "lapse"
    DEPRECATE = "deprecate"
    REVOKE = "revoke"


FINAL: Final = frozenset({State.REJECTED, State.WITHDRAWN, State.LAPSED, State.REVOKED})
RUNNABLE: Final = frozenset({State.APPROVED, State.SUPERSEDED, State.DEPRECATED})  # what runs of it may run on

TRANSITIONS: Final[dict[tuple[State, Event], State]] = {
    (State.DRAFT, Event.SUBMIT): State.IN_REVIEW,
    (State.DRAFT, Event.WITHDRAW): State.WITHDRAWN,
    (State.DRAFT, Event.SUPERSEDE): State.SUPERSEDED,
    (State.IN_REVIEW, Event.APPROVE): State.APPROVED,
    (State.IN_REVIEW, Event.REJECT): State.REJECTED,
    (State.IN_REVIEW, Event.WITHDRAW): State.WITHDRAWN,
    (State.IN_REVIEW, Event.SUPERSEDE): State.SUPERSEDED,
    (State.IN_REVIEW, Event.LAPSE): State.LAPSED,
    (State.APPROVED, Event.APPROVE): State.APPROVED,
    (State.APPROVED, Event.REJECT): State.REJECTED,
    (State.APPROVED, Event.WITHDRAW): State.WITHDRAWN,
    (State.APPROVED, Event.SUPERSEDE): State.SUPERSEDED,
    (State.APPROVED, Event.DEPRECATE): State.DEPRECATED,
    (State.APPROVED, Event.REVOKE): State.REVOKED,
    (State.SUPERSEDED, Event.REVOKE): State.REVOKED,
    (State.DEPRECATED, Event.REVOKE): State.REVOKED,
}


def after(state: State, event: Event) -> State | None:
    """The next state; None when this cannot happen to a version in this state."""
    return TRANSITIONS.get((state, event))
