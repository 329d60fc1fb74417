"""A reviewer's look at live calls over HTTP: the agent's batch is read as any other, shown, and kept nowhere."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, Field, StrictBool, StrictInt, StrictStr

from control_plane.foundation.bodies import Body
from control_plane.foundation.errors import Conflict
from control_plane.foundation.provision import provided
from control_plane.policy.asking import Granted, requires
from control_plane.policy.model import Permission
from control_plane.records.arrow_batches import BadBatch, read_batch
from control_plane.records.rows import to_rows
from control_plane.tracepoints.dry_runs import DryRunRequest, DryRuns, Look
from control_plane.tracepoints.reports import accounting_of

router = APIRouter(tags=["reviews"])
Looks = Annotated[DryRuns, Depends(provided(DryRuns))]
MAX_SHOWN = 20  # rows; an agent takes no more


class DryRunIn(Body):
    environment: str = Field(min_length=1, max_length=63, description="One that the tenant's run policy names.")
    agent: str = Field(default="", max_length=64, description="Else the first one that is connected.")
    service: str = Field(default="", max_length=253)
    pids: list[Annotated[int, Field(ge=1, le=4_194_304)]] = Field(default=[], max_length=64)
    parameters: dict[str, StrictBool | StrictInt | StrictStr] = Field(default={}, max_length=32)


class DryRunOut(BaseModel):
    """`rows` are masked as the approved version's would be. `problem`: why the host showed none."""

    agent: str
    rows: list[dict[str, Any]]
    hits: int
    problem: str


@router.post("/v1/tenants/{tenant}/templates/{template}/versions/{version}/dry-run")
@requires(Permission.TEMPLATE_REVIEW, name="template")
async def dry_run(
    grant: Granted, template: str, version: Annotated[int, Path(ge=1, le=2**31 - 1)], body: DryRunIn, looks: Looks
) -> DryRunOut:
    """A few masked rows of live calls, for who may decide about this version, where tenant and host allow it."""
    request = DryRunRequest(
        environment=body.environment,
        agent=body.agent,
        service=body.service,
        pids=tuple(sorted(set(body.pids))),
        parameters=body.parameters,
    )
    return _shown(await looks.look(grant, template, version, request))


def _shown(look: Look) -> DryRunOut:
    answer = look.answer
    rows: list[dict[str, Any]] = []
    if answer.rows:
        try:
            rows = list(to_rows(read_batch(answer.arrow, answer.rows)))[:MAX_SHOWN]
        except BadBatch as error:
            raise Conflict(
                f"{look.agent} answered with rows that cannot be read: {error}", code="bad_answer"
            ) from error
    problem = "".join(letter for letter in answer.problem[:1000] if letter.isprintable())
    return DryRunOut(agent=look.agent, rows=rows, hits=accounting_of(answer.accounting).hits, problem=problem)
