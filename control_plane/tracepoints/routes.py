"""Tracepoints over HTTP: request, list, show, renew, delete."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, BaseModel, Field, StrictBool, StrictInt, StrictStr

from control_plane.foundation.bodies import Body
from control_plane.foundation.errors import Invalid
from control_plane.foundation.idempotency import Idempotency
from control_plane.foundation.provision import provided
from control_plane.foundation.request_headers import IdempotencyKey
from control_plane.policy.asking import Granted, requires
from control_plane.policy.model import Permission
from control_plane.tracepoints.lifecycle import AgentState, State
from control_plane.tracepoints.model import AgentStatus, Asking, BreakGlass, RequestTracepoint, Tracepoint
from control_plane.tracepoints.reading import MAX_PAGE, TracepointReading, target_document
from control_plane.tracepoints.service import TracepointService
from language import durations
from language.errors import TemplateError
from language.model import TargetSpec

router = APIRouter(tags=["tracepoints"])
Service = Annotated[TracepointService, Depends(provided(TracepointService))]
Reading = Annotated[TracepointReading, Depends(provided(TracepointReading))]
Once = Annotated[Idempotency, Depends(provided(Idempotency))]
_Word = Annotated[str, Field(min_length=1, max_length=4096)]
_Ttl = Annotated[str | None, Field(max_length=40, description="Like 10m, 90s or 1h30m; within the caps.")]


class TargetIn(Body):
    """Narrows the target that was approved."""

    service: _Word | None = None
    exe: _Word | None = None
    pids: list[Annotated[int, Field(ge=1, le=4_194_304)]] = Field(default=[], max_length=64)
    language: _Word | None = None
    pod: _Word | None = None
    labels: dict[Annotated[str, Field(max_length=253)], Annotated[str, Field(max_length=253)]] = Field(
        default={}, max_length=32
    )
    shared_object: _Word | None = None

    def spec(self) -> TargetSpec:
        return TargetSpec(
            service=self.service,
            exe=self.exe,
            pids=tuple(sorted(set(self.pids))),
            language=self.language,
            pod=self.pod,
            labels=tuple(sorted(self.labels.items())),
            shared_object=self.shared_object,
        )


class RequestTracepointIn(Body):
    template: str = Field(min_length=1, max_length=63)
    name: str | None = Field(default=None, max_length=63, description="Else the template's.")
    version: int | None = Field(default=None, ge=1, le=2**31 - 1, description="Else the approved one.")
    digest: str | None = Field(default=None, pattern=r"^sha256:[0-9a-f]{64}$", description="These bytes and no others.")
    parameters: dict[str, StrictBool | StrictInt | StrictStr] = Field(default={}, max_length=32)
    target: TargetIn = TargetIn()
    ttl: _Ttl = None
    starts_at: AwareDatetime | None = Field(
        default=None, strict=False, description="When it is to start; else at once."
    )

    def wanted(self, break_glass: BreakGlass | None = None) -> RequestTracepoint:
        return RequestTracepoint(
            template=self.template,
            name=self.name,
            version=self.version,
            digest=self.digest,
            parameters=self.parameters,
            target=self.target.spec(),
            ttl=_duration(self.ttl),
            starts_at=self.starts_at,
            break_glass=break_glass,
        )


class RenewTracepointIn(Body):
    ttl: _Ttl = None


class AccountingOut(BaseModel):
    hits: int
    delivered: int
    filtered: int
    sampled_out: int
    throttled: int
    expired: int
    lost: dict[str, int]


class AgentOut(BaseModel):
    agent: str
    version: int
    state: AgentState
    detail: str
    end_reason: str
    sites: int
    processes: int
    accounting: AccountingOut
    updated_at: datetime

    @classmethod
    def of(cls, status: AgentStatus) -> AgentOut:
        return cls(
            agent=status.agent,
            version=status.version,
            state=status.state,
            detail=status.detail,
            end_reason=status.end_reason,
            sites=status.sites,
            processes=status.processes,
            accounting=AccountingOut(**status.accounting.document()),
            updated_at=status.updated_at,
        )


class RequestReviewOut(BaseModel):
    reviewer: str
    subject: str
    verdict: str
    comment: str
    at: datetime


class RequestOut(BaseModel):
    """What a request waits for: `needs` people who say yes to `digest`. `processes` is absent above the fleet guard."""

    digest: str
    needs: int
    why: list[str]
    reviews: list[RequestReviewOut]
    starts_at: datetime | None
    lapses_at: datetime | None
    processes: int | None


class RolloutOut(BaseModel):
    """`stage` of `stages`, from 1; `agents` have it so far."""

    state: str
    stage: int
    stages: int
    agents: int
    detail: str


class TracepointOut(BaseModel):
    """`accounting` is the sum over `agents`; it adds up once nothing runs any more. `detail` says why, for a person."""

    id: str
    name: str
    version: int
    state: State
    template: str
    template_version: int
    template_digest: str
    table: str
    table_version: int
    columns: list[str]
    parameters: dict[str, Any]
    target: dict[str, Any]
    ttl: str
    requested_by: str
    requested_by_subject: str
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    end_reason: str
    spec_digest: str
    detail: str
    request: RequestOut
    rollout: RolloutOut | None
    agents: list[AgentOut]
    accounting: AccountingOut

    @classmethod
    def of(cls, tracepoint: Tracepoint) -> TracepointOut:
        return cls(
            id=tracepoint.id,
            name=tracepoint.name,
            version=tracepoint.version,
            state=tracepoint.state,
            template=tracepoint.template,
            template_version=tracepoint.template_version,
            template_digest=tracepoint.template_digest,
            table=tracepoint.table,
            table_version=tracepoint.table_version,
            columns=list(tracepoint.columns),
            parameters=dict(tracepoint.parameters),
            target=target_document(tracepoint.target),
            ttl=durations.render(tracepoint.ttl),
            requested_by=tracepoint.requested_by_name,
            requested_by_subject=tracepoint.requested_by,
            created_at=tracepoint.created_at,
            expires_at=tracepoint.expires_at,
            ended_at=tracepoint.ended_at,
            end_reason=tracepoint.end_reason,
            spec_digest=tracepoint.spec_digest,
            detail=tracepoint.detail,
            request=_request_of(tracepoint.asking),
            rollout=RolloutOut(**vars(tracepoint.rollout)) if tracepoint.rollout is not None else None,
            agents=[AgentOut.of(status) for status in tracepoint.agents],
            accounting=AccountingOut(**tracepoint.accounting.document()),
        )


class TracepointsOut(BaseModel):
    items: list[TracepointOut]
    next: str | None


@router.post("/v1/tenants/{tenant}/tracepoints", status_code=201)
@requires(Permission.TRACEPOINT_REQUEST)
async def request(
    grant: Granted, body: RequestTracepointIn, service: Service, once: Once, key: IdempotencyKey = None
) -> TracepointOut:
    """Run an approved template. The same name and content again renews its TTL, other content takes its place.

    Where somebody has to say yes to the request first, its state is `awaiting`; `scheduled` until it starts.
    """

    async def requested() -> TracepointOut:
        return TracepointOut.of(await service.request(grant, body.wanted()))

    return await once.once(grant.resource.tenant, grant.principal.id, key, body, TracepointOut, requested)


@router.get("/v1/tenants/{tenant}/tracepoints")
@requires(Permission.TRACEPOINT_READ)
async def list_tracepoints(
    grant: Granted,
    reading: Reading,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
    cursor: Annotated[str, Query(max_length=200)] = "",
    live: Annotated[bool, Query(description="Only those that run or will.")] = False,
) -> TracepointsOut:
    page = await reading.page(grant, limit, cursor, live=live)
    return TracepointsOut(items=[TracepointOut.of(item) for item in page.items], next=page.next)


@router.get("/v1/tenants/{tenant}/tracepoints/{tracepoint}")
@requires(Permission.TRACEPOINT_READ, name="tracepoint")
async def show(grant: Granted, tracepoint: str, reading: Reading) -> TracepointOut:
    """By id, or by name: the live one, else the newest that had it."""
    return TracepointOut.of(await reading.show(grant, tracepoint))


@router.post("/v1/tenants/{tenant}/tracepoints/{tracepoint}/renew")
@requires(Permission.TRACEPOINT_RENEW, name="tracepoint")
async def renew(grant: Granted, tracepoint: str, body: RenewTracepointIn, service: Service) -> TracepointOut:
    """Let it live that long from now, within the caps."""
    return TracepointOut.of(await service.renew(grant, tracepoint, _duration(body.ttl)))


@router.delete("/v1/tenants/{tenant}/tracepoints/{tracepoint}")
@requires(Permission.TRACEPOINT_DELETE, name="tracepoint")
async def delete(grant: Granted, tracepoint: str, service: Service) -> TracepointOut:
    """End it now, on every host: one's own, or with `tracepoint:stop-any` anybody's. What has ended is shown as it is."""
    return TracepointOut.of(await service.delete(grant, tracepoint))


def _request_of(asking: Asking) -> RequestOut:
    reviews = [
        RequestReviewOut(
            reviewer=review.reviewer_name,
            subject=review.reviewer,
            verdict=review.verdict,
            comment=review.comment,
            at=review.at,
        )
        for review in asking.reviews
    ]
    return RequestOut(**vars(asking) | {"reviews": reviews, "why": list(asking.why)})


def _duration(text: str | None) -> timedelta | None:
    if text is None:
        return None
    try:
        return durations.parse(text)
    except TemplateError as error:
        raise Invalid(f"ttl: {error}") from error
