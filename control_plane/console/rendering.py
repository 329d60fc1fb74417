"""Values -> HTML. And `PageRoute`, whose errors are pages: signed out leads to the sign-in, all else says what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.responses import HTMLResponse, RedirectResponse, Response

from control_plane.foundation.correlation import current_request_id
from control_plane.foundation.errors import ProbegateError, StepUpRequired, Unauthenticated
from control_plane.foundation.provision import Provision
from control_plane.http.problems import status_of
from control_plane.identity.sessions import Sessions

ASSETS: Final = Path(__file__).parent / "assets"
SIGN_IN: Final = "/console/sign-in"
_pages: Final = Environment(
    loader=PackageLoader("control_plane.console", "pages"),
    autoescape=select_autoescape(default=True),
    undefined=StrictUndefined,
)


class PageRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def page(request: Request) -> Response:
            try:
                return await handle(request)
            except StepUpRequired as error:
                again = {"next": _back(request), **error.extra}
                query = urlencode({name: value for name, value in again.items() if value != ""})
                return await render(request, "step_up.html", 401, detail=error.detail, again=f"{SIGN_IN}?{query}")
            except Unauthenticated as error:
                if request.method == "GET":
                    return RedirectResponse(f"{SIGN_IN}?next={quote(request.url.path)}", 303)
                return await problem_page(request, 401, error.detail)
            except ProbegateError as error:
                return await problem_page(request, status_of(error), error.detail)
            except RequestValidationError:
                return await problem_page(request, 422, "the form was not filled in as it must be")

        return page


def _back(request: Request) -> str:
    """The page that the form was on."""
    given = request.path_params
    if {"tenant", "template", "version"} <= given.keys():
        return f"/console/{given['tenant']}/templates/{quote(given['template'])}?version={given['version']}"
    return "/console"


async def render(request: Request, page: str, status: int = 200, **values: Any) -> Response:
    """A page inside the layout: who is signed in, and the CSRF token that its forms need."""
    provision: Provision = request.app.state.provision
    session = await provision.get(Sessions).find(request)
    text = _pages.get_template(page).render(
        tenant=request.path_params.get("tenant", ""),
        path=request.url.path,
        person=session.token.display_name if session else "",
        csrf_token=session.csrf_token if session else "",
        **values,
    )
    return HTMLResponse(text, status)


async def problem_page(request: Request, status: int, detail: str) -> Response:
    return await render(request, "problem.html", status, detail=detail, request_id=current_request_id.get())


def moment(value: datetime | None) -> str:
    return "" if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def nanoseconds(value: int) -> str:
    """Unix nanoseconds, exact to the last one."""
    whole = datetime.fromtimestamp(value // 1_000_000_000, UTC)
    return f"{whole:%Y-%m-%d %H:%M:%S}.{value % 1_000_000_000:09d}"


def subject(value: str) -> str:
    """The part that people know; the issuer stands in the title of the cell."""
    return value.rpartition("|")[2]


_pages.filters["moment"] = moment
_pages.filters["nanoseconds"] = nanoseconds
_pages.filters["subject"] = subject
