"""Changes that wait for a second person, over HTTP: list, show, approve, reject, withdraw.

Any route whose change may need one answers 200 with what was done, or 202 with the proposal: `WAITS` documents that,
`waiting` makes the answer.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from control_plane.foundation.bodies import Body
from control_plane.foundation.provision import provided
from control_plane.policy.asking import Granted, requires
from control_plane.policy.model import Grant, Permission
from control_plane.policy.proposal_model import Proposal, ProposalState, Proposed
from control_plane.policy.proposals import MAX_LISTED, MAX_MESSAGE, Proposals

router = APIRouter(tags=["proposals"])
Waiting = Annotated[Proposals, Depends(provided(Proposals))]
Id = Annotated[str, Path(pattern=r"^pr_[0-9a-f]{24}$")]


class ProposalOut(BaseModel):
    """`summary` is what it would change, in lines for people; `needs` is why a second person must agree."""

    id: str
    kind: str
    resource: str
    digest: str
    state: ProposalState
    summary: list[str]
    needs: list[str]
    message: str
    author: str
    created_at: datetime
    lapses_at: datetime
    decided_by: str
    decided_at: datetime | None
    reason: str

    @classmethod
    def of(cls, proposal: Proposal) -> ProposalOut:
        return cls(
            id=proposal.id,
            kind=proposal.kind,
            resource=proposal.resource,
            digest=proposal.digest,
            state=proposal.state,
            summary=list(proposal.summary),
            needs=list(proposal.needs),
            message=proposal.message,
            author=proposal.author,
            created_at=proposal.created_at,
            lapses_at=proposal.lapses_at,
            decided_by=proposal.decided_by,
            decided_at=proposal.decided_at,
            reason=proposal.reason,
        )


class ProposalShown(ProposalOut):
    """With all of what was proposed, and the members who could agree to it."""

    payload: dict[str, Any]
    who_can_agree: list[str]


class ProposalsOut(BaseModel):
    items: list[ProposalOut]
    next: str | None


class DigestIn(Body):
    digest: str = Field(max_length=80, description="Of the proposal: what was looked at.")


class ReasonIn(Body):
    reason: str = Field(min_length=1, max_length=MAX_MESSAGE)


WAITS: Final[dict[int | str, dict[str, Any]]] = {
    202: {"model": ProposalOut, "description": "Nothing has changed: a second person must agree to this proposal"}
}


def waiting(grant: Grant, outcome: Proposed) -> JSONResponse:
    """202 with the proposal, and where it is approved."""
    proposal = outcome.proposal
    address = f"/v1/tenants/{grant.resource.tenant}/proposals/{proposal.id}"
    return JSONResponse(ProposalOut.of(proposal).model_dump(mode="json"), 202, headers={"Location": address})


@router.get("/v1/tenants/{tenant}/proposals")
@requires(Permission.POLICY_READ)
async def list_proposals(
    grant: Granted,
    proposals: Waiting,
    state: ProposalState | None = None,
    cursor: Annotated[str, Query(max_length=40)] = "",
) -> ProposalsOut:
    """The newest first."""
    found = await proposals.list(grant, state, cursor)
    return ProposalsOut(
        items=[ProposalOut.of(proposal) for proposal in found], next=found[-1].id if len(found) == MAX_LISTED else None
    )


@router.get("/v1/tenants/{tenant}/proposals/{proposal}")
@requires(Permission.POLICY_READ, name="proposal")
async def show_proposal(grant: Granted, proposal: Id, proposals: Waiting) -> ProposalShown:
    found = await proposals.show(grant, proposal)
    return ProposalShown(
        **ProposalOut.of(found).model_dump(),
        payload=dict(found.payload),
        who_can_agree=list(await proposals.who_can_agree(grant, found)),
    )


@router.post("/v1/tenants/{tenant}/proposals/{proposal}/approve")
@requires(Permission.PROPOSAL_DECIDE, name="proposal")
async def approve_proposal(grant: Granted, proposal: Id, body: DigestIn, proposals: Waiting) -> ProposalOut:
    """A second person's yes to these bytes, who holds what the change itself needs: it is done."""
    return ProposalOut.of(await proposals.approve(grant, proposal, body.digest))


@router.post("/v1/tenants/{tenant}/proposals/{proposal}/reject")
@requires(Permission.PROPOSAL_DECIDE, name="proposal")
async def reject_proposal(grant: Granted, proposal: Id, body: ReasonIn, proposals: Waiting) -> ProposalOut:
    return ProposalOut.of(await proposals.reject(grant, proposal, body.reason))


@router.post("/v1/tenants/{tenant}/proposals/{proposal}/withdraw")
@requires(Permission.PROPOSAL_DECIDE, name="proposal")
async def withdraw_proposal(grant: Granted, proposal: Id, proposals: Waiting) -> ProposalOut:
    """Its author takes it back."""
    return ProposalOut.of(await proposals.withdraw(grant, proposal))
