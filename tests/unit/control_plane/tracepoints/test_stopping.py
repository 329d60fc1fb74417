from __future__ import annotations

from datetime import timedelta

import pytest
from wire.v1 import gateway_pb2

from control_plane.foundation.errors import Denied
from control_plane.foundation.identifiers import TenantId
from control_plane.identity.model import PrincipalKind
from control_plane.policy.index import base_of
from control_plane.policy.membership import MembershipService
from control_plane.policy.model import Permission
from control_plane.policy.proposals import Proposals
from control_plane.policy.roles import read_roles
from control_plane.policy.service import PolicyService
from control_plane.tracepoints.deciding import Requesters
from control_plane.tracepoints.lifecycle import State
from control_plane.tracepoints.stopping import Stopping
from control_plane.tracepoints.tables import TracepointRow
from tests.builders.audit_trail import entries
from tests.builders.principals import ISSUER, grant, principal

HOUR = timedelta(hours=1)


async def test_who_asked_for_it_stops_it(world) -> None:
    await world.approved()
    await world.request(by="carol")
    assert (await world.delete(by="carol")).state is State.STOPPING


async def test_a_developer_who_did_not_ask_for_it_is_refused_and_told_whom_to_ask(world) -> None:
    await world.approved()
    found = await world.request(by="carol")
    with pytest.raises(Denied, match=r"carol asked for it: ask them, or somebody with tracepoint:stop-any") as refused:
        await world.delete(by="erin")
    assert (refused.value.code, refused.value.extra["requested_by"]) == ("not_yours", "carol")
    assert refused.value.extra["roles_that_allow"] == ["tenant-admin"]
    assert (await world.show()).state is State.PENDING
    assert [spec.tracepoint_id for spec in await world.desired()] == [found.id]
    last = (await entries(world.database))[-1]
    assert (last["action"], last["outcome"], last["detail"]["code"]) == ("tracepoint.delete", "refused", "not_yours")


async def test_the_same_person_stops_it_over_another_login(world) -> None:
    await world.approved()
    await world.request(by="carol-the-robot")
    world.reviewers.links = {"carol-the-robot": "carol"}
    assert (await world.delete(by="carol")).state is State.STOPPING


async def test_who_may_stop_any_does_and_the_log_says_whose_it_was(world) -> None:
    await world.approved()
    await world.request(by="carol")
    world.deciding.stop_any = {"ada"}
    found = await world.delete(by="ada")
    assert (found.state, found.end_reason, found.detail) == (State.STOPPING, "deleted", "stopped by ada")
    last = (await entries(world.database))[-1]
    assert (last["actor"], last["detail"]["requested_by"]) == (principal("ada").id, principal("carol").id)


async def test_what_waits_is_withdrawn_by_who_asked_only(world) -> None:
    await world.approved()
    await world.request(by="carol", starts_at=world.clock.now() + HOUR)
    with pytest.raises(Denied):
        await world.delete(by="erin")
    assert (await world.delete(by="carol")).state is State.ENDED


async def test_a_name_in_use_by_somebody_else_is_not_taken_over(world) -> None:
    await world.approved()
    first = await world.request(by="carol")
    with pytest.raises(Denied, match="take another name"):
        await world.request(by="erin", parameters={"minUnits": 9})
    assert [spec.tracepoint_id for spec in await world.desired()] == [first.id]
    assert (await world.request(by="erin", parameters={"minUnits": 9}, name="erins")).state is State.PENDING


async def test_a_start_in_the_future_does_not_take_over_a_name_either(world) -> None:
    await world.approved()
    later = await world.request(by="erin", parameters={"minUnits": 9}, starts_at=world.clock.now() + HOUR)
    world.clock.advance(HOUR)
    first = await world.request(by="carol")
    await world.starting.start_due()
    assert [spec.tracepoint_id for spec in await world.desired()] == [first.id]
    ended = await world.show(later.id)
    assert ended.state is State.FAILED
    assert "carol asked for it" in ended.detail


@pytest.mark.parametrize(
    ("roles", "kind", "allowed"),
    [
        (["developer"], PrincipalKind.PERSON, False),
        (["responder"], PrincipalKind.PERSON, True),
        (["tenant-admin"], PrincipalKind.PERSON, True),
        (["developer", "reviewer"], PrincipalKind.PERSON, False),
        (["responder", "auditor"], PrincipalKind.PERSON, False),
        (["responder"], PrincipalKind.SERVICE, True),
    ],
)
async def test_the_platforms_roles_say_who_stops_what_others_asked_for(world, roles, kind, allowed) -> None:
    policy = PolicyService(world.database, world.trail, read_roles(), world.clock)
    proposals = Proposals(world.database, world.trail, world.clock, policy)
    members = MembershipService(world.database, world.trail, base_of(read_roles()), world.clock, ISSUER, proposals)
    await members.unsafe_create_tenant("acme", "", "root")
    await members.unsafe_put_member(TenantId("acme"), principal("erin").id, roles)
    await world.approved()
    found = await world.request(by="carol")
    stopping = Stopping(world.reviewers, Requesters(policy))
    asker = grant(Permission.TRACEPOINT_DELETE, by=principal("erin", kind))
    async with world.database.transaction(TenantId("acme")) as session:
        row = await session.get_one(TracepointRow, ("acme", found.id))
        if allowed:
            assert await stopping.refuse_others(session, asker, row)
            return
        with pytest.raises(Denied) as refused:
            await stopping.refuse_others(session, asker, row)
    if "auditor" not in roles:  # a deny is not mended by another role
        assert {"responder", "tenant-admin"} <= set(refused.value.extra["roles_that_allow"])


async def test_the_end_by_a_hosts_owner_is_kept_and_logged_once_even_when_it_is_only_told_again(world) -> None:
    await world.approved()
    found = await world.request()
    await world.says("ag_1", found, gateway_pb2.STATE_ARMED, event="agent.attach")
    told = {"end_reason": "host_owner", "detail": "the host's owner stopped it: maintenance"}
    for _ in range(2):
        await world.says("ag_1", found, gateway_pb2.STATE_ENDED, **told)  # its word with the event was lost on the way
    status = next(each for each in (await world.show()).agents if each.agent == "ag_1")
    assert (status.state, status.end_reason, status.detail) == ("ended", *told.values())
    [logged] = [entry for entry in await entries(world.database) if entry["action"] == "agent.detach"]
    assert (logged["actor"], logged["detail"]["end_reason"]) == ("agent:ag_1", "host_owner")
    assert "maintenance" in logged["detail"]["detail"]
    await world.says("ag_2", found, gateway_pb2.STATE_ENDED, **told)
    ended = await world.show()
    assert (ended.state, ended.end_reason) == (State.ENDED, "host_owner")
