"""Tenants and members: the rules that no role may break."""

from __future__ import annotations

import pytest

from control_plane.foundation.errors import Conflict, Invalid, NotFound
from control_plane.foundation.identifiers import TenantId
from control_plane.policy.model import Permission
from tests.builders.audit_trail import entries
from tests.builders.principals import ISSUER, grant, principal

WRITE = grant(Permission.MEMBER_WRITE)


async def test_a_new_tenant_has_the_administrator_that_was_named(world):
    created = await world.membership.create_tenant(
        grant(Permission.TENANT_CREATE, tenant="platform"), "globex", "", "carol"
    )

    assert created.name == "globex"
    assert (await world.ask("carol", Permission.MEMBER_WRITE, tenant="globex")).resource.tenant == "globex"


async def test_whoever_creates_a_tenant_seats_its_first_people(world):
    await world.membership.create_tenant(
        grant(Permission.TENANT_CREATE, tenant="platform"), "globex", "", "carol", [("rita", ["reviewer"])]
    )

    assert (await world.ask("rita", Permission.TEMPLATE_REVIEW, tenant="globex")).resource.tenant == "globex"
    seated = (await entries(world.database, "globex"))[-2]
    assert (seated["action"], seated["actor"], seated["detail"]["after"]) == (
        "member.change",
        f"{ISSUER}|alice",
        ["reviewer"],
    )


@pytest.mark.parametrize("name", ["", "Acme", "a b", "-a", "platform", "system", "x" * 64])
async def test_a_tenants_name_is_a_dns_label_that_nobody_needs(world, name):
    with pytest.raises(Invalid):
        await world.membership.unsafe_create_tenant(name, "", "alice")


async def test_a_tenants_name_is_taken_once(world):
    with pytest.raises(Conflict):
        await world.membership.unsafe_create_tenant("acme", "", "mallory")


async def test_the_roles_given_replace_those_held(world):
    await world.membership.put_member(WRITE, "bob", ["viewer"])
    await world.membership.put_member(WRITE, "bob", ["developer"])

    members = await world.membership.members(grant(Permission.MEMBER_READ))
    assert {member.subject: member.roles for member in members}[f"{ISSUER}|bob"] == ("developer",)


async def test_a_change_is_in_the_log_with_before_and_after(world):
    await world.membership.put_member(WRITE, "bob", ["viewer"])
    await world.membership.put_member(WRITE, "bob", ["developer"])

    last = (await entries(world.database))[-1]
    assert (last["action"], last["detail"]["before"], last["detail"]["after"]) == (
        "member.change",
        ["viewer"],
        ["developer"],
    )


async def test_the_last_administrator_stays(world):
    with pytest.raises(Conflict, match="last tenant-admin"):
        await world.membership.put_member(WRITE, "alice", ["viewer"])
    with pytest.raises(Conflict, match="last tenant-admin"):
        await world.membership.remove_member(WRITE, "alice")


async def test_a_refused_change_is_in_the_log_too(world):
    with pytest.raises(Conflict):
        await world.membership.remove_member(WRITE, "alice")

    last = (await entries(world.database))[-1]
    assert (last["action"], last["outcome"]) == ("member.change", "refused")


async def test_an_auditor_is_no_administrator_of_the_same_tenant(world):
    with pytest.raises(Invalid, match="exclude each other"):
        await world.membership.put_member(WRITE, "bob", ["auditor", "tenant-admin"])


async def test_a_platform_role_is_held_on_the_platform_only(world):
    with pytest.raises(Invalid, match="platform"):
        await world.membership.put_member(WRITE, "bob", ["platform-admin"])
    with pytest.raises(Invalid, match="not in the tenant 'platform'"):
        await world.membership.unsafe_put_member(TenantId("platform"), "bob", ["developer"])
    await world.membership.unsafe_put_member(TenantId("platform"), "bob", ["platform-admin"])


@pytest.mark.parametrize("roles", [[], ["root"], ["viewer", "Viewer"]])
async def test_roles_are_those_of_the_book(world, roles):
    with pytest.raises(Invalid):
        await world.membership.put_member(WRITE, "bob", roles)


async def test_who_is_removed_is_no_member_any_more(world):
    await world.membership.put_member(WRITE, "bob", ["viewer"])
    await world.membership.remove_member(WRITE, "bob")

    with pytest.raises(NotFound):
        await world.ask("bob", Permission.TEMPLATE_READ)
    with pytest.raises(NotFound):
        await world.membership.remove_member(WRITE, "bob")


async def test_a_principal_sees_its_own_tenants_only(world):
    await world.membership.unsafe_create_tenant("globex", "", "carol")

    assert [membership.tenant for membership in await world.membership.of(principal("carol"))] == ["globex"]
