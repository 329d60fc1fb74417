"""require: the only mint of a Grant; each answer is in the log before it is given."""

from __future__ import annotations

import pytest

from control_plane.foundation.audit_trail import AuditAction
from control_plane.foundation.errors import AuditUnavailable, Denied, NotFound
from control_plane.foundation.identifiers import TenantId
from control_plane.identity.model import PrincipalKind
from control_plane.policy.model import Permission, Resource
from tests.builders.audit_trail import actions, entries
from tests.builders.principals import principal


async def test_a_yes_is_a_grant_for_exactly_what_was_asked(world):
    grant = await world.ask("alice", Permission.MEMBER_READ)

    assert (grant.principal.subject, grant.permission, grant.resource) == (
        "alice",
        Permission.MEMBER_READ,
        Resource(TenantId("acme"), "member", "*"),
    )


async def test_a_yes_and_a_no_are_both_in_the_tenants_log(world):
    await world.ask("alice", Permission.MEMBER_READ)
    with pytest.raises(Denied):
        await world.ask("alice", Permission.TEMPLATE_REVIEW)

    assert (await actions(world.database))[-2:] == [("policy.allow", "success"), ("policy.deny", "refused")]
    assert (await entries(world.database))[-1]["detail"]["permission"] == "template:review"


async def test_no_log_no_grant(world):
    world.trail.broken = {AuditAction.POLICY_ALLOW}

    with pytest.raises(AuditUnavailable):
        await world.ask("alice", Permission.MEMBER_READ)


async def test_a_tenant_that_is_not_yours_answers_like_an_absent_one(world):
    with pytest.raises(NotFound) as others:
        await world.ask("mallory", Permission.TEMPLATE_READ)
    with pytest.raises(NotFound) as absent:
        await world.ask("mallory", Permission.TEMPLATE_READ, tenant="globex")

    assert others.value.detail.replace("acme", "globex") == absent.value.detail
    assert others.value.extra == absent.value.extra == {}


async def test_asking_for_a_foreign_tenant_is_in_the_platforms_log_only(world):
    before = await actions(world.database)
    with pytest.raises(NotFound):
        await world.ask("mallory", Permission.TEMPLATE_READ)

    assert await actions(world.database) == before
    last = (await entries(world.database, "platform"))[-1]
    assert (last["action"], last["detail"]["tenant"]) == ("policy.deny", "acme")


@pytest.mark.parametrize("tenant", ["", "ACME", "../acme", "a" * 64, "acme\n"])
async def test_a_malformed_tenant_is_absent(world, tenant):
    with pytest.raises(NotFound):
        await world.ask("alice", Permission.TEMPLATE_READ, tenant=tenant)


async def test_a_change_of_roles_holds_at_the_next_question(world):
    await world.membership.unsafe_put_member(TenantId("acme"), "bob", ["viewer"])
    with pytest.raises(Denied):
        await world.ask("bob", Permission.TEMPLATE_SUBMIT)
    await world.membership.unsafe_put_member(TenantId("acme"), "bob", ["developer"])

    assert (await world.ask("bob", Permission.TEMPLATE_SUBMIT)).rule.startswith("role:developer")


async def test_a_denial_is_data_for_programs_too(world):
    with pytest.raises(Denied) as denied:
        await world.ask("alice", Permission.TEMPLATE_SUBMIT, name="sum")

    assert denied.value.extra == {
        "permission": "template:submit",
        "resource": "template/sum",
        "rule": "default",
        "roles_held": ["tenant-admin"],
        "roles_that_allow": ["developer"],
        "missing": ["role developer"],
        "smallest_change": "an administrator of acme gives you developer",
    }


async def test_a_service_account_cannot_review_whatever_it_holds(world):
    await world.membership.unsafe_put_member(TenantId("acme"), "ci", ["reviewer"])
    robot = principal("ci", PrincipalKind.SERVICE)

    with pytest.raises(Denied, match="a person"):
        await world.policy.require(robot, Permission.TEMPLATE_REVIEW, Resource(TenantId("acme"), "template", "sum"))


async def test_can_i_mints_nothing_and_says_why(world):
    decision = await world.policy.can(principal("alice"), "template:submit", TenantId("acme"), "*")

    assert (decision.allowed, decision.would_allow) == (False, ("developer",))
