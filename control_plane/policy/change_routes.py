"""A tenant's own policy over HTTP: show, plan, apply, roll back, who-can, explain, simulate."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from control_plane.foundation.bodies import Body
from control_plane.foundation.errors import Invalid, NotFound
from control_plane.foundation.provision import provided
from control_plane.foundation.request_headers import IfMatch
from control_plane.policy.asking import Granted, requires
from control_plane.policy.changing import PolicyChanges
from control_plane.policy.comparing import told
from control_plane.policy.document import MAX_SOURCE
from control_plane.policy.membership import MembershipService
from control_plane.policy.model import Grant, Permission
from control_plane.policy.policy_kind import PolicyVersion, VersionState
from control_plane.policy.proposal_model import Applied, Proposed
from control_plane.policy.proposal_routes import WAITS, waiting
from control_plane.policy.proposals import MAX_MESSAGE
from control_plane.policy.questions import PolicyQuestions

router = APIRouter(tags=["policy"])
Members = Annotated[MembershipService, Depends(provided(MembershipService))]
Changes = Annotated[PolicyChanges, Depends(provided(PolicyChanges))]
Questions = Annotated[PolicyQuestions, Depends(provided(PolicyQuestions))]
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]
_ETAG = re.compile(r'"policy-([0-9]{1,9})"')


class PolicyIn(Body):
    source: str = Field(max_length=MAX_SOURCE)
    message: str = Field(default="", max_length=MAX_MESSAGE)


class PolicyVersionOut(BaseModel):
    version: int
    digest: str
    state: VersionState
    source: str
    message: str
    author: str
    created_at: datetime
    decided_by: str
    decided_at: datetime | None

    @classmethod
    def of(cls, version: PolicyVersion) -> PolicyVersionOut:
        return cls(
            version=version.version,
            digest=version.digest,
            state=version.state,
            source=version.source,
            message=version.message,
            author=version.author,
            created_at=version.created_at,
            decided_by=version.decided_by,
            decided_at=version.decided_at,
        )


class PolicyVersionsOut(BaseModel):
    items: list[PolicyVersionOut]
    next: None = None


class FindingOut(BaseModel):
    serious: bool
    rule: str
    text: str


class PlanOut(BaseModel):
    """What an apply would do: in words, since it is for people. `needs` is why a second person must agree."""

    digest: str
    gains: list[str]
    losses: list[str]
    findings: list[FindingOut]
    failed_tests: list[str]
    not_held: list[str]
    needs: list[str]


class WhoCanOut(BaseModel):
    items: list[dict[str, str]]
    next: None = None


class ExplainOut(BaseModel):
    """`reference` is casbin's own answer by policies/model.conf; the two agree, or one of them is broken."""

    allowed: bool
    reference: bool
    rule: str
    reason: str
    roles_held: list[str]
    roles_that_allow: list[str]
    missing: list[str]
    smallest_change: str
    rules: list[str]
    groups: list[str]


class FlipOut(BaseModel):
    at: datetime
    actor: str
    permission: str
    name: str
    was: str
    would_be: str
    rule: str
    because: str


class SimulationOut(BaseModel):
    decisions: int
    flips: list[FlipOut]


@router.get("/v1/tenants/{tenant}/policy")
@requires(Permission.POLICY_READ)
async def show_policy(grant: Granted, service: Changes, response: Response) -> PolicyVersionOut:
    """The version in force; 404 while the tenant has none of its own and policies/roles.yaml alone holds."""
    found = await service.show(grant)
    if found is None:
        raise NotFound("this tenant has no policy of its own; the roles alone say who may do what", code="no_policy")
    response.headers["ETag"] = f'"policy-{found.version}"'
    return PolicyVersionOut.of(found)


@router.get("/v1/tenants/{tenant}/policy/versions")
@requires(Permission.POLICY_READ)
async def list_policy_versions(grant: Granted, service: Changes) -> PolicyVersionsOut:
    return PolicyVersionsOut(items=[PolicyVersionOut.of(version) for version in await service.versions(grant)])


@router.post("/v1/tenants/{tenant}/policy/plan")
@requires(Permission.POLICY_READ)
async def plan_policy(grant: Granted, body: PolicyIn, service: Changes) -> PlanOut:
    """Who would gain and lose what; changes nothing."""
    plan = await service.plan(grant, body.source)
    return PlanOut(
        digest=plan.digest,
        gains=list(told([change for change in plan.changes if change.gains])),
        losses=list(told([change for change in plan.changes if not change.gains])),
        findings=[FindingOut(serious=f.serious, rule=f.rule, text=f.text) for f in plan.findings],
        failed_tests=list(plan.failed_tests),
        not_held=list(plan.not_held),
        needs=list(plan.needs),
    )


@router.put("/v1/tenants/{tenant}/policy", response_model=PolicyVersionOut, responses=WAITS)
@requires(Permission.POLICY_WRITE)
async def apply_policy(
    grant: Granted, body: PolicyIn, service: Changes, if_match: IfMatch = None
) -> PolicyVersionOut | JSONResponse:
    """In force at once; or a proposal where it touches reviewers, administrators or masking: a second person agrees."""
    return _answer(grant, await service.apply(grant, body.source, body.message, _base(if_match)))


@router.post(
    "/v1/tenants/{tenant}/policy/versions/{version}/rollback", response_model=PolicyVersionOut, responses=WAITS
)
@requires(Permission.POLICY_WRITE, name="version")
async def roll_back_policy(grant: Granted, version: Number, service: Changes) -> PolicyVersionOut | JSONResponse:
    """Apply an old version's text again, by the same rules."""
    return _answer(grant, await service.rollback(grant, version))


@router.get("/v1/tenants/{tenant}/policy/who-can")
@requires(Permission.POLICY_READ)
async def who_can(
    grant: Granted,
    service: Questions,
    permission: Annotated[str, Query(max_length=64)],
    resource: Annotated[str, Query(max_length=255)] = "*",
) -> WhoCanOut:
    found = await service.who_can(grant, permission, resource)
    return WhoCanOut(items=[{"subject": subject, "by": by} for subject, by in found.items()])


@router.get("/v1/tenants/{tenant}/policy/explain")
@requires(Permission.POLICY_READ)
async def explain(
    grant: Granted,
    service: Questions,
    members: Members,
    subject: Annotated[str, Query(min_length=1, max_length=700, description="A user's name or <issuer>|<sub>.")],
    permission: Annotated[str, Query(max_length=64)],
    group: Annotated[
        list[Annotated[str, Query(max_length=255)]],
        Query(
            default_factory=list,
            max_length=50,
            description="Of the subject's issuer; else those that they last came with.",
        ),
    ],
    resource: Annotated[str, Query(max_length=255)] = "*",
) -> ExplainOut:
    """Why somebody may or may not: every rule that was looked at, what is missing, the smallest change."""
    found = await service.explain(grant, members.complete(subject), permission, resource, group or None)
    return ExplainOut(
        allowed=found.decision.allowed,
        reference=found.reference,
        rule=found.decision.rule,
        reason=found.decision.reason,
        roles_held=list(found.decision.roles),
        roles_that_allow=list(found.decision.would_allow),
        missing=list(found.decision.missing),
        smallest_change=found.decision.change,
        rules=list(found.rules),
        groups=list(found.groups),
    )


@router.post("/v1/tenants/{tenant}/policy/simulate")
@requires(Permission.POLICY_READ)
async def simulate(grant: Granted, body: PolicyIn, service: Questions) -> SimulationOut:
    """The proposed policy over the decisions in the log: which would have come out otherwise."""
    decisions, flips = await service.simulate(grant, body.source)
    words = {True: "allow", False: "deny"}
    return SimulationOut(
        decisions=decisions,
        flips=[
            FlipOut(
                at=flip.decision.at,
                actor=flip.decision.actor,
                permission=flip.decision.permission,
                name=flip.decision.name,
                was=words[flip.decision.allowed],
                would_be=words[not flip.decision.allowed],
                rule=flip.rule,
                because=flip.because,
            )
            for flip in flips
        ],
    )


def _answer(grant: Grant, outcome: Applied[PolicyVersion] | Proposed) -> PolicyVersionOut | JSONResponse:
    return waiting(grant, outcome) if isinstance(outcome, Proposed) else PolicyVersionOut.of(outcome.value)


def _base(if_match: str | None) -> int | None:
    if if_match is None:
        return None
    found = _ETAG.fullmatch(if_match.strip())
    if found is None:
        raise Invalid('If-Match: expected the ETag of the policy in force, like "policy-3", or "policy-0" for none')
    return int(found[1])
