"""The agents that are connected to this replica: to ask them something, and to hang up on one.

`session` connects, `service.Fleet` asks and hangs up. An agent has one stream: a new one ends the old one, which is
usually dead already.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from wire.v1 import gateway_pb2

from control_plane.delivery.identification import KnownAgent
from control_plane.foundation.identifiers import AgentId, TenantId


@dataclass(frozen=True)
class Answer:
    """`json` is what `probegate-agent functions -o json` prints, or `problem` says why there is none."""

    json: str
    problem: str
    dry_run: gateway_pb2.DryRunAnswer | None = None


class Line(Protocol):
    """One agent's open stream."""

    @property
    def known(self) -> KnownAgent: ...

    async def ask_functions(self, service: str, pattern: str, limit: int) -> Answer:
        """Raises TooMany. Does not end by itself: the caller bounds the time."""
        ...

    async def ask_explain(self, question: gateway_pb2.ExplainQuestion) -> Answer:
        """What a template would do there. Raises TooMany; the caller bounds the time."""
        ...

    async def ask_dry_run(self, envelope: bytes) -> Answer:
        """A reviewer's look at live calls there. Raises TooMany; the caller bounds the time."""
        ...

    def hang_up(self, why: str) -> None: ...


class Switchboard:
    def __init__(self) -> None:
        self._lines: dict[AgentId, Line] = {}

    def connect(self, line: Line) -> None:
        old = self._lines.get(line.known.agent)
        self._lines[line.known.agent] = line
        if old is not None:
            old.hang_up("this agent opened another stream")

    def disconnect(self, line: Line) -> None:
        if self._lines.get(line.known.agent) is line:
            del self._lines[line.known.agent]

    def lines(self, tenant: TenantId) -> tuple[Line, ...]:
        return tuple(line for line in self._lines.values() if line.known.tenant == tenant)

    def hang_up(self, agent: AgentId, why: str) -> None:
        line = self._lines.get(agent)
        if line is not None:
            line.hang_up(why)
