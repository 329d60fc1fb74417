"""Domain errors -> gRPC status codes, the one table of it; what is not in it is INTERNAL and says nothing."""

from __future__ import annotations

import logging
from typing import Any, Final, NoReturn

import grpc

from control_plane.foundation.errors import (
    AuditUnavailable,
    Conflict,
    Denied,
    DependencyUnavailable,
    Invalid,
    NotFound,
    ProbegateError,
    Stale,
    TooMany,
    Unauthenticated,
)

STATUS: Final = {
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    Denied: grpc.StatusCode.PERMISSION_DENIED,
    NotFound: grpc.StatusCode.NOT_FOUND,
    Invalid: grpc.StatusCode.INVALID_ARGUMENT,
    Conflict: grpc.StatusCode.FAILED_PRECONDITION,
    Stale: grpc.StatusCode.ABORTED,
    TooMany: grpc.StatusCode.RESOURCE_EXHAUSTED,
    AuditUnavailable: grpc.StatusCode.UNAVAILABLE,
    DependencyUnavailable: grpc.StatusCode.UNAVAILABLE,
}

log = logging.getLogger(__name__)


async def abort(context: Any, error: BaseException) -> NoReturn:
    """End the call with the status of the error; of the first one, when it is a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, ProbegateError):
        code = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), grpc.StatusCode.INTERNAL)
        await context.abort(code, error.detail)
    log.error("a call of an agent failed", exc_info=error)
    await context.abort(grpc.StatusCode.INTERNAL, "the gateway failed; its log says how")
    raise AssertionError("abort returned")  # grpc.aio's abort always raises
