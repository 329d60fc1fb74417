"""How a probe that reaches many processes goes out: to one agent, to a tenth of them, to all. Pure.

`split` makes the stages once, when it starts. `judge` looks at what the agents of the stages so far say: whether the
next stage may follow, has to wait, or must never come.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from control_plane.tracepoints.lifecycle import AgentState

TENTH: Final = 0.1
_BROKEN: Final = frozenset({"budget", "error", "lease"})  # ends that say it does harm, or that nobody knows


class Judgement(StrEnum):
    WELL = "well"  # every agent took this version, and none has trouble with it
    WAITING = "waiting"
    TROUBLE = "trouble"


@dataclass(frozen=True)
class Said:
    """One agent's word, as far as a stage depends on it."""

    agent: str
    current: bool  # of the version that was sealed last
    state: AgentState
    end_reason: str
    detail: str


@dataclass(frozen=True)
class Verdict:
    judgement: Judgement
    why: str = ""


def split(agents: Iterable[str], counts: Mapping[str, int]) -> tuple[tuple[str, ...], ...]:
    """One that has a process to probe, the fewest first; then up to a tenth of all; then the rest."""
    order = sorted(agents, key=lambda agent: (counts.get(agent, 1) == 0, counts.get(agent, 1), agent))
    tenth = max(1, math.ceil(len(order) * TENTH))
    stages = (tuple(order[:1]), tuple(order[1:tenth]), tuple(order[tenth:]))
    return tuple(stage for stage in stages if stage)


def judge(agents: Collection[str], said: Iterable[Said]) -> Verdict:
    """Of the agents of all stages so far. Trouble on one of them is trouble."""
    words = {word.agent: word for word in said}
    waiting = ""
    for agent in sorted(agents):
        word = words.get(agent)
        if word is None or word.state is AgentState.PENDING:
            waiting = waiting or f"{agent} has not answered"
        elif word.state in {AgentState.REFUSED, AgentState.FAILED}:
            return Verdict(Judgement.TROUBLE, f"{agent} {_VERBS[word.state]}: {word.detail or 'no reason given'}")
        elif word.state is AgentState.ENDED and word.end_reason in _BROKEN:
            return Verdict(Judgement.TROUBLE, f"{agent} ended it, {word.end_reason}: {word.detail or 'no details'}")
        elif not word.current and word.state is not AgentState.ENDED:
            waiting = waiting or f"{agent} has not taken the newest version"
    return Verdict(Judgement.WAITING, waiting) if waiting else Verdict(Judgement.WELL)


_VERBS: Final = {AgentState.REFUSED: "refused it", AgentState.FAILED: "could not run it"}
