"""Sign in at the embedded issuer: authorization code with PKCE, and what remains is a session cookie.

The browser carries the attempt (state, verifier, where to go after) in a cookie of its own that lives for minutes; the
code is redeemed inside this process, so that no token ever reaches the browser.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from starlette.responses import RedirectResponse, Response

from control_plane.console.rendering import PageRoute, problem_page
from control_plane.foundation.openness import public
from control_plane.foundation.provision import provided
from control_plane.identity.issuer.clients import AUTHORIZATION_CODE, CONSOLE
from control_plane.identity.issuer.embedded import EmbeddedIssuer
from control_plane.identity.issuer.server import FormRequest
from control_plane.identity.service import Identity
from control_plane.identity.sessions import SESSION_LIFE, Sessions
from control_plane.policy.asking import SignedIn, authenticated

ATTEMPT_LIFE: Final = 600  # seconds to type a password
CALLBACK: Final = "/console/callback"
HOME: Final = "/console"

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Issuer = Annotated[EmbeddedIssuer, Depends(provided(EmbeddedIssuer))]
Sessioned = Annotated[Sessions, Depends(provided(Sessions))]


@router.get("/console/sign-in")
@public("this is where somebody becomes known")
async def sign_in(issuer: Issuer, next: str = HOME) -> Response:  # noqa: A002 - the query parameter's name
    verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "response_type": "code",
        "client_id": CONSOLE,
        "redirect_uri": issuer.url + CALLBACK,
        "scope": "openid profile",
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    answer = RedirectResponse(f"{issuer.url}/oauth/authorize?{urlencode(query)}", 303)
    attempt = json.dumps({"state": state, "verifier": verifier, "next": _own_path(next)})
    answer.set_cookie(
        _attempt_cookie(issuer),
        base64.urlsafe_b64encode(attempt.encode()).decode(),
        max_age=ATTEMPT_LIFE,
        path="/",
        httponly=True,
        samesite="lax",
        secure=issuer.https,
    )
    return answer


@router.get(CALLBACK)
@public("this is where somebody becomes known")
async def callback(
    request: Request,
    issuer: Issuer,
    sessions: Sessioned,
    identity: Annotated[Identity, Depends(provided(Identity))],
    code: str = "",
    state: str = "",
    iss: str = "",
) -> Response:
    attempt = _attempt(request.cookies.get(_attempt_cookie(issuer), ""))
    known = hmac.compare_digest(state.encode(), attempt.get("state", "").encode())
    if not state or not known or iss != issuer.url or not code:
        return await problem_page(request, 400, "this sign-in was not begun here, or has expired; sign in again")
    form = {
        "grant_type": AUTHORIZATION_CODE,
        "client_id": CONSOLE,
        "code": code,
        "redirect_uri": issuer.url + CALLBACK,
        "code_verifier": attempt["verifier"],
    }
    asked = FormRequest("POST", f"{issuer.url}/oauth/token", {}, list(form.items()))
    redeemed: Response = await issuer.server.run("create_token_response", asked)
    if redeemed.status_code != 200:
        return await problem_page(request, 400, "the issuer did not accept this sign-in; sign in again")
    cookie = await identity.open_session(json.loads(bytes(redeemed.body))["access_token"])
    answer = RedirectResponse(_own_path(attempt.get("next", HOME)), 303)
    answer.delete_cookie(_attempt_cookie(issuer), path="/", secure=issuer.https, httponly=True, samesite="lax")
    answer.set_cookie(
        sessions.cookie,
        cookie,
        max_age=int(SESSION_LIFE.total_seconds()),
        path="/",
        httponly=True,
        samesite="lax",
        secure=sessions.secure,
    )
    return answer


@router.post("/console/sign-out")
@authenticated("everybody may end their own session")
async def sign_out(request: Request, principal: SignedIn, sessions: Sessioned) -> Response:  # noqa: ARG001
    await sessions.close(request)
    answer = RedirectResponse(HOME, 303)
    answer.delete_cookie(sessions.cookie, path="/", secure=sessions.secure, httponly=True, samesite="lax")
    return answer


def _attempt_cookie(issuer: EmbeddedIssuer) -> str:
    return "__Host-probegate-attempt" if issuer.https else "probegate-attempt"


def _attempt(cookie: str) -> dict[str, str]:
    try:
        found: Any = json.loads(base64.urlsafe_b64decode(cookie.encode()))
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _own_path(path: str) -> str:
    """A path of the console; anything that a browser could read as another host leads home."""
    own = path.startswith(f"{HOME}/") and path.isprintable() and "\\" not in path and "//" not in path
    return path if own else HOME
