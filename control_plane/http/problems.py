"""Every error as a problem (RFC 9457): ours by one table, the framework's so that they look alike.

`code` is the stable word for programs, `detail` the sentence for a person, `request_id` brings it together with the
log. An error that is in no table says nothing but that it happened; what it was stands in the server's log.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from sqlalchemy.exc import IntegrityError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from control_plane.foundation.correlation import current_request_id
from control_plane.foundation.database import DATABASE_UNREACHABLE
from control_plane.foundation.errors import (
    AuditUnavailable,
    Conflict,
    Denied,
    DependencyUnavailable,
    Invalid,
    NotFound,
    ProbegateError,
    Stale,
    StepUpRequired,
    TooMany,
    Unauthenticated,
)

MEDIA_TYPE: Final = "application/problem+json"
MAX_ERRORS: Final = 20  # validation errors told at once
RETRY_AFTER: Final = "5"  # seconds, with every 429 and 503

STATUS: Final[tuple[tuple[type[ProbegateError], HTTPStatus], ...]] = (
    (StepUpRequired, HTTPStatus.UNAUTHORIZED),
    (Unauthenticated, HTTPStatus.UNAUTHORIZED),
    (Denied, HTTPStatus.FORBIDDEN),
    (NotFound, HTTPStatus.NOT_FOUND),
    (Invalid, HTTPStatus.UNPROCESSABLE_ENTITY),
    (Conflict, HTTPStatus.CONFLICT),
    (Stale, HTTPStatus.PRECONDITION_FAILED),
    (TooMany, HTTPStatus.TOO_MANY_REQUESTS),
    (AuditUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (DependencyUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
)
_log = logging.getLogger(__name__)


def problem(
    status: int,
    code: str,
    detail: str,
    extra: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    body: dict[str, object] = dict(extra or {})
    body |= {
        "type": f"urn:probegate:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": current_request_id.get(),
    }
    sent = dict(headers or {})
    if status == HTTPStatus.UNAUTHORIZED:
        sent.setdefault("WWW-Authenticate", 'Bearer realm="probegate"')
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        sent.setdefault("Retry-After", RETRY_AFTER)
    return JSONResponse(body, status, sent, MEDIA_TYPE)


def status_of(error: ProbegateError) -> int:
    for kind, status in STATUS:
        if isinstance(error, kind):
            return status
    return HTTPStatus.INTERNAL_SERVER_ERROR


def install(app: FastAPI) -> None:
    app.add_exception_handler(ProbegateError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(IntegrityError, _at_once)
    for unreachable in DATABASE_UNREACHABLE:
        app.add_exception_handler(unreachable, _database)


async def _ours(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, ProbegateError):
        raise error
    headers = {"WWW-Authenticate": _challenge(error)} if isinstance(error, StepUpRequired) else None
    return problem(status_of(error), error.code, error.detail, error.extra, headers)


def _challenge(error: StepUpRequired) -> str:
    """RFC 9470, section 3."""
    asked = {name: error.extra[name] for name in ("max_age", "acr_values") if error.extra.get(name)}
    words = ['Bearer realm="probegate"', 'error="insufficient_user_authentication"']
    return ", ".join([*words, *(f'{name}="{value}"' for name, value in asked.items())])


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """What was expected and where; never the value that came: it may be a secret in the wrong place."""
    if not isinstance(error, RequestValidationError):
        raise error
    if any(one["loc"] == ("body",) for one in error.errors()) and not _is_json(request):
        return problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "expected a body of application/json"
        )
    told = [{"pointer": _pointer(one["loc"]), "detail": str(one["msg"])} for one in error.errors()[:MAX_ERRORS]]
    first = f"{told[0]['pointer']}: {told[0]['detail']}" if told else "the request cannot be read"
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", first, {"errors": told})


async def _framework(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    codes: dict[int, tuple[str, str]] = {
        400: ("bad_request", "the request cannot be read: expected JSON in UTF-8 of ordinary numbers and depth"),
        404: ("not_found", "there is nothing at this address"),
        405: ("method_not_allowed", "this address does not know that method"),
        413: ("too_large", "the request's body is too large"),
    }
    code, detail = codes.get(error.status_code, ("bad_request", str(error.detail)))
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(sorted(_methods_at(request)))
    return problem(error.status_code, code, detail, headers=headers)


def _methods_at(request: Request) -> set[str]:
    """Of all routes with this address: each of them knows its own only."""
    return {
        method
        for route in iter_route_contexts(request.app.routes)
        if route.path_regex.fullmatch(request.url.path)
        for method in route.methods or ()
    }


async def _at_once(_: Request, error: Exception) -> JSONResponse:
    """Two changes met in the database; its constraint let one through, and nothing of the other is there."""
    _log.warning("request %s met another change: %s", current_request_id.get(), error)
    return problem(
        HTTPStatus.CONFLICT, "changed_at_once", "somebody else changed the same thing at this moment: read it again"
    )


async def _database(_: Request, error: Exception) -> JSONResponse:
    _log.error("the database did not answer: %s", error, exc_info=error)
    return problem(
        HTTPStatus.SERVICE_UNAVAILABLE, "dependency_unavailable", "the database does not answer; try again shortly"
    )


def unexpected(error: Exception) -> JSONResponse:
    """For `middleware.RequestIds`: what no handler knew."""
    _log.error("request %s failed unexpectedly", current_request_id.get(), exc_info=error)
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal",
        "something failed that should not; the server's log has the reason under this request id",
    )


def _is_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _pointer(location: Sequence[Any]) -> str:
    return "/" + "/".join(str(part) for part in location)
