"""Which logins are one person, over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from control_plane.foundation.bodies import Body
from control_plane.foundation.provision import provided
from control_plane.policy.asking import Granted, requires
from control_plane.policy.model import Permission
from control_plane.policy.persons import PersonLink, PersonLinks

router = APIRouter(tags=["reviews"])
Links = Annotated[PersonLinks, Depends(provided(PersonLinks))]


class PersonLinkIn(Body):
    subject: str = Field(max_length=700, description="The second login, or the service account: issuer|sub.")
    person: str = Field(max_length=700, description="Whose it is.")


class PersonLinkOut(BaseModel):
    subject: str
    person: str
    linked_by: str
    linked_at: datetime

    @classmethod
    def of(cls, link: PersonLink) -> PersonLinkOut:
        return cls(subject=link.subject, person=link.person, linked_by=link.linked_by, linked_at=link.linked_at)


class PersonLinksOut(BaseModel):
    items: list[PersonLinkOut]
    next: None = None


@router.get("/v1/tenants/{tenant}/person-links")
@requires(Permission.MEMBER_READ)
async def list_links(grant: Granted, links: Links) -> PersonLinksOut:
    return PersonLinksOut(items=[PersonLinkOut.of(link) for link in await links.list(grant)])


@router.post("/v1/tenants/{tenant}/person-links", status_code=201)
@requires(Permission.MEMBER_WRITE)
async def link(grant: Granted, body: PersonLinkIn, links: Links) -> PersonLinkOut:
    """Say that two logins are one person, or whose a service account is. It is not taken back."""
    return PersonLinkOut.of(await links.link(grant, body.subject, body.person))
