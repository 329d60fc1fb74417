"""A version of a template, what people said about it, and the proof that it was approved."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from control_plane.foundation.identifiers import SubjectId
from control_plane.templates.lifecycle import State
from control_plane.templates.requirements import Requirement
from language.diff import Change
from language.model import Template
from language.risk import Risk, RiskClass
from language.script import Deployment, Display


class Verdict(StrEnum):
    APPROVE = "approve"
    REJECT = "reject"


@dataclass(frozen=True)
class Review:
    """What one person said of one version. `digest` is of the bytes that they saw."""

    reviewer: SubjectId
    reviewer_name: str
    verdict: Verdict
    digest: str
    comment: str
    at: datetime


@dataclass(frozen=True)
class Approval:
    """One person's yes that counts: to these very bytes, by somebody who did not write them."""

    person: SubjectId
    at: datetime
    roles: frozenset[str] = frozenset()  # that this person held when the version was submitted, and holds still


@dataclass(frozen=True)
class TemplateVersion:
    """One submission, as it stands. Proves nothing about approval, whatever `state` says."""

    name: str
    version: int
    digest: str
    state: State
    source: str
    template: Template
    author: SubjectId
    author_name: str
    message: str
    created_at: datetime
    risk: Risk
    requirement: Requirement
    lapses_at: datetime
    reviews: tuple[Review, ...] = ()

    @property
    def etag(self) -> str:
        """Changes with everything that a reviewer decides by: the bytes, the state, what others said."""
        said = "".join(f"{review.reviewer}{review.verdict}{review.at}" for review in self.reviews)
        return hashlib.sha256(f"{self.digest} {self.version} {self.state} {said}".encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Submitted:
    """What one source text came to: its versions, and what a PxL script asks for besides."""

    versions: tuple[TemplateVersion, ...]
    deployments: tuple[Deployment, ...]
    deletions: tuple[str, ...]
    displays: tuple[Display, ...]


@dataclass(frozen=True)
class Page:
    items: tuple[TemplateVersion, ...]
    next: str | None  # an opaque cursor


@dataclass(frozen=True)
class Difference:
    """Between two versions of one template; `before` is 0 when nothing was approved before `after`."""

    before: int
    after: int
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class ApprovedTemplate:
    """A version that enough people approved, checked against its bytes just now, for this tenant.

    Proves: `canonical` has the digest that every one of `approvals` named; none of them wrote it; they are all that
    `requirement` asks for, by people who may review today. Does not prove that its fields have masking, nor that the one who asks for it did not approve it:
    `tracepoints` checks that. Minted by `control_plane.templates.service` only.
    """

    name: str
    version: int
    template: Template
    canonical: bytes
    digest: str
    approvals: tuple[Approval, ...]
    author: SubjectId
    requirement: Requirement
    persons: Mapping[SubjectId, SubjectId] = field(default_factory=dict)  # logins that are another person's
    risk: RiskClass | None = None  # as computed now; a rule of the policy may speak of it
    authors: frozenset[SubjectId] = frozenset()  # persons and logins that wrote what is new in it

    @property
    def required(self) -> int:
        return self.requirement.approvals

    def person(self, subject: SubjectId) -> SubjectId:
        return self.persons.get(subject, subject)
