"""The states of one tracepoint in the control plane, as one table; no I/O.

    awaiting --approve--> scheduled --start--> pending
       |                     |
       +--deny---------------+--deny--> denied (a reviewer may take a yes back until it starts)
       +--lapse--> lapsed    +--not_started--> failed (locked, revoked, or no longer allowed when it was due)
       +--delete-------------+--delete--> ended

    pending --arm--> active --+--agents_ended--> ended
       |                      |
       +--agents_failed-------+----------------> failed
       +--delete, replace-----+--> stopping --agents_ended, agents_failed, expire--> ended
       +--expire--------------+----------------> ended

awaiting: somebody has to say yes to this very request. scheduled: nobody has to any more; it is sealed when it is due,
not before. Neither holds its name or is known to any agent.
pending: sealed and published, in no kernel that we know of. active: at least one agent said it is armed.
stopping: taken back, the agents have not all said that nothing is left. The last two are final.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    AWAITING = "awaiting"
    SCHEDULED = "scheduled"
    PENDING = "pending"
    ACTIVE = "active"
    STOPPING = "stopping"
    ENDED = "ended"
    FAILED = "failed"
    DENIED = "denied"
    LAPSED = "lapsed"


class Event(StrEnum):
    APPROVE = "approve"  # the last approval of the request that was needed
    DENY = "deny"
    LAPSE = "lapse"  # nobody finished the review of the request in time
    START = "start"  # sealed and published, since it is due
    NOT_STARTED = "not_started"  # it was due, and must not run any more
    ARM = "arm"  # an agent has it in its kernel
    RENEW = "renew"
    DELETE = "delete"
    REPLACE = "replace"  # the same name was requested with other content
    EXPIRE = "expire"
    AGENTS_ENDED = "agents_ended"  # every agent of the audience is done with it, at least one ran or could have
    AGENTS_FAILED = "agents_failed"  # every agent of the audience refused it or could not put it there


LIVE: Final = (State.PENDING, State.ACTIVE)  # holds its name, is published, can be renewed
WAITING: Final = (State.AWAITING, State.SCHEDULED)  # asked for, and on no host yet
OVER: Final = (State.ENDED, State.FAILED, State.DENIED, State.LAPSED)

TRANSITIONS: Final[dict[tuple[State, Event], State]] = {
    (State.AWAITING, Event.APPROVE): State.SCHEDULED,
    (State.AWAITING, Event.DENY): State.DENIED,
    (State.AWAITING, Event.LAPSE): State.LAPSED,
    (State.AWAITING, Event.DELETE): State.ENDED,
    (State.SCHEDULED, Event.APPROVE): State.SCHEDULED,
    (State.SCHEDULED, Event.DENY): State.DENIED,
    (State.SCHEDULED, Event.DELETE): State.ENDED,
    (State.SCHEDULED, Event.START): State.PENDING,
    (State.SCHEDULED, Event.NOT_STARTED): State.FAILED,
    (State.PENDING, Event.ARM): State.ACTIVE,
    (State.PENDING, Event.RENEW): State.PENDING,
    (State.PENDING, Event.DELETE): State.STOPPING,
    (State.PENDING, Event.REPLACE): State.STOPPING,
    (State.PENDING, Event.EXPIRE): State.ENDED,
    (State.PENDING, Event.AGENTS_ENDED): State.ENDED,
    (State.PENDING, Event.AGENTS_FAILED): State.FAILED,
    (State.ACTIVE, Event.ARM): State.ACTIVE,
    (State.ACTIVE, Event.RENEW): State.ACTIVE,
    (State.ACTIVE, Event.DELETE): State.STOPPING,
    (State.ACTIVE, Event.REPLACE): State.STOPPING,
    (State.ACTIVE, Event.EXPIRE): State.ENDED,
    (State.ACTIVE, Event.AGENTS_ENDED): State.ENDED,
    (State.ACTIVE, Event.AGENTS_FAILED): State.FAILED,
    (State.STOPPING, Event.EXPIRE): State.ENDED,
    (State.STOPPING, Event.AGENTS_ENDED): State.ENDED,
    (State.STOPPING, Event.AGENTS_FAILED): State.ENDED,
}


def after(state: State, event: Event) -> State | None:
    """The next state; None when this cannot happen to a tracepoint in this state."""
    return TRANSITIONS.get((state, event))


class AgentState(StrEnum):
    """Of one tracepoint on one agent, as far as we know."""

    PENDING = "pending"  # sent, nothing heard yet
    ADMITTED = "admitted"  # taken; waits for a process, or is being compiled
    ARMED = "armed"  # in the kernel
    ENDED = "ended"  # was there, nothing is left
    FAILED = "failed"  # could not be put there
    REFUSED = "refused"  # not admitted
    STOPPED = "stopped"  # taken back before anything was heard


HOST_OWNER: Final = "host_owner"  # whoever runs the host ended it there; no renewal brings it back
CANARY: Final = "canary"  # a planted card came out of masking in clear
RESUMABLE: Final = frozenset({"lease", "error"})  # ends after which an agent starts the same version again
END_REASONS: Final = frozenset(
    {"ttl", "deleted", "revoked", "locked", "lease", "budget", "max_hits", "target_exited", HOST_OWNER, CANARY, "error"}
)


def is_done(state: AgentState, end_reason: str) -> bool:
    """Whether this agent will do nothing more for the version it speaks of."""
    match state:
        case AgentState.ENDED:
            return end_reason not in RESUMABLE
        case AgentState.FAILED | AgentState.REFUSED | AgentState.STOPPED:
            return True
        case AgentState.PENDING | AgentState.ADMITTED | AgentState.ARMED:
            return False
