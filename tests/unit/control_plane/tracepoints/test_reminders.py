from __future__ import annotations

from datetime import timedelta

import pytest

from control_plane.foundation.audit_trail import AuditAction
from control_plane.foundation.errors import AuditUnavailable
from control_plane.tracepoints.reminders import Reminders
from tests.builders.audit_trail import entries
from tests.unit.control_plane.tracepoints.test_break_glass import broken, looked_at, told

HOUR = timedelta(hours=1)


@pytest.fixture
def reminders(asking) -> Reminders:
    return Reminders(asking.database, asking.trail, asking.clock)


async def kinds(world) -> list[str]:
    return [notice.kind for notice in await told(world, still_open=True)]


async def test_with_four_hours_left_everybody_is_told_once_who_has_to_look_and_at_what(asking, reminders) -> None:
    found = await broken(asking)
    asking.clock.advance(20 * HOUR - timedelta(seconds=1))
    assert await reminders.remind() == 0
    asking.clock.advance(timedelta(seconds=1))
    assert [await reminders.remind(), await reminders.remind()] == [1, 0]
    [notice, _] = await told(asking, still_open=True)
    assert notice.kind == "break_glass_review_due"
    for part in ("carol broke the glass", "4h or less", "INC-4711", f"tracepoint review {found.id}"):
        assert part in notice.text
    last = (await entries(asking.database))[-1]
    assert (last["action"], last["detail"]["notice"]) == ("tracepoint.review_due", "break_glass_review_due")


async def test_when_the_day_is_over_the_suspension_is_told_and_the_warning_closed(asking, reminders) -> None:
    await broken(asking)
    asking.clock.advance(20 * HOUR)
    await reminders.remind()
    asking.clock.advance(4 * HOUR)
    assert [await reminders.remind(), await reminders.remind()] == [1, 0]
    assert await kinds(asking) == ["break_glass_review_overdue", "break_glass"]
    assert "the right is suspended for carol" in (await told(asking))[0].text


async def test_a_review_closes_them_and_nothing_more_is_told(asking, reminders) -> None:
    found = await broken(asking)
    asking.clock.advance(24 * HOUR)
    await reminders.remind()
    await looked_at(asking, found)
    assert await kinds(asking) == []
    assert await reminders.remind() == 0


async def test_what_cannot_be_logged_is_not_told_and_is_tried_again(asking, reminders) -> None:
    await broken(asking)
    asking.clock.advance(24 * HOUR)
    asking.trail.broken = {AuditAction.TRACEPOINT_REVIEW_DUE}
    with pytest.raises(AuditUnavailable):
        await reminders.remind()
    assert await kinds(asking) == ["break_glass"]
    asking.trail.broken = set()
    assert await reminders.remind() == 1
