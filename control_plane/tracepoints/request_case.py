"""A stored request -> the bytes that its reviewers say yes to, and the Case by which their reviews are counted.

The rules are those of `templates.counting`: of these bytes, by a person who neither asked nor wrote the template, who
was a reviewer when it was asked for and is one now; a person counts once. What was asked for stands in the row, so the
bytes are made again from it at each look: a row that somebody changed has no approvals.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.errors import Conflict
from control_plane.foundation.identifiers import SubjectId, TenantId
from control_plane.policy.model import Permission
from control_plane.templates.counting import Case, Panel, counted, missing
from control_plane.templates.model import ApprovedTemplate, Review
from control_plane.templates.ports import Reviewers
from control_plane.templates.requirements import Requirement
from control_plane.tracepoints.reading import reviews_of
from control_plane.tracepoints.tables import TracepointRow

GOOD_FOR: Final = timedelta(days=7)  # a yes to a request with a start in the future, and the furthest such start


@dataclass(frozen=True)
class Need:
    """How many people have to say yes to one request, and why."""

    approvals: int
    why: tuple[str, ...]

    def document(self) -> dict[str, object]:
        return {"approvals": self.approvals, "why": list(self.why)}


def request_digest(row: TracepointRow) -> str:
    """Of all that a reviewer is asked about; anything else would be another request."""
    asked = {
        "tenant": row.tenant,
        "id": row.id,
        "name": row.name,
        "template": row.template_name,
        "version": row.template_version,
        "digest": row.template_digest,
        "parameters": row.parameters,
        "target": row.target,
        "ttl_ms": row.ttl_ms,
        "starts_at": row.starts_at.isoformat() if row.starts_at else None,
        "requested_by": row.requested_by,
        "process_cap": row.process_cap,
    }
    written = json.dumps(asked, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return "sha256:" + hashlib.sha256(written).hexdigest()


def unchanged(row: TracepointRow) -> str:
    """Its digest. Raises Conflict when the row is not what was asked for any more."""
    digest = request_digest(row)
    if digest != row.request_digest:
        raise Conflict(
            f"the stored request {row.id} is not the one that was asked for: it was changed behind the control plane's "
            "back; ask again and look into the log",
            code="changed_after_approval",
        )
    return digest


async def case_of(
    session: AsyncSession,
    reviewers: Reviewers,
    row: TracepointRow,
    approved: ApprovedTemplate,
    now: datetime,
    more: int = 0,
) -> Case:
    """`approved` is the template as of now; `more` is what the fleet guard asks for now. Raises Conflict."""
    tenant = TenantId(row.tenant)
    requester = SubjectId(row.requested_by)
    said = await reviews_of(session, row)
    at_request = Panel({SubjectId(who): frozenset(roles) for who, roles in row.panel.items()})
    known = {requester, *at_request.roles, *(review.reviewer for review in said)}
    persons = await reviewers.persons(session, tenant, known)
    needed = max(int(row.needs.get("approvals", 0)), approved.requirement.requests + more)
    return Case(
        digest=unchanged(row),
        panel=at_request.both(await reviewers.panel(session, tenant, Permission.TRACEPOINT_APPROVE)),
        persons=persons,
        authors=frozenset({requester, persons.get(requester, requester)}) | approved.authors,
        requirement=Requirement(needed, frozenset(), GOOD_FOR, tuple(row.needs.get("why", ()))),
        now=now,
    )


def lacking(case: Case, said: tuple[Review, ...]) -> tuple[str, ...]:
    """What is still missing, in words."""
    return missing(case.requirement, counted(case, said))
