"""Exit codes: stable, others script against them. One table from what went wrong to the code."""

from __future__ import annotations

from enum import IntEnum

from client.sdk.errors import ApiError, BadExport, ClientError, NotSignedIn


class Exit(IntEnum):
    OK = 0
    ERROR = 1
    USAGE = 2
    DENIED = 3
    NOT_SIGNED_IN = 4
    WAITING_FOR_APPROVAL = 5
    CONFLICT = 6
    VERIFICATION_FAILED = 7


_BY_CODE = {"not_approved": Exit.WAITING_FOR_APPROVAL, "invalid_template": Exit.USAGE}
_BY_STATUS = {401: Exit.NOT_SIGNED_IN, 403: Exit.DENIED, 409: Exit.CONFLICT, 412: Exit.CONFLICT, 422: Exit.USAGE}


def code_of(problem: ClientError) -> Exit:
    if isinstance(problem, NotSignedIn):
        return Exit.NOT_SIGNED_IN
    if isinstance(problem, BadExport):
        return Exit.VERIFICATION_FAILED
    if isinstance(problem, ApiError):
        return _BY_CODE.get(problem.code) or _BY_STATUS.get(problem.status, Exit.ERROR)
    return Exit.ERROR
