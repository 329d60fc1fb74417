"""Walk all routes of an app: each declares exactly one of requires, public, authenticated, and takes what it declared.

What it takes as a body is a `Body`: bounded to the members it names, of texts that can be kept.

Run at start-up by `app.create_app`, and by the architecture tests.
"""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.params import Form
from fastapi.routing import RouteContext, iter_route_contexts

from control_plane.foundation.bodies import Body
from control_plane.policy.asking import Authenticated, Requires, asking_of, granted, signed_in


class StartupError(Exception):
    """The server does not start like this; the text says what to change."""


def undeclared_routes(app: FastAPI) -> tuple[str, ...]:
    """One line a route that does not say, or does not do, what it asks; empty when all is well."""
    return tuple(problem for route in iter_route_contexts(app.routes) if (problem := _problem(route)))


def check_routes(app: FastAPI) -> None:
    """Raises StartupError."""
    problems = undeclared_routes(app)
    if problems:
        raise StartupError("routes that do not say what they ask:\n  " + "\n  ".join(problems))


def _problem(route: RouteContext) -> str:
    where = f"{','.join(sorted(route.methods or ()))} {route.path}"
    asking = asking_of(route.endpoint)
    if asking is None:
        return f"{where}: declare @requires(Permission.…), @authenticated(reason) or @public(reason)"
    if isinstance(asking, Requires):
        if granted not in set(_calls(route)):
            return f"{where}: declares {asking.permission} but takes no parameter `grant: Granted`"
        if asking.name is not None and f"{{{asking.name}" not in (route.path or ""):
            return f"{where}: names the path parameter {asking.name!r}, which its path does not have"
    elif isinstance(asking, Authenticated) and signed_in not in set(_calls(route)):
        return f"{where}: declares @authenticated but takes no parameter `principal: SignedIn`"
    return next((f"{where}: its body {kind} is no foundation.bodies.Body" for kind in _other_bodies(route)), "")


def _other_bodies(route: RouteContext) -> Iterator[str]:
    for parameter in getattr(route.dependant, "body_params", ()):
        kind = parameter.field_info.annotation
        if isinstance(parameter.field_info, Form):  # the console's own pages
            continue
        if not (isinstance(kind, type) and issubclass(kind, Body)):
            yield str(kind)


def _calls(route: RouteContext) -> Iterator[object]:
    waiting = [route.dependant]
    while waiting:
        dependant = waiting.pop()
        if isinstance(dependant, Dependant):
            yield dependant.call
            waiting.extend(dependant.dependencies)
