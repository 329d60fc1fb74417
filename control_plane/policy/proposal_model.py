"""What waits for a second person, and what a step supplies so that its changes can: the Kind of a proposal.

Pure. `proposals.Proposals` asks a kind what a change would do and why somebody else must agree, and lets it do it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.audit_trail import AuditAction
from control_plane.foundation.identifiers import SubjectId, TenantId
from control_plane.policy.model import Asker, Grant, Permission

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Payload = Mapping[str, Any]


class ProposalState(StrEnum):
    PROPOSED = "proposed"
    APPLIED = "applied"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    LAPSED = "lapsed"
    STALE = "stale"  # what it would have changed, or what its author may, is another by now


@dataclass(frozen=True)
class Description:
    """What a change would do, seen from now. `needs` says why somebody else must agree; empty when nobody must.

    `base` is a digest of what it changes, the same whoever asks. `not_held` is what the asker would give without having
    it. `detail` goes into the log beside the summary.
    """

    summary: tuple[str, ...]
    needs: tuple[str, ...] = ()
    base: str = ""
    not_held: tuple[str, ...] = ()
    detail: Mapping[str, object] = field(default_factory=dict)


class Kind(Protocol[T_co]):
    """One sort of change. Both methods run in the caller's transaction; neither writes to the log: `Proposals` does."""

    @property
    def name(self) -> str: ...
    @property
    def permission(self) -> Permission:
        """What the change itself needs, of its author and of the second person."""
        ...

    @property
    def guard(self) -> Permission | None:
        """What stands in for holding what one gives; None when nothing does."""
        ...

    @property
    def action(self) -> AuditAction:
        """What the change is called in the log when it is done."""
        ...

    def resource(self, payload: Payload) -> str:
        """What it changes, for the log: "member/<subject>"."""
        ...

    def named(self, payload: Payload) -> str:
        """The name that the permission is asked on, "*" where the route asks without one."""
        ...

    async def describe(self, session: AsyncSession, tenant: TenantId, asker: Asker, payload: Payload) -> Description:
        """Raises Invalid, Conflict, NotFound, Stale, Denied. Changes nothing."""
        ...

    async def enact(self, session: AsyncSession, grant: Grant, payload: Payload, author: SubjectId) -> T_co:
        """Do it. `grant` is of who decided: the author, or the second person."""
        ...


@dataclass(frozen=True)
class Proposal:
    id: str
    kind: str
    resource: str
    payload: Payload
    digest: str
    summary: tuple[str, ...]
    needs: tuple[str, ...]
    message: str
    state: ProposalState
    author: SubjectId
    created_at: datetime
    lapses_at: datetime
    decided_by: str
    decided_at: datetime | None
    reason: str


@dataclass(frozen=True)
class Applied(Generic[T]):
    """Done at once: nobody else had to agree."""

    value: T
    summary: tuple[str, ...]


@dataclass(frozen=True)
class Proposed:
    """Nothing has changed yet."""

    proposal: Proposal
