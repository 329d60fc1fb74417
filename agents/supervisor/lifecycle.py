"""The states of one tracepoint on one host, as a table. No I/O.

    (nothing) --admit--> ADMITTED --arm--> ARMED --end--> ENDED
                            |  ^             |              |
                            |  +--replace----+              |
                            +--end/fail--> ENDED/FAILED <---+ (replace and revive lead back to ADMITTED)

ADMITTED: signed, in time, allowed; no process of its target runs here yet, or it is being compiled.
ARMED: in the kernel. ENDED: was there or waited, and nothing is left. FAILED: could not be put there.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from agents.admission.model import HOST_OWNER as STOPPED_HERE


class State(StrEnum):
    ADMITTED = "admitted"
    ARMED = "armed"
    ENDED = "ended"
    FAILED = "failed"


class Event(StrEnum):
    ARM = "arm"  # the first process is probed
    RENEW = "renew"  # a higher version with the same content: it lives longer
    REPLACE = "replace"  # a higher version with other content
    REVIVE = "revive"  # the same version again, after the lease was lost or it failed
    END = "end"
    FAIL = "fail"


class EndReason(StrEnum):
    """The words of wire.v1.Batch.end_reason."""

    TTL = "ttl"
    DELETED = "deleted"
    REVOKED = "revoked"
    LOCKED = "locked"
    LEASE = "lease"
    BUDGET = "budget"
    MAX_HITS = "max_hits"
    TARGET_EXITED = "target_exited"
    CANARY = "canary"  # a planted card came out of masking in clear
    HOST_OWNER = STOPPED_HERE  # `probegate-agent stop`, or the host's rules were changed
    ERROR = "error"


TABLE: Final[Mapping[tuple[State, Event], State]] = {
    (State.ADMITTED, Event.ARM): State.ARMED,
    (State.ADMITTED, Event.RENEW): State.ADMITTED,
    (State.ADMITTED, Event.REPLACE): State.ADMITTED,
    (State.ADMITTED, Event.END): State.ENDED,
    (State.ADMITTED, Event.FAIL): State.FAILED,
    (State.ARMED, Event.RENEW): State.ARMED,
    (State.ARMED, Event.REPLACE): State.ADMITTED,
    (State.ARMED, Event.END): State.ENDED,
    (State.ARMED, Event.FAIL): State.FAILED,
    (State.ENDED, Event.REPLACE): State.ADMITTED,
    (State.ENDED, Event.REVIVE): State.ADMITTED,
    (State.FAILED, Event.REPLACE): State.ADMITTED,
    (State.FAILED, Event.REVIVE): State.ADMITTED,
}

ALIVE: Final = frozenset({State.ADMITTED, State.ARMED})

# After these the same envelope starts nothing again, over restarts too; a lost lease and an error are nobody's will.
FOR_GOOD: Final = frozenset(EndReason) - {EndReason.LEASE, EndReason.ERROR}


class NotInTable(Exception):
    """An event that cannot happen in this state: a mistake in this program."""


def after(state: State, event: Event) -> State:
    try:
        return TABLE[state, event]
    except KeyError:
        raise NotInTable(f"{event} cannot happen to a tracepoint that is {state}") from None
