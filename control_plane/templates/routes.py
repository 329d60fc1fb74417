"""Templates over HTTP: submit, list, show, diff, approve by digest, reject, withdraw."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, Field

from control_plane.foundation.bodies import Body
from control_plane.foundation.idempotency import Idempotency
from control_plane.foundation.provision import provided
from control_plane.foundation.request_headers import IdempotencyKey, IfMatch
from control_plane.policy.asking import Granted, requires
from control_plane.policy.model import Permission
from control_plane.templates.lifecycle import State
from control_plane.templates.model import Review, Submitted, TemplateVersion
from control_plane.templates.plan import plan
from control_plane.templates.reading import MAX_PAGE, TemplateReading
from control_plane.templates.service import MAX_MESSAGE, TemplateService
from language import canonical, frame_json
from language.durations import render
from language.frame_syntax import Select
from language.model import TargetSpec
from language.risk import RiskClass
from language.script import Deployment, Display, Script

MAX_SOURCE = 65_536  # characters, as the front ends have it
MAX_VERSION = 2**31 - 1  # what the column holds
_DIGEST = r"^sha256:[0-9a-f]{64}$"

router = APIRouter(tags=["templates"])
Service = Annotated[TemplateService, Depends(provided(TemplateService))]
Reading = Annotated[TemplateReading, Depends(provided(TemplateReading))]
Version = Annotated[int, Path(ge=1, le=MAX_VERSION)]
Once = Annotated[Idempotency, Depends(provided(Idempotency))]


class SubmitTemplate(Body):
    source: str = Field(max_length=MAX_SOURCE, description="The text of a YAML template or a PxL script.")
    message: str = Field(default="", max_length=MAX_MESSAGE)
    validate_only: bool = Field(default=False, description="Check it, keep nothing.")
    draft: bool = Field(default=False, description="Keep it without asking anybody for a review.")


class ApproveVersion(Body):
    digest: str = Field(pattern=_DIGEST, description="Of the bytes that the reviewer saw.")
    comment: str = Field(default="", max_length=MAX_MESSAGE)


class RejectVersion(Body):
    digest: str = Field(pattern=_DIGEST)
    reason: str = Field(min_length=1, max_length=MAX_MESSAGE)


class RetireVersion(Body):
    reason: str = Field(min_length=1, max_length=MAX_MESSAGE)


class ReviewOut(BaseModel):
    reviewer: str
    subject: str
    verdict: str
    comment: str
    at: datetime

    @classmethod
    def of(cls, review: Review) -> ReviewOut:
        return cls(
            reviewer=review.reviewer_name,
            subject=review.reviewer,
            verdict=review.verdict,
            comment=review.comment,
            at=review.at,
        )


class RiskReasonOut(BaseModel):
    """`column` is empty when it is the probe as a whole."""

    risk: RiskClass
    column: str
    why: str


class TemplateVersionOut(BaseModel):
    """One version. `plan` is what it does, in words; `canonical` are the bytes that `digest` is of, as text.

    `risk` is computed; `needs` says whose approvals it takes. Both as of the submission: using it looks again.
    """

    name: str
    version: int
    state: State
    digest: str
    author: str
    author_subject: str
    message: str
    created_at: datetime
    lapses_at: datetime
    risk: RiskClass
    risk_reasons: list[RiskReasonOut]
    needs: str
    table: str
    columns: list[str]
    parameters: list[dict[str, Any]]
    plan: list[str]
    source: str
    canonical: str
    reviews: list[ReviewOut]

    @classmethod
    def of(cls, version: TemplateVersion) -> TemplateVersionOut:
        template = version.template
        return cls(
            name=version.name,
            version=version.version,
            state=version.state,
            digest=version.digest,
            author=version.author_name,
            author_subject=version.author,
            message=version.message,
            created_at=version.created_at,
            lapses_at=version.lapses_at,
            risk=version.risk.risk_class,
            risk_reasons=[
                RiskReasonOut(risk=reason.risk, column=reason.column, why=reason.why) for reason in version.risk.reasons
            ],
            needs=version.requirement.words(),
            table=template.table,
            columns=[capture.column for capture in template.probe.captures],
            parameters=canonical.document(template)["parameters"],
            plan=list(plan(template)),
            source=version.source,
            canonical=canonical.to_bytes(template).decode(),
            reviews=[ReviewOut.of(review) for review in version.reviews],
        )


class VersionLineOut(BaseModel):
    version: int
    state: State
    digest: str
    author: str
    created_at: datetime


class TemplateOut(TemplateVersionOut):
    """The newest version, and a line for each one before it."""

    versions: list[VersionLineOut]


class TemplatesOut(BaseModel):
    items: list[TemplateVersionOut]
    next: str | None


class DeploymentOut(BaseModel):
    """What the source text asks to have run: a request of this kind goes to `tracepoints`."""

    name: str
    template: str
    table: str
    digest: str
    target: dict[str, Any]
    ttl: str

    @classmethod
    def of(cls, deployment: Deployment) -> DeploymentOut:
        return cls(
            name=deployment.name,
            template=deployment.template.name,
            table=deployment.table,
            digest=canonical.digest(canonical.to_bytes(deployment.template)),
            target=_target(deployment.target),
            ttl=render(deployment.ttl),
        )


class DisplayOut(BaseModel):
    """`columns` is set when the script chose them; `operations` are its steps in order."""

    table: str
    name: str
    columns: list[str] | None
    operations: list[dict[str, Any]]

    @classmethod
    def of(cls, display: Display) -> DisplayOut:
        chosen = [operation.columns for operation in display.operations if isinstance(operation, Select)]
        return cls(
            table=display.table,
            name=display.name,
            columns=list(chosen[-1]) if chosen else None,
            operations=[frame_json.to_json(operation) for operation in display.operations],
        )


class CheckedTemplateOut(BaseModel):
    """A template of a text that was checked and not kept, or of one that was: then with its version and state."""

    name: str
    digest: str
    table: str
    plan: list[str]
    version: int | None = None
    state: State | None = None
    author: str | None = None
    created_at: datetime | None = None
    risk: RiskClass | None = None
    needs: str | None = None


class SubmittedOut(BaseModel):
    templates: list[CheckedTemplateOut]
    deployments: list[DeploymentOut]
    deletions: list[str]
    displays: list[DisplayOut]


class ChangeOut(BaseModel):
    path: str
    before: Any
    after: Any


class DifferenceOut(BaseModel):
    """`from` is 0 when no version was approved before `to`: then everything is new."""

    name: str
    before: int = Field(serialization_alias="from")
    after: int = Field(serialization_alias="to")
    changes: list[ChangeOut]


@router.post("/v1/tenants/{tenant}/templates", status_code=201)
@requires(Permission.TEMPLATE_SUBMIT)
async def submit(
    grant: Granted,
    body: SubmitTemplate,
    service: Service,
    response: Response,
    once: Once,
    validate_only: Annotated[bool, Query()] = False,
    key: IdempotencyKey = None,
) -> SubmittedOut:
    """Hand in a text for review. The same text again answers with the version that stands there already."""
    if validate_only or body.validate_only:
        response.status_code = 200
        return _checked(service.lint(body.source))

    async def submitted() -> SubmittedOut:
        return _submitted(await service.submit(grant, body.source, body.message, draft=body.draft))

    return await once.once(grant.resource.tenant, grant.principal.id, key, body, SubmittedOut, submitted)


@router.get("/v1/tenants/{tenant}/templates")
@requires(Permission.TEMPLATE_READ)
async def list_templates(
    grant: Granted,
    reading: Reading,
    state: State | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
    cursor: Annotated[str, Query(max_length=200)] = "",
) -> TemplatesOut:
    """The newest version of each template; with `state`, every version in it."""
    page = await reading.page(grant, state, limit, cursor)
    return TemplatesOut(items=[TemplateVersionOut.of(version) for version in page.items], next=page.next)


@router.get("/v1/tenants/{tenant}/templates/{template}")
@requires(Permission.TEMPLATE_READ, name="template")
async def show(grant: Granted, template: str, reading: Reading, response: Response) -> TemplateOut:
    history = await reading.history(grant, template)
    response.headers["ETag"] = f'"{history[0].etag}"'
    lines = [
        VersionLineOut(
            version=old.version, state=old.state, digest=old.digest, author=old.author_name, created_at=old.created_at
        )
        for old in history
    ]
    return TemplateOut(**TemplateVersionOut.of(history[0]).model_dump(), versions=lines)


@router.get("/v1/tenants/{tenant}/templates/{template}/versions/{version}")
@requires(Permission.TEMPLATE_READ, name="template")
async def show_version(
    grant: Granted, template: str, version: Version, reading: Reading, response: Response
) -> TemplateVersionOut:
    return _answer(await reading.show(grant, template, version), response)


@router.get("/v1/tenants/{tenant}/templates/{template}/diff")
@requires(Permission.TEMPLATE_READ, name="template")
async def difference(
    grant: Granted,
    template: str,
    reading: Reading,
    before: Annotated[int | None, Query(alias="from", ge=1, le=MAX_VERSION)] = None,
    after: Annotated[int | None, Query(alias="to", ge=1, le=MAX_VERSION)] = None,
) -> DifferenceOut:
    """From the last approved version, or `from`, to the newest, or `to`."""
    found = await reading.difference(grant, template, before, after)
    changes = [ChangeOut(path=change.path, before=change.before, after=change.after) for change in found.changes]
    return DifferenceOut(name=template, before=found.before, after=found.after, changes=changes)


@router.post("/v1/tenants/{tenant}/templates/{template}/versions/{version}/approve")
@requires(Permission.TEMPLATE_REVIEW, name="template")
async def approve(
    grant: Granted,
    template: str,
    version: Version,
    body: ApproveVersion,
    service: Service,
    response: Response,
    if_match: IfMatch = None,
) -> TemplateVersionOut:
    found = await service.approve(grant, template, version, body.digest, body.comment, if_match)
    return _answer(found, response)


@router.post("/v1/tenants/{tenant}/templates/{template}/versions/{version}/reject")
@requires(Permission.TEMPLATE_REVIEW, name="template")
async def reject(
    grant: Granted,
    template: str,
    version: Version,
    body: RejectVersion,
    service: Service,
    response: Response,
    if_match: IfMatch = None,
) -> TemplateVersionOut:
    return _answer(await service.reject(grant, template, version, body.digest, body.reason, if_match), response)


@router.post("/v1/tenants/{tenant}/templates/{template}/versions/{version}/withdraw")
@requires(Permission.TEMPLATE_SUBMIT, name="template")
async def withdraw(
    grant: Granted,
    template: str,
    version: Version,
    service: Service,
    response: Response,
    if_match: IfMatch = None,
) -> TemplateVersionOut:
    return _answer(await service.withdraw(grant, template, version, if_match), response)


@router.post("/v1/tenants/{tenant}/templates/{template}/versions/{version}/deprecate")
@requires(Permission.TEMPLATE_RETIRE, name="template")
async def deprecate(
    grant: Granted,
    template: str,
    version: Version,
    body: RetireVersion,
    service: Service,
    response: Response,
    if_match: IfMatch = None,
) -> TemplateVersionOut:
    """Nobody asks for it anew; what runs may be renewed."""
    return _answer(await service.deprecate(grant, template, version, body.reason, if_match), response)


@router.post("/v1/tenants/{tenant}/templates/{template}/versions/{version}/revoke")
@requires(Permission.TEMPLATE_RETIRE, name="template")
async def revoke(
    grant: Granted,
    template: str,
    version: Version,
    body: RetireVersion,
    service: Service,
    response: Response,
    if_match: IfMatch = None,
) -> TemplateVersionOut:
    """Out of use for good: what runs of it is taken back within seconds."""
    return _answer(await service.revoke(grant, template, version, body.reason, if_match), response)


def _answer(version: TemplateVersion, response: Response) -> TemplateVersionOut:
    response.headers["ETag"] = f'"{version.etag}"'
    return TemplateVersionOut.of(version)


def _submitted(submitted: Submitted) -> SubmittedOut:
    templates = [
        CheckedTemplateOut(
            name=version.name,
            digest=version.digest,
            table=version.template.table,
            plan=list(plan(version.template)),
            version=version.version,
            state=version.state,
            author=version.author_name,
            created_at=version.created_at,
            risk=version.risk.risk_class,
            needs=version.requirement.words(),
        )
        for version in submitted.versions
    ]
    return SubmittedOut(
        templates=templates,
        deployments=[DeploymentOut.of(deployment) for deployment in submitted.deployments],
        deletions=list(submitted.deletions),
        displays=[DisplayOut.of(display) for display in submitted.displays],
    )


def _checked(script: Script) -> SubmittedOut:
    templates = [
        CheckedTemplateOut(
            name=deployment.template.name,
            digest=canonical.digest(canonical.to_bytes(deployment.template)),
            table=deployment.table,
            plan=list(plan(deployment.template)),
        )
        for deployment in script.templates
    ]
    return SubmittedOut(
        templates=templates,
        deployments=[DeploymentOut.of(deployment) for deployment in script.templates],
        deletions=list(script.deletions),
        displays=[DisplayOut.of(display) for display in script.displays],
    )


def _target(target: TargetSpec) -> dict[str, Any]:
    """Only what is set, in the words of a request."""
    fields = {
        "service": target.service,
        "exe": target.exe,
        "pids": list(target.pids),
        "language": target.language,
        "pod": target.pod,
        "labels": dict(target.labels),
        "shared_object": target.shared_object,
    }
    return {key: value for key, value in fields.items() if value}
