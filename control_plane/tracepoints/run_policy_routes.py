"""A tenant's run policy over HTTP: its fleet guard, and where dry runs may happen."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, Field

from control_plane.foundation.bodies import Body
from control_plane.foundation.provision import provided
from control_plane.foundation.request_headers import IfMatch, quoted
from control_plane.policy.asking import Granted, requires
from control_plane.policy.model import Permission
from control_plane.templates.requirements import MAX_APPROVALS, MAX_PROCESSES
from control_plane.tracepoints.run_policy import MAX_ENVIRONMENTS, RunPolicies, RunPolicy
from language.durations import render

router = APIRouter(tags=["run-policy"])
Policies = Annotated[RunPolicies, Depends(provided(RunPolicies))]
_Environment = Annotated[str, Field(min_length=1, max_length=63)]


class GuardIn(Body):
    """Stricter than the platform's or the same, member by member."""

    processes: int = Field(ge=0, le=MAX_PROCESSES)
    approvals: int = Field(ge=0, le=MAX_APPROVALS)
    soak: str = Field(min_length=1, max_length=40, description="Like 30s or 5m.")


class DryRunIn(Body):
    environments: list[_Environment] = Field(default=[], max_length=MAX_ENVIRONMENTS)


class RunPolicyIn(Body):
    """All of it; what is left out is as the platform has it, and no dry runs."""

    fleetGuard: GuardIn | None = None  # noqa: N815 -- the words of policies/approvals.yaml
    dryRun: DryRunIn = DryRunIn()  # noqa: N815


class GuardOut(BaseModel):
    processes: int
    approvals: int
    soak: str


class RunPolicyOut(BaseModel):
    """What holds: the stricter of platform and tenant. Without a change of the tenant's, `revision` is 0."""

    fleet_guard: GuardOut
    own_fleet_guard: bool
    dry_run_environments: list[str]
    revision: int
    changed_by: str
    changed_at: datetime | None

    @classmethod
    def of(cls, policy: RunPolicy) -> RunPolicyOut:
        guard = policy.guard
        return cls(
            fleet_guard=GuardOut(processes=guard.processes, approvals=guard.approvals, soak=render(guard.soak)),
            own_fleet_guard=policy.own_guard,
            dry_run_environments=list(policy.dry_run_environments),
            revision=policy.revision,
            changed_by=policy.changed_by,
            changed_at=policy.changed_at,
        )


@router.get("/v1/tenants/{tenant}/run-policy")
@requires(Permission.POLICY_READ)
async def show_run_policy(grant: Granted, policies: Policies, response: Response) -> RunPolicyOut:
    return _tagged(await policies.show(grant), response)


@router.put("/v1/tenants/{tenant}/run-policy")
@requires(Permission.POLICY_WRITE)
async def put_run_policy(
    grant: Granted, body: RunPolicyIn, policies: Policies, response: Response, if_match: IfMatch = None
) -> RunPolicyOut:
    """A guard that is laxer than the platform's is refused."""
    return _tagged(await policies.put(grant, body.model_dump(exclude_none=True), if_match), response)


def _tagged(policy: RunPolicy, response: Response) -> RunPolicyOut:
    response.headers["ETag"] = quoted(str(policy.revision))
    return RunPolicyOut.of(policy)
