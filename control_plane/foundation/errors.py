"""Everything that can be wrong on this side, as data. A domain error knows nothing of HTTP or gRPC.

    ProbegateError
      Unauthenticated            401   who you are could not be established
        StepUpRequired           401   not freshly or strongly enough for this: how old and how strong it must be
      Denied                     403   known, but not allowed: the rule and the missing condition
      NotFound                   404   absent, or of another tenant: the same answer
      Invalid                    422   the request itself: what was expected, what came, where
        InvalidTemplate          422   with line and column
      Conflict                   409   the state does not allow it (wrong digest, wrong state, name taken)
      Stale                      412   If-Match does not match
      TooMany                    429   a quota
      AuditUnavailable           503   no audit, no action
      DependencyUnavailable      503   Redis, the database, an agent

`control_plane.http.problems` maps them to status codes (RFC 9457), `delivery` to gRPC codes.
"""

from __future__ import annotations

from collections.abc import Mapping


class ProbegateError(Exception):
    """`code` is a stable word for programs; `str()` is one sentence for a person; `extra` goes into the problem."""

    code = "error"

    def __init__(self, detail: str, *, code: str | None = None, extra: Mapping[str, object] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code
        self.extra: dict[str, object] = dict(extra or {})


class Unauthenticated(ProbegateError):
    code = "unauthenticated"


class StepUpRequired(Unauthenticated):
    """`extra` has `max_age` in seconds and `acr_values` separated by spaces, empty when any strength will do (RFC 9470)."""

    code = "step_up_required"


class Denied(ProbegateError):
    code = "denied"


class NotFound(ProbegateError):
    code = "not_found"


class Invalid(ProbegateError):
    code = "invalid"


class InvalidTemplate(Invalid):
    code = "invalid_template"


class Conflict(ProbegateError):
    code = "conflict"


class Stale(ProbegateError):
    code = "stale"


class TooMany(ProbegateError):
    code = "too_many"


class AuditUnavailable(ProbegateError):
    code = "audit_unavailable"


class DependencyUnavailable(ProbegateError):
    code = "dependency_unavailable"
