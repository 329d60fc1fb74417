"""Where somebody who is not signed in yet learns how: the issuers, for the command line and the SDK."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from control_plane.foundation.openness import public
from control_plane.foundation.provision import provided
from control_plane.identity.relying_party.code_flow import CodeFlow

router = APIRouter(tags=["signing in"])


class SignInIssuerOut(BaseModel):
    """`issuer` is what its discovery document must say; `client_id`, `scopes`, `resource` are the command line's there."""

    name: str
    label: str
    issuer: str
    client_id: str
    scopes: list[str]
    resource: str


class SignInOut(BaseModel):
    items: list[SignInIssuerOut]
    next: str | None = None


@router.get("/v1/sign-in")
@public("who signs in must be able to read where")
async def sign_in(flow: Annotated[CodeFlow, Depends(provided(CodeFlow))]) -> SignInOut:
    """Issuers that the command line can sign in at, in the order of the settings; each has its own discovery document."""
    return SignInOut(
        items=[
            SignInIssuerOut(
                name=one.name,
                label=one.label,
                issuer=one.issuer,
                client_id=one.command_line.client_id,
                scopes=list(one.command_line.scopes),
                resource=one.command_line.resource,
            )
            for one in flow.issuers.all
            if one.command_line
        ]
    )
