"""How a route gets its service: `bootstrap` puts each one under its type, routes ask for the type."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from starlette.requests import HTTPConnection

T = TypeVar("T")


class Provision:
    """Services by type; built once in `bootstrap`, kept in `app.state.provision`."""

    def __init__(self) -> None:
        self._services: dict[type, object] = {}

    def add(self, kind: type[T], service: T) -> None:
        self._services[kind] = service

    def get(self, kind: type[T]) -> T:
        service = self._services[kind]
        if not isinstance(service, kind):
            raise TypeError(f"{kind.__name__} was provided as {type(service).__name__}")
        return service


def provided(kind: type[T]) -> Callable[[HTTPConnection], T]:
    """A FastAPI dependency: `Annotated[TemplateService, Depends(provided(TemplateService))]`."""

    def dependency(connection: HTTPConnection) -> T:
        provision: Provision = connection.app.state.provision
        return provision.get(kind)

    return dependency
