"""Who is asking."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from control_plane.foundation.identifiers import SubjectId


class PrincipalKind(StrEnum):
    PERSON = "person"
    SERVICE = "service"


@dataclass(frozen=True)
class Limits:
    """What a credential that may do less than its owner is good for. Policy decides as ever; then these take away.

    `permissions` are exact words, and none is nothing. `tenant` is the only one it works in, any when empty.
    """

    permissions: frozenset[str]
    tenant: str = ""
    credential: str = ""  # the id of a personal token, for the log


@dataclass(frozen=True)
class Principal:
    """Somebody whose token was valid just now.

    Proves: an issuer that this server trusts vouched for (issuer, subject), for this audience, unexpired.
    Does not prove membership of any tenant, nor any right. Minted by `control_plane.identity.service` only.
    """

    issuer: str
    subject: str
    kind: PrincipalKind
    display_name: str  # for people to read; never compared
    authenticated_at: datetime | None
    scopes: frozenset[str]
    groups: frozenset[str] = frozenset()  # of the issuer; a tenant's policy says which roles they stand for there
    context_class: str = ""  # `acr`: how strongly the issuer says it knew them
    limits: Limits | None = None

    @property
    def id(self) -> SubjectId:
        return SubjectId(f"{self.issuer}|{self.subject}")

    @property
    def in_person(self) -> bool:
        """Somebody who signed in themselves: neither a program, nor a token that acts for a person."""
        return self.kind is PrincipalKind.PERSON and self.limits is None
