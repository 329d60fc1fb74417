from __future__ import annotations

from datetime import UTC, datetime

import control_plane.identity.tables  # noqa: F401 - its tables must exist
from control_plane.foundation.clock import ManualClock
from control_plane.foundation.identifiers import TenantId
from control_plane.policy.locks import LockKind, LockService
from control_plane.policy.model import Permission
from control_plane.policy.persons import PersonLinks
from control_plane.policy.roles import read_roles
from control_plane.templates.reviewers import MemberReviewers
from tests.builders.audit_trail import BreakableTrail
from tests.builders.governing import ungoverned
from tests.builders.principals import grant
from tests.builders.reviews import subject

ACME = TenantId("acme")
MEMBERS = {
    "bob": ["reviewer"],
    "dora": ["developer", "reviewer"],
    "erin": ["data-owner"],
    "fred": ["developer"],
    "gina": ["reviewer", "auditor"],
}


async def test_the_panel_are_the_members_who_may_review_and_are_not_locked(database) -> None:
    clock = ManualClock(datetime(2026, 11, 24, 12, tzinfo=UTC))
    trail = BreakableTrail(database, clock)
    membership = ungoverned(database, trail, clock).membership
    await membership.unsafe_create_tenant("acme", "", "admin")
    for name, roles in MEMBERS.items():
        await membership.unsafe_put_member(ACME, name, roles)
    reviewers = MemberReviewers(read_roles(), clock)
    async with database.transaction(ACME) as session:
        panel = await reviewers.panel(session, ACME)
    assert set(panel.roles) == {subject(name) for name in ("bob", "dora", "erin", "gina")}
    assert panel.roles[subject("erin")] == {"data-owner", "reviewer", "viewer"}

    locks = LockService(database, trail, clock)
    await locks.lock(grant(Permission.LOCK_WRITE, by="admin"), LockKind.USER, subject("bob"), "on leave")
    await locks.lock(grant(Permission.LOCK_WRITE, by="admin"), LockKind.ROLE, "auditor", "under investigation")
    async with database.transaction(ACME) as session:
        panel = await reviewers.panel(session, ACME)
    assert set(panel.roles) == {subject("dora"), subject("erin")}


async def test_links_lead_to_one_person_however_they_are_chained(database) -> None:
    clock = ManualClock(datetime(2026, 11, 24, 12, tzinfo=UTC))
    links = PersonLinks(database, BreakableTrail(database, clock), clock)
    admin = grant(Permission.MEMBER_WRITE, by="admin")
    for one, other in [("a", "b"), ("b", "c"), ("x", "y"), ("y", "x")]:
        await links.link(admin, subject(one), subject(other))
    everybody = {subject(name) for name in "abcxyz"}
    async with database.transaction(ACME) as session:
        persons = await MemberReviewers(read_roles(), clock).persons(session, ACME, everybody)
    assert {persons[subject(name)] for name in "abc"} == {subject("c")}
    assert persons[subject("x")] == persons[subject("y")]
    assert persons[subject("z")] == subject("z")
