"""The embedded issuer over HTTP: discovery, keys, authorize, token, device, with the two pages a person sees.

All of it is public: these are the routes by which somebody becomes known. Every page asks for the password anew, so
there is no session here to steal; the form carries a token that must match a cookie, so a foreign page cannot post it.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Annotated, Any, Final

from authlib.oauth2 import OAuth2Error
from fastapi import APIRouter, Depends, Request
from jinja2 import Environment, PackageLoader, select_autoescape
from starlette.datastructures import FormData
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from control_plane.foundation.errors import TooMany
from control_plane.foundation.openness import public
from control_plane.foundation.provision import provided
from control_plane.identity.issuer.clients import (
    AUTHORIZATION_CODE,
    CLIENT_CREDENTIALS,
    DEVICE_CODE,
    REFRESH,
    SCOPES,
    TOKEN_EXCHANGE,
)
from control_plane.identity.issuer.embedded import EmbeddedIssuer
from control_plane.identity.issuer.exchange import Exchange, ExchangeRefused
from control_plane.identity.issuer.server import FormRequest, read_request
from control_plane.identity.issuer.store import Answer, normal_user_code
from control_plane.identity.issuer.tokens import ALGORITHM

router = APIRouter(tags=["embedded issuer"])  # for people
programs = APIRouter(tags=["embedded issuer"])  # there in every profile
Issuer = Annotated[EmbeddedIssuer, Depends(provided(EmbeddedIssuer))]
_NO_STORE: Final = {"cache-control": "no-store"}  # RFC 6749, section 5.1
_LOGIN: Final = "this is where somebody becomes known"
_PUBLISHED: Final = "OpenID Connect Discovery: who verifies tokens must be able to read it"
# RFC 6749, sections 4 and 5.2: forms in, JSON out, errors in their own shape.
_FORM_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}},
    }
}
_OAUTH_ERROR: Final[dict[str, Any]] = {
    "description": "Refused (RFC 6749, 5.2)",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["error"],
                "properties": {"error": {"type": "string"}, "error_description": {"type": "string"}},
            }
        }
    },
}
_OAUTH: Final[dict[int | str, dict[str, Any]]] = {400: _OAUTH_ERROR, 401: _OAUTH_ERROR}
_WRONG: Final = "Name and password do not belong together."
_EXPIRED: Final = "The form has expired; fill it in again."
_UNKNOWN_CODE: Final = "No device waits with this code: it may have expired. Look at the terminal again."
# The login's answer redirects to the command line's loopback port, which browsers count as where the form goes.
_FORM_POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self' http://127.0.0.1:*; "
    "frame-ancestors 'none'; base-uri 'none'"
)
_pages: Final = Environment(
    loader=PackageLoader("control_plane.identity.issuer", "pages"), autoescape=select_autoescape(default=True)
)


@programs.get("/.well-known/openid-configuration")
@public(_PUBLISHED)
async def discovery(issuer: Issuer) -> dict[str, Any]:
    base = issuer.url
    found: dict[str, Any] = {
        "issuer": base,
        "token_endpoint": f"{base}/oauth/token",
        "jwks_uri": f"{base}/oauth/jwks",
        "scopes_supported": list(SCOPES),
        "response_types_supported": ["code"] if issuer.people else [],
        "grant_types_supported": [CLIENT_CREDENTIALS, TOKEN_EXCHANGE],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
        "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
    }
    if issuer.people:
        found["grant_types_supported"] += [AUTHORIZATION_CODE, REFRESH, DEVICE_CODE]
        found |= {
            "authorization_endpoint": f"{base}/oauth/authorize",
            "device_authorization_endpoint": f"{base}/oauth/device_authorization",
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }
    return found


@programs.get("/oauth/jwks")
@public(_PUBLISHED)
async def jwks(issuer: Issuer) -> dict[str, Any]:
    return issuer.tokens.public_jwks()


@router.get("/oauth/style.css", include_in_schema=False)
@public("the look of the login page")
async def style() -> Response:
    return Response(_pages.get_template("style.css").render(), media_type="text/css")


@router.get("/oauth/icon.svg", include_in_schema=False)
@public("the look of the login page")
async def icon() -> Response:
    return Response(_pages.get_template("icon.svg").render(), media_type="image/svg+xml")


@router.get("/oauth/authorize", include_in_schema=False)
@public(_LOGIN)
async def authorize_page(request: Request, issuer: Issuer) -> Response:
    """Check the request before anything is typed; a client or redirect address that is not known gets no redirect."""
    asked = await read_request(request, issuer.url)
    try:
        await issuer.server.run("get_consent_grant", asked)
    except OAuth2Error as error:
        return _refused(error)
    return _form(request, issuer, "login.html", client=asked.payload.client_id, asked=asked.payload.data)


@router.post("/oauth/authorize", include_in_schema=False)
@public(_LOGIN)
async def authorize(request: Request, issuer: Issuer) -> Response:
    form = await request.form()
    asked = await read_request(request, issuer.url)
    try:
        grant = await issuer.server.run("get_consent_grant", asked)
    except OAuth2Error as error:
        return _refused(error)
    values = {
        name: value for name, value in asked.payload.data.items() if name not in {"name", "password", "form_token"}
    }
    client = asked.payload.client_id
    if not _same_form(request, issuer, form):
        return _form(request, issuer, "login.html", client=client, asked=values, problem=_EXPIRED)
    try:
        user = await issuer.users.check(_text(form, "name"), _text(form, "password"), _address(request))
    except TooMany as problem:
        return _form(request, issuer, "login.html", 429, client=client, asked=values, problem=problem.detail)
    if user is None:
        return _form(request, issuer, "login.html", 401, client=client, asked=values, problem=_WRONG)
    answer: Response = await issuer.server.run("create_authorization_response", asked, grant_user=user, grant=grant)
    return answer


@programs.post("/oauth/token", responses=_OAUTH, openapi_extra=_FORM_BODY)
@public(_LOGIN)
async def token(
    request: Request, issuer: Issuer, exchange: Annotated[Exchange, Depends(provided(Exchange))]
) -> Response:
    asked = await read_request(request, issuer.url)
    if asked.payload.data.get("grant_type") == TOKEN_EXCHANGE:
        try:
            return JSONResponse(await exchange.exchange(asked.payload.data), headers=_NO_STORE)
        except ExchangeRefused as refused:
            return JSONResponse({"error": refused.error, "error_description": str(refused)}, 400, _NO_STORE)
    answer: Response = await issuer.server.run("create_token_response", asked)
    return answer


@router.post("/oauth/device_authorization", responses=_OAUTH, openapi_extra=_FORM_BODY)
@public(_LOGIN)
async def device_authorization(request: Request, issuer: Issuer) -> Response:
    asked: FormRequest = await read_request(request, issuer.url)
    answer: Response = await issuer.server.run("create_endpoint_response", asked, "device_authorization")
    return answer


@router.get("/oauth/device", include_in_schema=False)
@public(_LOGIN)
async def device_page(request: Request, issuer: Issuer, user_code: str = "") -> Response:
    """The code from the address is filled in, never acted on: a person compares it with the terminal."""
    code = normal_user_code(user_code) if user_code else ""
    return _form(request, issuer, "device.html", code=code)


@router.post("/oauth/device", include_in_schema=False)
@public(_LOGIN)
async def device(request: Request, issuer: Issuer) -> Response:
    form = await request.form()
    code = normal_user_code(_text(form, "user_code"))
    if not _same_form(request, issuer, form):
        return _form(request, issuer, "device.html", code=code, problem=_EXPIRED)
    try:
        user = await issuer.users.check(_text(form, "name"), _text(form, "password"), _address(request))
    except TooMany as problem:
        return _form(request, issuer, "device.html", 429, code=code, problem=problem.detail)
    if user is None:
        return _form(request, issuer, "device.html", 401, code=code, problem=_WRONG)
    answer = {"approve": Answer.APPROVED, "deny": Answer.DENIED}.get(_text(form, "answer"))
    if answer is None or not await issuer.answer_device(code, user, answer, _address(request)):
        return _form(request, issuer, "device.html", 404, code=code, problem=_UNKNOWN_CODE)
    return HTMLResponse(_pages.get_template("done.html").render(approved=answer is Answer.APPROVED))


def _form(request: Request, issuer: EmbeddedIssuer, page: str, status: int = 200, **values: Any) -> Response:
    """A page with a form, and the cookie that its hidden token must equal."""
    form_token = request.cookies.get(issuer.form_cookie) or secrets.token_urlsafe(24)
    response = HTMLResponse(_pages.get_template(page).render(form_token=form_token, **values), status)
    response.headers["content-security-policy"] = _FORM_POLICY
    response.set_cookie(
        issuer.form_cookie, form_token, max_age=900, path="/", httponly=True, samesite="strict", secure=issuer.https
    )
    return response


def _same_form(request: Request, issuer: EmbeddedIssuer, form: FormData) -> bool:
    cookie = request.cookies.get(issuer.form_cookie, "")
    return bool(cookie) and hmac.compare_digest(cookie.encode(), _text(form, "form_token").encode())


def _refused(error: OAuth2Error) -> Response:
    """To the client when its address has been checked (RFC 6749, 4.1.2.1), otherwise to the person."""
    if error.redirect_uri:
        status, _, headers = error()
        return RedirectResponse(dict(headers)["Location"], status)
    text = str(error.description or error.error)
    return HTMLResponse(_pages.get_template("refused.html").render(problem=text), 400)


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value if isinstance(value, str) else ""


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"
