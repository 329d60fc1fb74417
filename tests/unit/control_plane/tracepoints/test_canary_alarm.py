"""An agent that found a planted card in clear stops its tenant, whatever else it has to say."""

from __future__ import annotations

from wire.v1 import gateway_pb2

from control_plane.foundation.identifiers import TenantId
from control_plane.policy.locks import ITSELF, LockKind, active_locks
from control_plane.policy.model import Permission
from control_plane.tracepoints.lifecycle import State
from control_plane.tracepoints.notices import NoticeKind
from tests.builders.audit_trail import actions
from tests.builders.principals import grant

ENDED = gateway_pb2.STATE_ENDED


async def test_the_tenant_is_locked_once_and_what_runs_is_taken_back(world) -> None:
    await world.approved()
    running = await world.request()
    for agent in ("ag_1", "ag_1", "ag_2"):
        await world.says(agent, running, ENDED, end_reason="canary", detail="a planted card came out in clear in note")
    async with world.database.transaction(TenantId("acme")) as session:
        [lock] = await active_locks(session, "acme", world.clock.now())
    assert (lock.kind, lock.value, lock.created_by) == (LockKind.TENANT, "acme", ITSELF)
    assert "in clear in note" in lock.reason
    shown = await world.notices.page(grant(Permission.TRACEPOINT_READ), still_open=True)
    assert [notice.kind for notice in shown.items] == [NoticeKind.CANARY]
    logged = [action for action, _ in await actions(world.database)]
    assert (logged.count("masking.canary"), logged.count("lock.create")) == (2, 1)
    found = await world.show()
    assert (found.state, found.end_reason) == (State.ENDED, "canary")
