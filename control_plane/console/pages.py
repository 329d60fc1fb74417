"""The console's pages: each asks what the API's route of the same thing asks, and shows what it would answer."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import FileResponse, RedirectResponse, Response

from control_plane.audit.reading import AuditQuery, AuditReading
from control_plane.console.rendering import ASSETS, PageRoute, render
from control_plane.foundation.openness import public
from control_plane.foundation.provision import provided
from control_plane.policy.asking import Granted, SignedIn, authenticated, requires
from control_plane.policy.membership import MembershipService
from control_plane.policy.model import Permission
from control_plane.records.service import RecordService
from control_plane.templates.plan import plan
from control_plane.templates.reading import TemplateReading
from control_plane.templates.service import MAX_MESSAGE, TemplateService
from control_plane.tracepoints.notices import MAX_OPEN, NoticeReading
from control_plane.tracepoints.reading import TracepointReading
from control_plane.tracepoints.service import TracepointService

SHOWN_ROWS: Final = 50
SHOWN_ENTRIES: Final = 100

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Templates = Annotated[TemplateReading, Depends(provided(TemplateReading))]
Reviews = Annotated[TemplateService, Depends(provided(TemplateService))]
Tracepoints = Annotated[TracepointReading, Depends(provided(TracepointReading))]
Records = Annotated[RecordService, Depends(provided(RecordService))]
Notices = Annotated[NoticeReading, Depends(provided(NoticeReading))]
Text = Annotated[str, Form(max_length=MAX_MESSAGE)]


@router.get("/")
@public("it only leads to the console")
async def root() -> Response:
    return RedirectResponse("/console", 303)


@router.get("/console/assets/{name}")
@public("the look of the console")
async def asset(name: str) -> Response:
    known = {"console.css": "text/css", "live.js": "text/javascript", "icon.svg": "image/svg+xml"}
    if name not in known:
        return Response(status_code=404)
    return FileResponse(ASSETS / name, media_type=known[name])


@router.get("/console")
@authenticated("it tells people only about themselves")
async def home(
    request: Request,
    principal: SignedIn,
    membership: Annotated[MembershipService, Depends(provided(MembershipService))],
) -> Response:
    return await render(request, "home.html", tenants=await membership.of(principal), principal=principal)


@router.get("/console/{tenant}/templates")
@requires(Permission.TEMPLATE_READ)
async def templates(request: Request, grant: Granted, reading: Templates, notices: Notices) -> Response:
    told = (await notices.page(grant, MAX_OPEN, still_open=True)).items
    return await render(request, "templates.html", versions=(await reading.page(grant, limit=200)).items, notices=told)


@router.get("/console/{tenant}/templates/{template}")
@requires(Permission.TEMPLATE_READ, name="template")
async def template(
    request: Request, grant: Granted, template: str, reading: Templates, version: int | None = None
) -> Response:
    shown = await reading.show(grant, template, version)
    difference = await reading.difference(grant, template, after=shown.version)
    history = await reading.history(grant, template)
    own = shown.author == grant.principal.id
    return await render(
        request,
        "template.html",
        shown=shown,
        plan=plan(shown.template),
        difference=difference,
        history=history,
        own=own,
    )


@router.post("/console/{tenant}/templates/{template}/{version}/approve")
@requires(Permission.TEMPLATE_REVIEW, name="template")
async def approve(
    grant: Granted, template: str, version: int, reviews: Reviews, digest: Text, comment: Text = ""
) -> Response:
    await reviews.approve(grant, template, version, digest, comment)
    return _to_template(grant.resource.tenant, template, version)


@router.post("/console/{tenant}/templates/{template}/{version}/reject")
@requires(Permission.TEMPLATE_REVIEW, name="template")
async def reject(
    grant: Granted, template: str, version: int, reviews: Reviews, digest: Text, comment: Text = ""
) -> Response:
    await reviews.reject(grant, template, version, digest, comment)
    return _to_template(grant.resource.tenant, template, version)


@router.get("/console/{tenant}/tracepoints")
@requires(Permission.TRACEPOINT_READ)
async def tracepoints(request: Request, grant: Granted, reading: Tracepoints, notices: Notices) -> Response:
    told = (await notices.page(grant, MAX_OPEN, still_open=True)).items
    found = (await reading.page(grant, limit=100)).items
    return await render(request, "tracepoints.html", tracepoints=found, notices=told)


@router.post("/console/{tenant}/tracepoints/{tracepoint}/stop")
@requires(Permission.TRACEPOINT_DELETE, name="tracepoint")
async def stop(
    grant: Granted, tracepoint: str, service: Annotated[TracepointService, Depends(provided(TracepointService))]
) -> Response:
    await service.delete(grant, tracepoint)
    return RedirectResponse(f"/console/{grant.resource.tenant}/tracepoints", 303)


@router.get("/console/{tenant}/tables")
@requires(Permission.RECORDS_READ)
async def tables(request: Request, grant: Granted, records: Records) -> Response:
    return await render(request, "tables.html", tables=await records.tables(grant))


@router.get("/console/{tenant}/tables/{table}")
@requires(Permission.RECORDS_READ, name="table")
async def table(request: Request, grant: Granted, table: str, records: Records) -> Response:
    answer = await records.rows(grant, table, SHOWN_ROWS)
    columns = list(dict.fromkeys(column for row in answer.rows for column in row if not column.startswith("_")))
    return await render(request, "table.html", table=table, columns=columns, answer=answer, shown=SHOWN_ROWS)


@router.get("/console/{tenant}/audit")
@requires(Permission.AUDIT_READ)
async def audit(
    request: Request,
    grant: Granted,
    reading: Annotated[AuditReading, Depends(provided(AuditReading))],
    action: str = "",
    actor: str = "",
    cursor: str = "",
) -> Response:
    page = await reading.search(grant, AuditQuery(action=action, actor=actor, cursor=cursor, limit=SHOWN_ENTRIES))
    entries = [entry.members() for entry in page.entries]
    return await render(
        request, "audit.html", entries=entries, next_cursor=page.next_cursor, action=action, actor=actor
    )


def _to_template(tenant: str, template: str, version: int) -> Response:
    return RedirectResponse(f"/console/{tenant}/templates/{template}?version={version}", 303)
