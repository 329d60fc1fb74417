"""Changes to masking over HTTP: 200 with what was done, or 202 with the proposal that waits for a second person."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from control_plane.foundation.bodies import Body
from control_plane.foundation.errors import NotFound
from control_plane.foundation.provision import provided
from control_plane.foundation.request_headers import IfMatch, quoted
from control_plane.masking.changing import MaskingChanges
from control_plane.masking.routes import ExceptionOut, PutRule, RuleOut, SettingsBody
from control_plane.masking.rules import settings_etag
from control_plane.policy.asking import Granted, requires
from control_plane.policy.model import Permission
from control_plane.policy.proposal_model import Proposed
from control_plane.policy.proposal_routes import WAITS, waiting

router = APIRouter(tags=["masking"])
Changes = Annotated[MaskingChanges, Depends(provided(MaskingChanges))]


class PutException(Body):
    """Shows one field of one template, until a day, for a reason."""

    template: str = Field(min_length=1, max_length=63)
    field: str = Field(min_length=1, max_length=512, description="As the template captures it: o.Email.")
    service: str = Field(default="", max_length=200, description="Only where the template means this service.")
    action: str = Field(max_length=60, description="What holds instead of the rules: allow, detect, partial(0,4), ...")
    reason: str = Field(min_length=10, max_length=500)
    expires: str = Field(max_length=40, description="A moment with its zone, at most 90 days from now.")


class DiffIn(Body):
    rule: str = Field(min_length=1, max_length=64)
    document: PutRule | None = Field(default=None, description="Absent: what it would mean to remove the rule.")


class DiffOut(BaseModel):
    """`needs` says why a second person would have to agree; empty when nobody must."""

    summary: list[str]
    needs: list[str]


class RotateIn(Body):
    message: str = Field(default="", max_length=1000)


class RotatedOut(BaseModel):
    key_id: str


@router.put("/v1/tenants/{tenant}/masking/rules/{rule}", response_model=RuleOut, responses=WAITS)
@requires(Permission.MASKING_WRITE, name="rule")
async def put_rule(
    grant: Granted, rule: str, body: PutRule, changes: Changes, response: Response, if_match: IfMatch = None
) -> RuleOut | JSONResponse:
    """Create or replace a rule of the tenant; it holds for tracepoints that are requested from now on."""
    outcome = await changes.put(grant, rule, _document(body), if_match)
    if isinstance(outcome, Proposed):
        return waiting(grant, outcome)
    if outcome.value is None:
        raise NotFound(f"there is no masking rule {rule[:64]!r} in this tenant")
    response.headers["ETag"] = quoted(outcome.value.etag)
    return RuleOut.of(outcome.value)


@router.delete("/v1/tenants/{tenant}/masking/rules/{rule}", status_code=204, response_model=None, responses=WAITS)
@requires(Permission.MASKING_WRITE, name="rule")
async def delete_rule(grant: Granted, rule: str, changes: Changes, if_match: IfMatch = None) -> JSONResponse | None:
    """Waits for a second person."""
    outcome = await changes.delete(grant, rule, if_match)
    return waiting(grant, outcome) if isinstance(outcome, Proposed) else None


@router.post("/v1/tenants/{tenant}/masking/diff")
@requires(Permission.MASKING_READ)
async def diff(grant: Granted, body: DiffIn, changes: Changes) -> DiffOut:
    """Which fields of which approved templates a rule would hide less or more. Nothing changes."""
    found = await changes.diff(grant, body.rule, None if body.document is None else _document(body.document))
    return DiffOut(summary=list(found.summary), needs=list(found.needs))


@router.put("/v1/tenants/{tenant}/masking/settings", response_model=SettingsBody, responses=WAITS)
@requires(Permission.MASKING_WRITE)
async def put_settings(
    grant: Granted, body: SettingsBody, changes: Changes, response: Response, if_match: IfMatch = None
) -> SettingsBody | JSONResponse:
    """Strict at once; to be less strict waits for a second person."""
    outcome = await changes.set_strict(grant, strict=body.strict, if_match=if_match)
    if isinstance(outcome, Proposed):
        return waiting(grant, outcome)
    response.headers["ETag"] = quoted(settings_etag(strict=body.strict))
    return body


@router.put("/v1/tenants/{tenant}/masking/exceptions/{exception}", response_model=ExceptionOut, responses=WAITS)
@requires(Permission.MASKING_WRITE, name="exception")
async def put_exception(
    grant: Granted, exception: str, body: PutException, changes: Changes, response: Response, if_match: IfMatch = None
) -> ExceptionOut | JSONResponse:
    """Waits for a second person, always."""
    outcome = await changes.put_exception(grant, exception, body.model_dump(), if_match)
    if isinstance(outcome, Proposed):
        return waiting(grant, outcome)
    if outcome.value is None:
        raise NotFound(f"there is no exception {exception[:64]!r} in this tenant")
    response.headers["ETag"] = quoted(str(outcome.value.revision))
    return ExceptionOut.of(outcome.value)


@router.delete(
    "/v1/tenants/{tenant}/masking/exceptions/{exception}", status_code=204, response_model=None, responses=WAITS
)
@requires(Permission.MASKING_WRITE, name="exception")
async def remove_exception(
    grant: Granted, exception: str, changes: Changes, if_match: IfMatch = None
) -> JSONResponse | None:
    """At once: the rules hold again for the next request."""
    outcome = await changes.remove_exception(grant, exception, if_match)
    return waiting(grant, outcome) if isinstance(outcome, Proposed) else None


@router.post("/v1/tenants/{tenant}/masking/keys", response_model=RotatedOut, responses=WAITS)
@requires(Permission.MASKING_WRITE)
async def rotate_key(grant: Granted, body: RotateIn, changes: Changes) -> RotatedOut | JSONResponse:
    """A new epoch of the tenant's key. Waits for a second person: tokens no longer join with those from before."""
    outcome = await changes.rotate_key(grant, body.message)
    return waiting(grant, outcome) if isinstance(outcome, Proposed) else RotatedOut(key_id=outcome.value)


def _document(body: PutRule) -> dict[str, object]:
    return body.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
