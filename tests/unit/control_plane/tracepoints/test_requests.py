"""Requests that somebody has to say yes to, and those that start later: by whom, to which bytes, until when."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import update

from control_plane.foundation.errors import Conflict, Denied, Invalid, NotFound
from control_plane.identity.model import PrincipalKind
from control_plane.policy.locks import LockKind
from control_plane.policy.model import Permission
from control_plane.tracepoints.lifecycle import State
from control_plane.tracepoints.tables import TracepointRow
from language.model import TargetSpec
from tests.builders.audit_trail import actions, entries
from tests.builders.principals import grant, principal

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def approving(by, kind=PrincipalKind.PERSON):
    return grant(Permission.TRACEPOINT_APPROVE, by=principal(by, kind))


async def yes(world, found, by="dora", **changed):
    return await world.requests.approve(approving(by), found.id, changed.get("digest", found.asking.digest))


async def test_a_request_waits_for_a_yes_and_is_on_no_host_before_it(asking) -> None:
    found = await asking.request(ttl=5 * MINUTE)
    assert (found.state, found.version, found.asking.needs) == (State.AWAITING, 0, 1)
    assert await asking.starting.start_due() == 0
    assert await asking.desired() == []

    assert (await yes(asking, found)).state is State.SCHEDULED
    assert await asking.starting.start_due() == 1
    [spec] = await asking.desired()
    assert (spec.tracepoint_id, spec.ttl.ToTimedelta()) == (found.id, 5 * MINUTE)
    assert spec.requested_by.endswith("|carol")
    shown = await asking.show(found.id)
    assert (shown.state, shown.version, [r.reviewer_name for r in shown.asking.reviews]) == (State.PENDING, 1, ["dora"])
    assert [pair for pair in await actions(asking.database) if pair[0].startswith("tracepoint")] == [
        ("tracepoint.request", "success"),
        ("tracepoint.approve", "success"),
        ("tracepoint.start", "success"),
        ("tracepoint.seal", "success"),
        ("tracepoint.publish", "success"),
    ]


async def test_the_same_request_again_is_the_one_that_waits(asking) -> None:
    first, again = await asking.request(), await asking.request()
    assert first.id == again.id
    assert (await asking.request(ttl=MINUTE)).id != first.id


@pytest.mark.parametrize("who", ["carol", "alice", "carol-2"])
async def test_who_asked_or_wrote_it_says_no_yes(asking, who) -> None:
    asking.reviewers.roles |= {who: frozenset({"reviewer"})}
    asking.reviewers.links["carol-2"] = "carol"
    found = await asking.request()
    with pytest.raises(Denied) as refused:
        await yes(asking, found, who)
    assert refused.value.code == "separation_of_duties"
    assert (await actions(asking.database))[-1] == ("tracepoint.approve", "refused")


async def test_a_service_account_says_no_yes(asking) -> None:
    found = await asking.request()
    with pytest.raises(Denied, match="a review is a person's"):
        await asking.requests.approve(approving("dora", PrincipalKind.SERVICE), found.id, found.asking.digest)


async def test_who_becomes_a_reviewer_meanwhile_does_not_count(asking) -> None:
    del asking.reviewers.roles["erin"]
    found = await asking.request()
    asking.reviewers.roles["erin"] = frozenset({"reviewer"})
    with pytest.raises(Denied) as refused:
        await yes(asking, found, "erin")
    assert refused.value.code == "not_on_the_panel"


async def test_an_approver_who_left_before_the_start_does_not_count(asking) -> None:
    found = await asking.request()
    await yes(asking, found)
    del asking.reviewers.roles["dora"]
    await asking.starting.start_due()
    shown = await asking.show(found.id)
    assert (shown.state, shown.end_reason) == (State.FAILED, "not_started")
    assert "0 of 1 approvals that count today" in shown.detail
    assert await asking.desired() == []


async def test_other_bytes_than_the_shown_ones_are_not_approved(asking) -> None:
    first = await asking.request(parameters={"minUnits": 1})
    other = await asking.request(parameters={"minUnits": 2})
    with pytest.raises(Conflict) as refused:
        await yes(asking, other, digest=first.asking.digest)
    assert refused.value.code == "digest_mismatch"


@pytest.mark.parametrize(
    "changed",
    [{"parameters": {"minUnits": 900}}, {"target": {"service": "x"}}, {"ttl_ms": 1}, {"requested_by": "h|erin"}],
)
async def test_a_request_changed_behind_the_approval_does_not_start(asking, changed) -> None:
    found = await asking.request(parameters={"minUnits": 5})
    await yes(asking, found)
    async with asking.database.transaction("acme") as session:
        its = (TracepointRow.tenant == "acme", TracepointRow.id == found.id)
        await session.execute(update(TracepointRow).where(*its).values(**changed))
    await asking.starting.start_due()
    assert (await asking.show(found.id)).state is State.FAILED
    assert await asking.desired() == []


async def test_a_no_wins_until_it_has_started_and_says_why(asking) -> None:
    found = await asking.request()
    await yes(asking, found)
    with pytest.raises(Invalid):
        await asking.requests.deny(approving("erin"), found.id, found.asking.digest, " ")
    denied = await asking.requests.deny(approving("erin"), found.id, found.asking.digest, "not today")
    assert (denied.state, denied.end_reason, denied.detail) == (State.DENIED, "denied", "denied by erin: not today")
    assert await asking.starting.start_due() == 0
    with pytest.raises(Conflict) as refused:
        await yes(asking, found)
    assert refused.value.code == "wrong_state"


async def test_a_request_lapses(asking) -> None:
    found = await asking.request()
    asking.clock.advance(24 * HOUR)
    with pytest.raises(Conflict) as refused:
        await yes(asking, found)
    assert refused.value.code == "lapsed"
    await asking.starting.start_due()
    assert (await asking.show(found.id)).state is State.LAPSED
    assert (await actions(asking.database))[-1] == ("tracepoint.lapse", "success")


async def test_what_was_approved_for_so_long_is_not_renewed_without_another_yes(asking) -> None:
    found = await asking.request()
    await yes(asking, found)
    await asking.starting.start_due()
    with pytest.raises(Conflict) as refused:
        await asking.renew(found.id, MINUTE)
    assert refused.value.code == "approval_per_request"
    again = await asking.request()
    assert (again.state, again.id == found.id) == (State.AWAITING, False)
    await yes(asking, again)
    await asking.starting.start_due()
    assert [spec.tracepoint_id for spec in await asking.desired()] == [again.id]
    assert (await asking.show(found.id)).end_reason == "replaced"


async def test_a_withdrawn_request_is_over(asking) -> None:
    found = await asking.request()
    ended = await asking.delete(found.id)
    assert (ended.state, ended.end_reason) == (State.ENDED, "deleted")
    with pytest.raises(Conflict):
        await yes(asking, found)


async def test_a_template_revoked_while_its_request_waits_stops_it(asking) -> None:
    found = await asking.request()
    await yes(asking, found)
    await asking.templates.revoke(grant(Permission.TEMPLATE_RETIRE, by="bob"), "money-sum", 1, "a leak")
    assert await asking.enforcement.enforce() == 1
    shown = await asking.show(found.id)
    assert (shown.state, shown.end_reason) == (State.ENDED, "revoked")
    assert await asking.starting.start_due() == 0


async def test_a_start_in_the_future_is_sealed_when_it_is_due_and_not_before(world) -> None:
    await world.approved()
    at = world.clock.now() + HOUR
    found = await world.request(starts_at=at, ttl=5 * MINUTE, target=TargetSpec(pids=(3,)))
    assert (found.state, found.asking.needs, found.asking.starts_at) == (State.SCHEDULED, 0, at)
    world.clock.advance(HOUR - timedelta(seconds=1))
    assert await world.starting.start_due() == 0
    world.clock.advance(timedelta(seconds=1))
    assert await world.starting.start_due() == 1
    [spec] = await world.desired()
    assert spec.issued_at.ToDatetime(at.tzinfo) == at
    assert (await world.show(found.id)).expires_at == at + 5 * MINUTE


@pytest.mark.parametrize("ahead", [-2 * MINUTE, timedelta(days=8)])
async def test_a_start_too_far_away_is_refused(world, ahead) -> None:
    await world.approved()
    with pytest.raises(Invalid) as refused:
        await world.request(starts_at=world.clock.now() + ahead)
    assert refused.value.code == "bad_start"


@pytest.mark.parametrize("kind", [LockKind.USER, LockKind.TEMPLATE, LockKind.DIGEST, LockKind.EVERYTHING])
async def test_a_lock_before_the_start_stops_it_and_its_release_starts_nothing(world, kind) -> None:
    version = await world.approved()
    found = await world.request(starts_at=world.clock.now() + HOUR)
    values = {LockKind.USER: principal("carol").id, LockKind.TEMPLATE: "money-sum", LockKind.DIGEST: version.digest}
    locking = grant(Permission.LOCK_WRITE, by="admin")
    lock = await world.locks.lock(locking, kind, values.get(kind, ""), "an incident")
    assert await world.enforcement.enforce() == 1
    await world.locks.release(locking, lock.id)
    world.clock.advance(2 * HOUR)
    assert await world.starting.start_due() == 0
    shown = await world.show(found.id)
    assert (shown.state, shown.end_reason) == (State.ENDED, "locked")


async def test_a_lock_at_the_very_start_is_not_overtaken(world) -> None:
    await world.approved()
    found = await world.request(starts_at=world.clock.now() + HOUR)
    world.clock.advance(HOUR)
    await world.locks.lock(grant(Permission.LOCK_WRITE, by="admin"), LockKind.EVERYTHING, "", "an incident")
    await world.starting.start_due()
    shown = await world.show(found.id)
    assert (shown.state, "an incident" in shown.detail) == (State.FAILED, True)
    assert await world.desired() == []


async def test_who_may_not_any_more_has_nothing_started(world) -> None:
    await world.approved()
    found = await world.request(starts_at=world.clock.now() + HOUR)
    world.clock.advance(HOUR)
    world.deciding.gone.add("carol")
    await world.starting.start_due()
    assert (await world.show(found.id)).detail == "not started: carol holds no role any more"
    ended = (await entries(world.database))[-1]
    assert (ended["action"], ended["outcome"]) == ("tracepoint.end", "failed")


async def test_a_start_waits_for_redis_and_happens_once(world) -> None:
    await world.approved()
    found = await world.request(starts_at=world.clock.now() + HOUR)
    world.clock.advance(HOUR)
    world.store.away = True
    with pytest.raises(Exception, match="Redis"):
        await world.starting.start_due()
    assert (await world.show(found.id)).state is State.SCHEDULED
    world.store.away = False
    await asyncio.gather(world.starting.start_due(), world.starting.start_due())
    assert [spec.version for spec in await world.desired()] == [1]


async def test_a_request_of_another_tenant_is_absent(asking) -> None:
    found = await asking.request()
    elsewhere = grant(Permission.TRACEPOINT_APPROVE, by="dora", tenant="globex")
    with pytest.raises(NotFound):
        await asking.requests.approve(elsewhere, found.id, found.asking.digest)
