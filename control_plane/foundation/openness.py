"""How a route that anybody may call says so, and why. The other declarations, and the check, are in `policy.asking`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

DECLARED: Final = "__probegate_asking__"
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


@dataclass(frozen=True)
class Public:
    reason: str


def public(reason: str) -> Callable[[Endpoint], Endpoint]:
    """Anybody may call this route, because of the reason."""
    return declare(Public(reason))


def declare(asking: object) -> Callable[[Endpoint], Endpoint]:
    def put(endpoint: Endpoint) -> Endpoint:
        if hasattr(endpoint, DECLARED):
            raise TypeError(f"{endpoint.__qualname__} declares twice what it asks")
        setattr(endpoint, DECLARED, asking)
        return endpoint

    return put
