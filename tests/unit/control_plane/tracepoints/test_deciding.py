from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from control_plane.foundation.errors import Denied, NotFound
from control_plane.foundation.identifiers import TenantId
from control_plane.identity.model import Limits
from control_plane.policy.index import base_of
from control_plane.policy.membership import MembershipService
from control_plane.policy.model import Permission
from control_plane.policy.proposals import Proposals
from control_plane.policy.roles import read_roles
from control_plane.policy.service import PolicyService
from control_plane.tracepoints.deciding import Requesters
from control_plane.tracepoints.model import RequestTracepoint
from control_plane.tracepoints.tables import TracepointRow
from tests.builders.principals import ISSUER, grant, principal

ACME = TenantId("acme")
TOKEN = Limits(frozenset({Permission.TRACEPOINT_REQUEST.value}), "acme", "pt_1")


@pytest.fixture
async def asked(world):
    """What carol asked for with a token, for later; the policy and the members are real."""
    policy = PolicyService(world.database, world.trail, read_roles(), world.clock)
    proposals = Proposals(world.database, world.trail, world.clock, policy)
    members = MembershipService(world.database, world.trail, base_of(read_roles()), world.clock, ISSUER, proposals)
    await members.unsafe_create_tenant("acme", "", "root")
    await members.unsafe_put_member(ACME, principal("carol").id, ["developer"])
    await world.approved()
    by = replace(principal("carol"), limits=TOKEN)
    request = RequestTracepoint("money-sum", starts_at=world.clock.now() + timedelta(hours=1))
    found = await world.service.request(grant(Permission.TRACEPOINT_REQUEST, by=by), request)
    async with world.database.transaction(ACME) as session:
        row = await session.get_one(TracepointRow, ("acme", found.id))
    return Requesters(policy), row, members


async def test_a_start_is_decided_within_the_limits_of_the_token_it_was_asked_with(asked) -> None:
    requesters, row, _ = asked
    found = await requesters.requester(row)
    assert found.principal.limits == TOKEN
    assert not found.principal.in_person


@pytest.mark.parametrize("limits", [{"permissions": ["tracepoint:read"]}, {"permissions": []}, {"tenant": "globex"}])
async def test_what_the_token_did_not_allow_then_is_not_allowed_at_the_start(asked, limits) -> None:
    requesters, row, _ = asked
    row.requester = row.requester | {"limits": row.requester["limits"] | limits}
    with pytest.raises((Denied, NotFound)):
        await requesters.requester(row)


async def test_what_policy_does_not_allow_any_more_is_not_brought_back_by_the_token(asked) -> None:
    requesters, row, members = asked
    await members.unsafe_put_member(ACME, principal("carol").id, ["viewer"])
    with pytest.raises(Denied):
        await requesters.requester(row)


async def test_who_signed_in_themselves_has_no_limits(world, asked) -> None:
    requesters, _, _ = asked
    found = await world.request(by="carol", starts_at=world.clock.now() + timedelta(hours=2), name="own")
    async with world.database.transaction(ACME) as session:
        row = await session.get_one(TracepointRow, ("acme", found.id))
    assert (await requesters.requester(row)).principal.limits is None
