"""The break-glass right: what it skips and what it never does, who is told, and how it suspends itself."""

from __future__ import annotations

from datetime import timedelta

import pytest

from control_plane.foundation.errors import Conflict, Denied, Invalid, NotFound
from control_plane.identity.model import PrincipalKind
from control_plane.policy.locks import LockKind
from control_plane.policy.model import Permission
from control_plane.tracepoints.lifecycle import State
from control_plane.tracepoints.model import BreakGlass, RequestTracepoint
from tests.builders.audit_trail import actions, entries
from tests.builders.principals import grant, principal
from tests.builders.templates import SUM_YAML

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
WHY = BreakGlass("checkout is down", "INC-4711")
SLOW = SUM_YAML.replace("ttl: 10m", "ttl: 2h")


async def broken(world, by="carol", why=WHY, kind=PrincipalKind.PERSON, **chosen):
    asker = grant(Permission.TRACEPOINT_BREAK_GLASS, by=principal(by, kind))
    return await world.service.request(asker, RequestTracepoint("money-sum", break_glass=why, **chosen))


async def looked_at(world, found, by="dora", *, ok=True, comment=""):
    asker = grant(Permission.TRACEPOINT_APPROVE, by=by)
    return await world.glass.review(asker, found.id, ok=ok, comment=comment)


async def told(world, **chosen):
    return (await world.notices.page(grant(Permission.TENANT_READ, by="vera"), **chosen)).items


async def test_it_starts_without_the_yes_that_a_request_needs_and_is_masked(asking) -> None:
    found = await broken(asking)
    assert (found.state, found.version) == (State.PENDING, 1)
    [spec] = await asking.desired()
    assert [rule.column for rule in spec.masking] == list(found.columns)


async def test_the_template_has_to_be_approved_all_the_same(world) -> None:
    await world.templates.submit(grant(Permission.TEMPLATE_SUBMIT), SUM_YAML)
    with pytest.raises(Conflict) as refused:
        await broken(world)
    assert refused.value.code == "not_approved"
    assert await world.desired() == []


async def test_a_lock_holds_all_the_same(asking) -> None:
    await asking.locks.lock(grant(Permission.LOCK_WRITE, by="admin"), LockKind.EVERYTHING, "", "an incident")
    with pytest.raises(Denied) as refused:
        await broken(asking)
    assert refused.value.code == "locked"
    assert await told(asking) == ()


async def test_who_approved_the_template_alone_cannot_use_it_so(asking) -> None:
    with pytest.raises(Denied) as refused:
        await broken(asking, by="bob")
    assert refused.value.code == "separation_of_duties"


async def test_fifteen_minutes_at_most_and_never_renewed(world) -> None:
    await world.approved(SLOW)
    with pytest.raises(Invalid, match="the cap of the break-glass right: ask for 15m at most"):
        await broken(world, ttl=16 * MINUTE)
    found = await broken(world)
    assert found.ttl == 15 * MINUTE
    with pytest.raises(Conflict) as refused:
        await world.renew(found.id, MINUTE)
    assert refused.value.code == "break_glass_renewal"
    with pytest.raises(Conflict):
        await world.request()


@pytest.mark.parametrize(
    ("why", "code"),
    [
        (BreakGlass("  ", "INC-1"), "no_reason"),
        (BreakGlass("down", ""), "no_ticket"),
        (BreakGlass("x", "a b"), "no_ticket"),
    ],
)
async def test_reason_and_ticket_are_required(asking, why, code) -> None:
    with pytest.raises(Invalid) as refused:
        await broken(asking, why=why)
    assert refused.value.code == code


async def test_a_program_cannot_and_the_permission_to_request_is_not_enough(asking) -> None:
    with pytest.raises(Denied, match="signed in themselves"):
        await broken(asking, kind=PrincipalKind.SERVICE)
    with pytest.raises(Denied, match="its own permission"):
        await asking.request(break_glass=WHY)


async def test_everybody_is_told_at_once_in_notice_and_log(asking) -> None:
    found = await broken(asking)
    [notice] = await told(asking, still_open=True)
    for part in ("carol broke the glass", "money-sum@1", "INC-4711", "checkout is down", f"review {found.id}"):
        assert part in notice.text
    assert ("tracepoint.break_glass", "success") in await actions(asking.database)
    entry = next(e for e in await entries(asking.database) if e["action"] == "tracepoint.break_glass")
    assert (entry["actor"], entry["detail"]["ticket"]) == (principal("carol").id, "INC-4711")


async def test_nobody_told_means_nothing_started(asking) -> None:
    from control_plane.foundation.audit_trail import AuditAction
    from control_plane.foundation.errors import AuditUnavailable

    asking.trail.broken = {AuditAction.TRACEPOINT_BREAK_GLASS}
    with pytest.raises(AuditUnavailable):
        await broken(asking)
    assert await asking.desired() == []


async def test_a_look_within_a_day_closes_the_notice_and_keeps_the_right(asking) -> None:
    found = await broken(asking)
    use = await looked_at(asking, found)
    assert (use.verdict, use.reviewer) == ("ok", principal("dora").id)
    assert await told(asking, still_open=True) == ()
    assert len(await told(asking)) == 1
    asking.clock.advance(25 * HOUR)
    assert (await broken(asking)).state is State.PENDING


async def test_nobody_looked_within_a_day_and_the_right_suspends_itself(asking) -> None:
    asking.reviewers.links["carol-2"] = "carol"
    found = await broken(asking)
    asking.clock.advance(24 * HOUR)
    for who in ("carol", "carol-2"):
        with pytest.raises(Denied, match="nobody looked at it within 1d") as refused:
            await broken(asking, by=who)
        assert refused.value.code == "break_glass_suspended"
        assert refused.value.extra["uses"] == [found.id]
        assert f"probegate tracepoint review {found.id}" in refused.value.detail
    assert (await broken(asking, by="frank", name="franks")).state is State.PENDING, "of that person only"
    await looked_at(asking, found)
    assert (await broken(asking)).state is State.PENDING


async def test_a_use_that_was_not_right_suspends_it_until_another_look(asking) -> None:
    found = await broken(asking)
    with pytest.raises(Invalid, match="say why"):
        await looked_at(asking, found, ok=False)
    await looked_at(asking, found, ok=False, comment="there was no incident")
    with pytest.raises(Denied, match="there was no incident"):
        await broken(asking)
    await looked_at(asking, found, "erin")
    assert (await broken(asking)).state is State.PENDING
    assert [action for action, _ in await actions(asking.database)].count("tracepoint.review") == 3


@pytest.mark.parametrize("who", ["carol", "carol-2"])
async def test_nobody_reviews_their_own_use(asking, who) -> None:
    asking.reviewers.links["carol-2"] = "carol"
    found = await broken(asking)
    with pytest.raises(Denied) as refused:
        await looked_at(asking, found, who)
    assert refused.value.code == "separation_of_duties"


async def test_what_was_asked_for_in_the_ordinary_way_has_no_such_review(world) -> None:
    await world.approved()
    found = await world.request()
    with pytest.raises(NotFound, match="nobody broke the glass"):
        await looked_at(world, found)
