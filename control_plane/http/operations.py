"""policies/operations.yaml -> Operations: who gets which answer from every operation of the API and every RPC.

The table repeats on purpose what the routes declare: a route that appears, goes or changes its permission needs a line
that somebody wrote and somebody reviewed. `bootstrap` compares the two at start-up; tests/matrix asks every cell of the
real server and the real gateway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from control_plane.delivery.rpc_table import RPCS
from control_plane.foundation.openness import Public
from control_plane.http.asking_check import StartupError
from control_plane.policy.asking import Authenticated, Requires, asking_of

OPERATIONS_FILE: Final = Path(__file__).resolve().parents[2] / "policies" / "operations.yaml"
PUBLIC: Final = "public"
SIGNED_IN: Final = "signed-in"
_SECTIONS: Final = frozenset({"apiVersion", "kind", "answers", "permissions", "operations", "rpcs"})


@dataclass(frozen=True)
class Held:
    """Who may, of those who hold one role and nothing else; and whether a program with that role may.

    `suspended`: whether they still may while their tenant is suspended.
    """

    roles: frozenset[str]
    programs: bool
    suspended: bool


@dataclass(frozen=True)
class Operations:
    """`operations`: "GET /v1/me" -> a permission, `public` or `signed-in`; `answers`: kind -> who -> answer."""

    answers: Mapping[str, Mapping[str, str]]
    permissions: Mapping[str, Held]
    operations: Mapping[str, str]
    rpcs: Mapping[str, Mapping[str, str]]


def read_operations(path: Path = OPERATIONS_FILE) -> Operations:
    """Raises StartupError."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict) or set(document) != _SECTIONS or document["kind"] != "Operations":
        raise StartupError(f"{path.name}: expected a document of kind Operations with {', '.join(sorted(_SECTIONS))}")
    return Operations(
        answers=_table(document["answers"]),
        permissions={str(name): _held(str(name), body) for name, body in document["permissions"].items()},
        operations={str(name): str(asked) for name, asked in document["operations"].items()},
        rpcs=_table(document["rpcs"]),
    )


def check_operations(app: FastAPI, table: Operations) -> None:
    """Raises StartupError with the lines to write."""
    served = dict(served_operations(app))
    missing = [f"  {name}: {asked}" for name, asked in served.items() if name not in table.operations]
    other = [
        f"  {name}: {asked}    # stands there as {table.operations[name]}"
        for name, asked in served.items()
        if table.operations.get(name, asked) != asked
    ]
    unknown = [
        f"  {asked}: {{roles: [...], programs: true}}    # under `permissions`"
        for asked in sorted(set(served.values()) - {PUBLIC, SIGNED_IN} - set(table.permissions))
    ]
    rpcs = [f"  {name}: {{...}}    # under `rpcs`" for name in sorted(set(RPCS) ^ set(table.rpcs))]
    if lines := [*missing, *other, *unknown, *rpcs]:
        raise StartupError(
            "policies/operations.yaml does not say who may do this; decide, then write:\n" + "\n".join(lines)
        )


def served_operations(app: FastAPI) -> Iterator[tuple[str, str]]:
    """(method and address, what it asks) of every route."""
    for route in iter_route_contexts(app.routes):
        asking = asking_of(route.endpoint)
        for method in sorted(route.methods or ()):
            name = f"{method} {route.path_format}"
            if isinstance(asking, Requires):
                yield name, asking.permission.value
            elif isinstance(asking, Authenticated):
                yield name, SIGNED_IN
            elif isinstance(asking, Public):
                yield name, PUBLIC


def _table(given: Any) -> dict[str, dict[str, str]]:
    return {str(name): {str(who): str(answer) for who, answer in row.items()} for name, row in given.items()}


def _held(name: str, body: Any) -> Held:
    if not isinstance(body, dict) or not {"roles", "programs"} <= set(body) <= {"roles", "programs", "suspended"}:
        raise StartupError(
            f"policies/operations.yaml, permission {name}: expected `roles`, `programs`, no more than `suspended`"
        )
    return Held(frozenset(map(str, body["roles"])), body["programs"] is True, body.get("suspended", False) is True)
