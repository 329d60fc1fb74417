"""The app's routes -> its OpenAPI 3.1 document, completed by what FastAPI cannot see.

Policy's dependency reads the tenant and the resource's name from the path, so those parameters are added here, with
the bearer token that all but the public routes need. The problems that a route can answer follow from what it is: a
body can be too large, a permission can be missing, If-Match can be stale. A status outside that list is a defect,
and the tests look for one: there is no `default` that would allow everything.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, iter_route_contexts

from control_plane.foundation.openness import Public
from control_plane.http.problems import MEDIA_TYPE
from control_plane.policy.asking import Authenticated, Requires, asking_of

_PARAMETER: Final = re.compile(r"\{(\w+)(?::\w+)?\}")
_METHODS: Final = frozenset({"get", "put", "post", "delete", "patch"})
_CHANGES: Final = _METHODS - {"get"}
_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457; `code` is stable, other members depend on it.",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "request_id": {"type": "string"},
    },
}


def install(app: FastAPI) -> None:
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]  # FastAPI's documented way


def operation_id(route: APIRoute) -> str:
    """By method and address, so that renaming a function changes no generated client."""
    words = [f"by_{part[1:-1]}" if part.startswith("{") else part for part in route.path_format.split("/") if part]
    return re.sub(r"\W+", "_", "_".join([*sorted(route.methods or ()), *words])).lower()


def _document(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        routes = app.routes
        document = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=routes)
        components = document.setdefault("components", {})
        components.setdefault("schemas", {})["Problem"] = _PROBLEM
        components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
        asked = {
            (route.path_format, method.lower()): asking_of(route.endpoint)
            for route in iter_route_contexts(routes)
            for method in route.methods or ()
        }
        for path, operations in document.get("paths", {}).items():
            for method, operation in operations.items():
                if method in _METHODS:
                    _complete(path, method, operation, asked.get((path, method)))
        app.openapi_schema = document
    return app.openapi_schema


def _complete(path: str, method: str, operation: dict[str, Any], asking: object) -> None:
    parameters = operation.setdefault("parameters", [])
    named = {parameter["name"] for parameter in parameters if parameter["in"] == "path"}
    parameters.extend(
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(path)
        if name not in named
    )
    if not parameters:
        del operation["parameters"]
    responses = operation.setdefault("responses", {})
    responses.pop("422", None)  # FastAPI's own shape of it; ours are problems
    own = frozenset(
        HTTPStatus(int(code)) for code in responses if code.startswith("4") and not responses[code].get("content")
    )
    for status in sorted(_problems(path, method, operation, asking) | own):
        told = responses.setdefault(str(status.value), {})
        told.setdefault("description", f"{status.phrase}, as a problem (RFC 9457)")
        told.setdefault("content", {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}})
    if isinstance(asking, Requires):
        operation["x-permission"] = asking.permission.value
    if not isinstance(asking, Public):
        operation["security"] = [{"bearer": []}]


def _problems(path: str, method: str, operation: dict[str, Any], asking: object) -> frozenset[HTTPStatus]:
    """What can go wrong with such a route, by what it takes and what it asks."""
    found = {HTTPStatus.SERVICE_UNAVAILABLE}
    parameters = operation.get("parameters", ())
    if parameters or "requestBody" in operation:
        found |= {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}
    if "requestBody" in operation:
        found |= {HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE}
    if any(parameter["in"] == "header" and parameter["name"].lower() == "if-match" for parameter in parameters):
        found.add(HTTPStatus.PRECONDITION_FAILED)
    if not isinstance(asking, Public):
        found |= {HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS}
    if isinstance(asking, Requires):
        found |= {HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}
    if isinstance(asking, Authenticated) and "{tenant}" in path:
        found.add(HTTPStatus.NOT_FOUND)
    if method in _CHANGES and not isinstance(asking, Public):
        found.add(HTTPStatus.CONFLICT)
    return frozenset(found)
