"""Reviews of one version -> the approvals that count, and what is still missing. Pure: no order, no repetition changes it.

An approval counts when it is of these bytes, by a person and not by a login that one of the authors owns, who was a
reviewer when the version was submitted and is one now, who is not locked, and not longer ago than the requirement allows.
A person counts once, whatever number of roles or logins they have.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from control_plane.foundation.identifiers import SubjectId
from control_plane.templates.model import Approval, Review, Verdict
from control_plane.templates.requirements import Requirement


@dataclass(frozen=True)
class Panel:
    """Who may review: subject -> every role that they hold, those of included roles too."""

    roles: Mapping[SubjectId, frozenset[str]]

    def both(self, other: Panel) -> Panel:
        """Those who are on both, with the roles that they hold on both."""
        return Panel({who: roles & other.roles[who] for who, roles in self.roles.items() if who in other.roles})


@dataclass(frozen=True)
class Case:
    """Everything that decides, gathered in the transaction that decides."""

    digest: str
    panel: Panel  # at submission and now
    persons: Mapping[SubjectId, SubjectId]  # login -> person, for those where they differ
    authors: frozenset[SubjectId]  # persons who wrote what is new in it
    requirement: Requirement
    now: datetime

    def person(self, subject: SubjectId) -> SubjectId:
        return self.persons.get(subject, subject)


def counted(case: Case, reviews: Iterable[Review]) -> tuple[Approval, ...]:
    """One for each person, the newest of theirs, in the order of their names."""
    found: dict[SubjectId, Approval] = {}
    for review in reviews:
        person = case.person(review.reviewer)
        if (
            review.verdict is not Verdict.APPROVE
            or review.digest != case.digest
            or review.reviewer not in case.panel.roles
            or person in case.authors
            or review.reviewer in case.authors
            or case.now - review.at > case.requirement.good_for
        ):
            continue
        roles = case.panel.roles[review.reviewer]
        before = found.get(person)
        if before is not None:
            found[person] = Approval(person, max(before.at, review.at), before.roles | roles)
        else:
            found[person] = Approval(person, review.at, roles)
    return tuple(found[person] for person in sorted(found))


def missing(
    requirement: Requirement, approvals: Iterable[Approval], without: Collection[SubjectId] = ()
) -> tuple[str, ...]:
    """What is not there yet, in words; empty when it is enough. `without`: persons whose yes does not count here."""
    counting = [approval for approval in approvals if approval.person not in without]
    lacking = []
    if len(counting) < requirement.approvals:
        lacking.append(f"{len(counting)} of {requirement.approvals} approvals")
    held = frozenset(role for approval in counting for role in approval.roles)
    lacking += [f"none by a {role}" for role in sorted(requirement.roles - held)]
    return tuple(lacking)
