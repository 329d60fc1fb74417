"""Sign in at an issuer of one's choice, and out again: what remains is a session cookie, or nothing.

The browser carries the attempt (`relying_party.code_flow`) in a cookie of its own that lives for minutes; the code is
redeemed by this process, so that no token ever reaches the browser. Signing out ends the session here first, then
leads to the issuer; the issuer can also end it by itself, through the back channel.
"""

from __future__ import annotations

import re
from typing import Annotated, Final
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, Depends, Form, Query, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from control_plane.console.rendering import PageRoute, problem_page, render
from control_plane.foundation.openness import public
from control_plane.foundation.provision import provided
from control_plane.identity.issuer.in_process import NAME as EMBEDDED
from control_plane.identity.relying_party.back_channel import BackChannel
from control_plane.identity.relying_party.code_flow import Attempt, CodeFlow, SignInRefused
from control_plane.identity.service import Identity
from control_plane.identity.sessions import SESSION_LIFE, Sessions
from control_plane.identity.signed_claims import MAX_TOKEN, BadToken
from control_plane.policy.asking import SignedIn, authenticated

ATTEMPT_LIFE: Final = 600  # seconds to type a password
HOME: Final = "/console"
SIGNED_OUT: Final = "/console/signed-out"
MAX_PARAMETER: Final = 2000  # characters of one parameter of an answer; a code is some hundred
MAX_AGE_ASKED: Final = 86_400
_ACR_VALUES: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,200}( [\x21\x23-\x5b\x5d-\x7e]{1,200}){0,4}")
_WHO: Final = "this is where somebody becomes known"

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Flow = Annotated[CodeFlow, Depends(provided(CodeFlow))]
Sessioned = Annotated[Sessions, Depends(provided(Sessions))]
Known = Annotated[Identity, Depends(provided(Identity))]


@router.get("/console/sign-in")
@public(_WHO)
async def sign_in(
    request: Request,
    flow: Flow,
    sessions: Sessioned,
    next: Annotated[str, Query(max_length=MAX_PARAMETER)] = HOME,  # noqa: A002 - the query parameter's name
    issuer: Annotated[str, Query(max_length=63)] = "",
    max_age: Annotated[int | None, Query(ge=0, le=MAX_AGE_ASKED)] = None,
    acr_values: Annotated[str, Query(max_length=MAX_PARAMETER)] = "",
) -> Response:
    """Lead to the issuer; when there are several and none was chosen, ask which."""
    wanted = acr_values if _ACR_VALUES.fullmatch(acr_values) else ""
    there = flow.issuers.of_console
    if not there:
        return await problem_page(request, 404, "no issuer is set up for the console: use the command line")
    if not issuer and len(there) > 1:
        asked = {"next": _own_path(next), "acr_values": wanted, "max_age": "" if max_age is None else str(max_age)}
        kept = {name: value for name, value in asked.items() if value}
        ways = [(one.label, urlsplit(one.issuer).netloc, urlencode({"issuer": one.name, **kept})) for one in there]
        return await render(request, "choose_issuer.html", ways=ways)
    address, attempt = await flow.begin(flow.issuers.named(issuer or there[0].name), _own_path(next), max_age, wanted)
    answer = RedirectResponse(address, 303)
    _set(answer, sessions, _attempt_cookie(sessions), attempt.to_cookie(), ATTEMPT_LIFE)
    return answer


@router.get("/console/callback")
@public(_WHO)
async def callback(request: Request, flow: Flow, sessions: Sessioned, identity: Known) -> Response:
    """The embedded issuer's answer."""
    return await _finished(request, EMBEDDED, flow, sessions, identity)


@router.get("/console/callback/{name}")
@public(_WHO)
async def callback_of(request: Request, name: str, flow: Flow, sessions: Sessioned, identity: Known) -> Response:
    """An external issuer's answer: each has an address of its own."""
    return await _finished(request, name, flow, sessions, identity)


@router.post("/console/sign-out")
@authenticated("everybody may end their own session")
async def sign_out(request: Request, principal: SignedIn, flow: Flow, sessions: Sessioned, identity: Known) -> Response:
    """The session here ends at once; a link ends the one at the issuer, too, where it offers that."""
    await identity.sign_out(request, principal)
    issuer = flow.issuers.called(principal.issuer)
    onward = await flow.end_session(issuer) if issuer else ""
    answer = await render(request, "signed_out.html", onward=onward, label=issuer.label if issuer else "")
    answer.delete_cookie(sessions.cookie, path="/", secure=sessions.secure, httponly=True, samesite="lax")
    return answer


@router.get(SIGNED_OUT)
@public("it tells everybody the same")
async def signed_out(request: Request) -> Response:
    return await render(request, "signed_out.html", onward="", label="")


@router.post("/console/back-channel-logout/{name}")
@public("only a logout token that the issuer signed for us just now does anything")
async def back_channel_logout(
    name: str,
    flow: Flow,
    channel: Annotated[BackChannel, Depends(provided(BackChannel))],
    logout_token: Annotated[str, Form(max_length=MAX_TOKEN)],
) -> Response:
    """Back-Channel Logout 1.0, section 2.8: 200 when it was done, 400 when it was not."""
    try:
        await channel.obey(flow.issuers.named(name), logout_token)
    except BadToken as bad:
        return JSONResponse({"error": "invalid_request", "error_description": str(bad)}, 400)
    return Response(status_code=200)


async def _finished(request: Request, name: str, flow: CodeFlow, sessions: Sessions, identity: Identity) -> Response:
    attempt = Attempt.from_cookie(request.cookies.get(_attempt_cookie(sessions), ""))
    given = request.query_params.multi_items()
    answer = dict(given)
    if len(answer) != len(given) or any(len(value) > MAX_PARAMETER for value in answer.values()):
        return await problem_page(request, 400, "the issuer's answer is malformed; sign in again")
    try:
        person = await flow.finish(flow.issuers.named(name), attempt, answer)
    except SignInRefused as refused:
        response = await problem_page(request, 400, refused.detail)
    else:
        cookie = await identity.open_session(person, request.cookies.get(sessions.cookie, ""))
        response = RedirectResponse(_own_path(attempt.next if attempt else HOME), 303)
        _set(response, sessions, sessions.cookie, cookie, int(SESSION_LIFE.total_seconds()))
    response.delete_cookie(_attempt_cookie(sessions), path="/", secure=sessions.secure, httponly=True, samesite="lax")
    return response


def _set(answer: Response, sessions: Sessions, name: str, value: str, seconds: int) -> None:
    """Not for scripts, this host only (`__Host-`), and with links from elsewhere but not with their forms."""
    answer.set_cookie(name, value, max_age=seconds, path="/", httponly=True, samesite="lax", secure=sessions.secure)


def _attempt_cookie(sessions: Sessions) -> str:
    return "__Host-probegate-attempt" if sessions.secure else "probegate-attempt"


def _own_path(path: str) -> str:
    """A path of the console; anything that a browser could read as another host leads home."""
    own = path.startswith(f"{HOME}/") and path.isprintable() and "\\" not in path and "//" not in path
    return path if own and not path.startswith("/console/sign-") else HOME
