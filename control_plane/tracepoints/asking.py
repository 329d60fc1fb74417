"""What was asked for, checked against what was approved: approvals that count, parameters, target, TTL, name.

Pure; the service calls it inside its transaction.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from control_plane.foundation.errors import Denied, Invalid
from control_plane.foundation.identifiers import SubjectId
from control_plane.templates.counting import missing
from control_plane.templates.model import ApprovedTemplate
from control_plane.tracepoints.model import RequestTracepoint
from control_plane.tracepoints.reading import target_document
from language import parameters, rules
from language.durations import render
from language.errors import TemplateError
from language.model import ParameterScalar, TargetSpec
from language.narrowing import narrow

MIN_TTL: Final = timedelta(seconds=1)  # shorter than the way to an agent
MAX_AHEAD: Final = timedelta(days=7)  # of a scheduled start: as long as a yes to the request is good for
BREAK_GLASS_TTL: Final = timedelta(minutes=15)  # and never renewed: a longer incident has time for a reviewer
LATE: Final = timedelta(minutes=1)  # a start so long ago is taken as now: clocks differ
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)
_LIKE_AN_ID: Final = re.compile(r"tp_[0-9a-f]{24}", re.ASCII)


@dataclass(frozen=True)
class Asked:
    """A request that fits its template. `fingerprint` is of all that a requester chose but the TTL."""

    name: str
    parameters: Mapping[str, ParameterScalar]
    target: TargetSpec
    ttl: timedelta
    fingerprint: str
    starts_at: datetime | None = None


def asked(approved: ApprovedTemplate, request: RequestTracepoint, max_ttl: timedelta, now: datetime) -> Asked:
    """Raises Invalid: what was allowed, what came."""
    name = request.name or approved.name
    if not _NAME.fullmatch(name) or _LIKE_AN_ID.fullmatch(name):
        raise Invalid(f"a tracepoint's name is 1 to 63 letters, digits, _, . and -, {name[:80]!r} came")
    try:
        values = parameters.bind(approved.template, request.parameters)
        target = narrow(approved.template.target, rules.checked_target(request.target))
    except TemplateError as error:
        raise Invalid(str(error)) from error
    bounds = dict(caps(approved, max_ttl))
    if request.break_glass is not None:
        bounds["the break-glass right"] = BREAK_GLASS_TTL
    ttl = granted_ttl(request.ttl, bounds)
    chosen = [approved.digest, dict(values), target_document(target)]
    written = json.dumps(chosen, sort_keys=True, separators=(",", ":")).encode()
    fingerprint = "sha256:" + hashlib.sha256(written).hexdigest()
    return Asked(name, values, target, ttl, fingerprint, _start(request, now))


def _start(request: RequestTracepoint, now: datetime) -> datetime | None:
    """None: at once. Raises Invalid."""
    start = request.starts_at
    if start is None:
        return None
    if start.tzinfo is None or not now - LATE <= start <= now + MAX_AHEAD:
        raise Invalid(
            f"a start lies within the next {render(MAX_AHEAD)} and names its zone, {start.isoformat()} came",
            code="bad_start",
        )
    if request.break_glass is not None:
        raise Invalid("who breaks the glass starts at once, or asks in the ordinary way", code="bad_start")
    return start if start > now else None


def caps(approved: ApprovedTemplate, max_ttl: timedelta) -> Mapping[str, timedelta]:
    """What bounds a TTL, by the words for it."""
    return {
        f"the template {approved.name} version {approved.version}": approved.template.limits.ttl,
        "this server": max_ttl,
    }


def granted_ttl(ttl: timedelta | None, bounds: Mapping[str, timedelta]) -> timedelta:
    """What was asked for, or the longest allowed. Over a cap is refused, not silently cut. Raises Invalid."""
    if ttl is None:
        return min(bounds.values())
    if ttl < MIN_TTL or ttl.microseconds % 1000:
        raise Invalid(f"a ttl is {render(MIN_TTL)} or more, in whole milliseconds; {render(ttl)} came")
    for whose, cap in sorted(bounds.items(), key=lambda bound: bound[1]):
        if ttl > cap:
            raise Invalid(
                f"a ttl of {render(ttl)} is over the cap of {whose}: ask for {render(min(bounds.values()))} at most, "
                "and renew it while it is needed",
                code="ttl_over_cap",
                extra={"cap": render(cap), "whose": whose},
            )
    return ttl


def refuse_own_approval(approved: ApprovedTemplate, requester: SubjectId) -> None:
    """Separation of duties: an approval by the one who asks does not count. Raises Denied."""
    lacking = missing(approved.requirement, approved.approvals, {requester, approved.person(requester)})
    if lacking:
        raise Denied(
            f"you approved {approved.name} version {approved.version} yourself: who asks for a tracepoint cannot be the "
            f"one who approved it; without you there are {' and '.join(lacking)}: somebody else approves, or asks",
            code="separation_of_duties",
        )
