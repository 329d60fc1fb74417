"""What can go wrong on this side, as data. The CLI maps these to exit codes in one table.

ClientError
  NotSignedIn     no token, or the refresh token is no longer good
  Unreachable     no answer from the control plane
  ApiError        the control plane said no: an RFC 9457 problem
  SignInFailed    the issuer refused, or nobody answered in time
  BadExport       an audit export that is not one
"""

from __future__ import annotations

from collections.abc import Mapping


class ClientError(Exception):
    """`str()` is one sentence for a person, with what to do."""


class NotSignedIn(ClientError):
    pass


class Unreachable(ClientError):
    pass


class SignInFailed(ClientError):
    pass


class BadExport(ClientError):
    pass


class ApiError(ClientError):
    """A problem document. `code` is the stable word; `extra` the members beyond the standard ones."""

    def __init__(self, status: int, code: str, detail: str, extra: Mapping[str, object]) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.extra = dict(extra)
