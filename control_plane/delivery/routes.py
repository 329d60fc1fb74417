"""The fleet over HTTP: list agents, make a join token, revoke an agent, ask what can be probed."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from control_plane.delivery.enrolment import MAX_TOKEN_USES, Enrolment
from control_plane.delivery.function_answers import FoundFunction
from control_plane.delivery.service import MAX_FUNCTIONS, Fleet
from control_plane.delivery.tables import AgentRow
from control_plane.foundation.bodies import Body
from control_plane.foundation.errors import Invalid
from control_plane.foundation.identifiers import AgentId
from control_plane.foundation.provision import provided
from control_plane.policy.asking import Granted, requires
from control_plane.policy.model import Permission
from language import durations
from language.errors import TemplateError

router = APIRouter(tags=["agents"])
FleetService = Annotated[Fleet, Depends(provided(Fleet))]
EnrolmentService = Annotated[Enrolment, Depends(provided(Enrolment))]


class AgentOut(BaseModel):
    id: str
    hostname: str
    version: str
    kernel: str
    active: bool
    enrolled_at: datetime
    last_seen_at: datetime | None
    certificate_until: datetime
    revoked_at: datetime | None
    revoked_by: str | None

    @classmethod
    def of(cls, row: AgentRow, *, active: bool) -> AgentOut:
        return cls(
            id=row.agent_id,
            hostname=row.hostname,
            version=row.version,
            kernel=row.kernel,
            active=active,
            enrolled_at=row.enrolled_at,
            last_seen_at=row.last_seen_at,
            certificate_until=row.certificate_until,
            revoked_at=row.revoked_at,
            revoked_by=row.revoked_by,
        )


class AgentsOut(BaseModel):
    items: list[AgentOut]
    next: None = None


class MakeJoinToken(Body):
    ttl: str = Field(default="10m", max_length=32, description="How long it is good for: `10m`, `1h30m`.")
    uses: int = Field(default=1, ge=1, le=MAX_TOKEN_USES)


class JoinTokenOut(BaseModel):
    """`token` is shown this once: it goes into `probegate-agent run --join-token`."""

    token: str
    token_id: str
    expires_at: datetime
    uses: int


class ValueOut(BaseModel):
    name: str
    type: str


class FunctionOut(BaseModel):
    """One function; `agents` are those on whose hosts it was found just so."""

    name: str
    file: str
    line: int
    language: str
    arguments: list[ValueOut]
    results: list[ValueOut]
    inlined_copies: int
    agents: list[str]

    @classmethod
    def of(cls, found: FoundFunction) -> FunctionOut:
        return cls.model_validate({**asdict(found.function), "agents": list(found.agents)})


class ProblemOfAgent(BaseModel):
    agent: str
    problem: str


class FunctionsOut(BaseModel):
    functions: list[FunctionOut]
    problems: list[ProblemOfAgent]


@router.get("/v1/tenants/{tenant}/agents")
@requires(Permission.AGENT_READ)
async def list_agents(grant: Granted, fleet: FleetService) -> AgentsOut:
    return AgentsOut(items=[AgentOut.of(row, active=fleet.is_active(row)) for row in await fleet.list(grant)])


@router.post("/v1/tenants/{tenant}/agents/join-tokens", status_code=201)
@requires(Permission.AGENT_JOIN)
async def make_join_token(grant: Granted, enrolment: EnrolmentService, body: MakeJoinToken) -> JoinTokenOut:
    try:
        life = durations.parse(body.ttl)
    except TemplateError as error:
        raise Invalid(f"ttl: {error}") from error
    made = await enrolment.mint(grant, life, body.uses)
    return JoinTokenOut(token=made.token, token_id=made.token_id, expires_at=made.expires_at, uses=made.max_uses)


@router.delete("/v1/tenants/{tenant}/agents/{agent}", status_code=204)
@requires(Permission.AGENT_JOIN, name="agent")
async def revoke_agent(grant: Granted, fleet: FleetService, agent: str) -> None:
    """Its streams end and its certificate opens nothing any more; its probes end with its lease."""
    await fleet.revoke(grant, AgentId(agent))


@router.get("/v1/tenants/{tenant}/functions", responses={409: {"description": "No agent is connected"}})
@requires(Permission.FUNCTIONS_READ)
async def list_functions(
    grant: Granted,
    fleet: FleetService,
    service: Annotated[str, Query(min_length=1, max_length=253)],
    pattern: Annotated[str, Query(max_length=512)] = "",
    limit: Annotated[int, Query(ge=1, le=MAX_FUNCTIONS)] = 200,
) -> FunctionsOut:
    """Functions of the service's programs, as the agents of this tenant see them."""
    found = await fleet.functions(grant, service, pattern, limit)
    return FunctionsOut(
        functions=[FunctionOut.of(each) for each in found.functions],
        problems=[ProblemOfAgent(agent=agent, problem=problem) for agent, problem in found.problems],
    )
