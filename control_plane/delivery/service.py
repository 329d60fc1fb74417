"""The fleet: which agents a tenant has, what they could probe, and how one is shut out.

`active_agents` is where a tracepoint's audience comes from (`tracepoints`). `functions` asks the agents that are
connected to this replica; what they answer is theirs, bounded and passed on. The gateway does the delivering.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from wire.v1 import gateway_pb2

from control_plane.delivery import function_answers
from control_plane.delivery.function_answers import FoundFunction, FunctionsOf
from control_plane.delivery.identification import Identification
from control_plane.delivery.switchboard import Line, Switchboard
from control_plane.delivery.tables import AgentRow
from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.clock import Clock
from control_plane.foundation.database import Database
from control_plane.foundation.errors import Conflict, DependencyUnavailable, Invalid, NotFound, TooMany
from control_plane.foundation.identifiers import AgentId, TenantId
from control_plane.policy.conditions import Facts
from control_plane.policy.model import Grant
from control_plane.policy.terms import confirm

ACTIVE: Final = timedelta(minutes=2)  # seen within it; a connected agent is seen four times a minute
ANSWER: Final = timedelta(seconds=35)  # an agent gives itself 30 to index a big executable for the first time
COUNT: Final = timedelta(seconds=3)  # only processes are looked at; somebody waits for the answer
MAX_COUNTED: Final = 1000  # agents, as many as one spec is for
MAX_PROCESSES: Final = 1 << 22  # of one host: the kernel's own bound on pids
MAX_FORECASTS: Final = 10  # agents; a reviewer reads no more, and the others run the same executables
MAX_ASKED: Final = 50  # agents in one question; the same service has the same functions on the others
MAX_FUNCTIONS: Final = 1000  # of one agent in one answer
MAX_REASONS: Final = 1000  # characters of all problems together
MAX_AGENTS: Final = 10_000  # listed at once


@dataclass(frozen=True)
class FoundFunctions:
    """`problems` are the agents that could not answer, and why."""

    functions: tuple[FoundFunction, ...]
    problems: tuple[tuple[AgentId, str], ...]


class Fleet:
    def __init__(
        self,
        database: Database,
        audit: AuditTrail,
        clock: Clock,
        switchboard: Switchboard,
        identification: Identification,
    ) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        self._switchboard = switchboard
        self._identification = identification

    async def active_agents(self, session: AsyncSession, tenant: TenantId) -> tuple[AgentRow, ...]:
        """Enrolled, not revoked, heard of lately; in the caller's transaction."""
        wanted = (
            select(AgentRow)
            .where(
                AgentRow.tenant == tenant,
                AgentRow.revoked_at.is_(None),
                AgentRow.last_seen_at > self._clock.now() - ACTIVE,
            )
            .order_by(AgentRow.agent_id)
            .limit(MAX_AGENTS)
        )
        return tuple((await session.scalars(wanted)).all())

    async def list(self, grant: Grant) -> tuple[AgentRow, ...]:
        """All agents of the tenant, the revoked ones too; newest first."""
        wanted = (
            select(AgentRow)
            .where(AgentRow.tenant == grant.resource.tenant)
            .order_by(AgentRow.enrolled_at.desc(), AgentRow.agent_id)
            .limit(MAX_AGENTS)
        )
        async with self._database.transaction(grant.resource.tenant) as session:
            return tuple((await session.scalars(wanted)).all())

    def is_active(self, agent: AgentRow) -> bool:
        seen = agent.last_seen_at
        return agent.revoked_at is None and seen is not None and seen > self._clock.now() - ACTIVE

    async def revoke(self, grant: Grant, agent: AgentId) -> None:
        """Shut an agent out: its streams end, its certificate opens nothing any more. Raises NotFound."""
        tenant = grant.resource.tenant
        changed = (
            update(AgentRow)
            .where(AgentRow.tenant == tenant, AgentRow.agent_id == agent, AgentRow.revoked_at.is_(None))
            .values(revoked_at=self._clock.now(), revoked_by=grant.principal.id)
            .returning(AgentRow.agent_id)
        )
        event = AuditEvent(
            action=AuditAction.AGENT_REVOKE,
            outcome=Outcome.SUCCESS,
            actor=grant.principal.id,
            resource=f"agent/{agent[:64]}",
        )
        async with self._database.transaction(tenant) as session:
            if (await session.execute(changed)).one_or_none() is None:
                raise NotFound(
                    f"there is no agent {agent[:64]!r} that could be revoked; `probegate agent ls` lists them"
                )
            await self._audit.append(session, tenant, event)
        self._identification.forget(agent)
        self._switchboard.hang_up(agent, "this agent was revoked")

    async def functions(self, grant: Grant, service: str, pattern: str = "", limit: int = 200) -> FoundFunctions:
        """Ask the connected agents of the tenant.

        Raises Conflict when none is connected, NotFound when none could answer, Invalid.
        """
        confirm(grant, Facts(self._clock.now(), service=service))
        if not 1 <= limit <= MAX_FUNCTIONS:
            raise Invalid(f"limit is {limit}: ask for 1 to {MAX_FUNCTIONS} functions")
        lines = self._switchboard.lines(grant.resource.tenant)[:MAX_ASKED]
        if not lines:
            raise Conflict(
                "no agent of this tenant is connected: start one with `probegate-agent run`", code="no_agents"
            )
        answers = await asyncio.gather(*(_ask(line, service, pattern, limit) for line in lines))
        problems = tuple((answer.agent, answer.problem) for answer in answers if answer.problem)
        if len(problems) == len(answers):
            reasons = "; ".join(dict.fromkeys(problem for _, problem in problems))
            raise NotFound(
                f"no agent could list functions of {service!r}: {reasons[:MAX_REASONS]}", code="no_functions"
            )
        return FoundFunctions(function_answers.merge(answers)[:limit], problems)

    async def forecasts(
        self, tenant: TenantId, question: gateway_pb2.ExplainQuestion
    ) -> tuple[tuple[AgentId, str, str], ...]:
        """What each connected agent says that a template would do there: agent, JSON, or a problem."""
        lines = self._switchboard.lines(tenant)[:MAX_FORECASTS]
        return tuple(await asyncio.gather(*(_explained(line, question) for line in lines)))

    async def ask_one(self, tenant: TenantId, agent: AgentId, question: gateway_pb2.ExplainQuestion) -> tuple[str, str]:
        """One agent's answer, or why there is none."""
        line = next((line for line in self._switchboard.lines(tenant) if line.known.agent == agent), None)
        if line is None:
            return "", "it is not connected here any more"
        _, text, problem = await _explained(line, question)
        return text, problem

    async def dry_run(self, tenant: TenantId, agent: AgentId, envelope: bytes) -> gateway_pb2.DryRunAnswer:
        """A reviewer's look on one agent. Raises DependencyUnavailable when it cannot be asked or does not answer."""
        line = next((line for line in self._switchboard.lines(tenant) if line.known.agent == agent), None)
        if line is None:
            raise DependencyUnavailable(f"the agent {agent[:64]!r} is not connected here", code="no_agents")
        try:
            async with asyncio.timeout(ANSWER.total_seconds()):
                answer = (await line.ask_dry_run(envelope)).dry_run
        except TimeoutError as error:
            raise DependencyUnavailable(f"{agent}: no answer within {ANSWER.total_seconds():.0f} s") from error
        if answer is None:
            raise DependencyUnavailable(f"{agent} answered something else: update the agent")
        return answer

    def connected(self, tenant: TenantId) -> tuple[AgentId, ...]:
        """The agents that can be asked something here now."""
        return tuple(line.known.agent for line in self._switchboard.lines(tenant))

    async def counts(self, tenant: TenantId, question: gateway_pb2.ExplainQuestion) -> Mapping[AgentId, int]:
        """How many processes a template would probe on each connected agent that says so in time."""
        lines = self._switchboard.lines(tenant)[:MAX_COUNTED]
        answers = await asyncio.gather(*(_counted(line, question) for line in lines))
        return {agent: count for agent, count in answers if count is not None}


async def _counted(line: Line, question: gateway_pb2.ExplainQuestion) -> tuple[AgentId, int | None]:
    try:
        async with asyncio.timeout(COUNT.total_seconds()):
            answer = await line.ask_explain(question)
        found = json.loads(answer.json) if answer.json else {}
    except (TimeoutError, TooMany, DependencyUnavailable, ValueError, RecursionError):
        return line.known.agent, None
    count = found.get("processes") if isinstance(found, dict) else None
    if answer.problem or not isinstance(count, int) or isinstance(count, bool) or not 0 <= count < MAX_PROCESSES:
        return line.known.agent, None
    return line.known.agent, count


async def _explained(line: Line, question: gateway_pb2.ExplainQuestion) -> tuple[AgentId, str, str]:
    agent = line.known.agent
    try:
        async with asyncio.timeout(ANSWER.total_seconds()):
            answer = await line.ask_explain(question)
    except TimeoutError:
        return agent, "", f"no answer within {ANSWER.total_seconds():.0f} s"
    except (TooMany, DependencyUnavailable) as error:
        return agent, "", error.detail
    return agent, answer.json, answer.problem


async def _ask(line: Line, service: str, pattern: str, limit: int) -> FunctionsOf:
    agent = line.known.agent
    try:
        async with asyncio.timeout(ANSWER.total_seconds()):
            answer = await line.ask_functions(service, pattern, limit)
        if answer.problem:
            return FunctionsOf(agent, (), answer.problem)
        return FunctionsOf(agent, function_answers.read(answer.json, limit), "")
    except TimeoutError:
        return FunctionsOf(agent, (), f"no answer within {ANSWER.total_seconds():.0f} s")
    except (TooMany, DependencyUnavailable) as error:
        return FunctionsOf(agent, (), error.detail)
    except function_answers.UnreadableAnswer as error:
        return FunctionsOf(agent, (), str(error))
