"""A tenant's life: suspended, resumed, deleted for good; its log and its name stay."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from sqlalchemy import select

from control_plane.bootstrap.schema import METADATA
from control_plane.foundation.database import EveryTenant
from control_plane.foundation.errors import Conflict, Denied, Invalid, NotFound, Stale
from control_plane.foundation.identifiers import TenantId
from control_plane.foundation.row_security import keyed_by_tenant
from control_plane.policy.locks import LockService
from control_plane.policy.model import Permission
from control_plane.policy.quotas import Quotas
from control_plane.policy.tenant_states import TenantState
from control_plane.policy.tenants import TenantService
from tests.builders.audit_trail import actions, entries
from tests.builders.principals import grant, principal

ADMIN = grant(Permission.TENANT_WRITE, tenant="platform", by="root")
LOG = {"audit_entries", "audit_nodes", "audit_trees", "audit_checkpoints"}


@dataclass
class FakeRunning:
    tracepoints: dict[str, int] = field(default_factory=dict)

    async def __call__(self, session, tenant):
        return self.tracepoints.get(tenant, 0)


@pytest.fixture
def running():
    return FakeRunning()


@pytest.fixture
def tenants(world, running):
    return TenantService(world.database, world.trail, world.clock, Quotas(), running)


async def test_members_of_a_suspended_tenant_learn_why_and_can_do_nothing_else(world, tenants):
    await world.membership.unsafe_put_member(TenantId("acme"), "audrey", ["auditor"])
    await tenants.suspend(ADMIN, "acme", "the bill of October")

    with pytest.raises(Denied, match="acme is suspended: the bill of October") as denied:
        await world.ask("alice", Permission.MEMBER_WRITE)
    assert denied.value.extra["rule"] == "tenant-suspended"
    assert denied.value.extra["smallest_change"] == "an administrator of the platform resumes the tenant"
    with pytest.raises(Denied):
        await world.ask("alice", Permission.TEMPLATE_READ)
    await world.ask("alice", Permission.TENANT_READ)
    await world.ask("audrey", Permission.AUDIT_READ)


async def test_a_suspended_tenant_is_locked_as_a_whole(world, tenants):
    await tenants.suspend(ADMIN, "acme", "an incident")

    (lock,) = await LockService(world.database, world.trail, world.clock).list(grant(Permission.LOCK_READ))
    assert (lock.kind, lock.value, lock.reason, lock.platform) == ("tenant", "acme", "an incident", True)


async def test_a_resumed_tenant_is_as_before(world, tenants):
    await tenants.suspend(ADMIN, "acme", "an incident")
    life = await tenants.resume(ADMIN, "acme", "it is over")

    assert (life.state, life.reason) == (TenantState.ACTIVE, "it is over")
    await world.ask("alice", Permission.MEMBER_WRITE)
    assert await LockService(world.database, world.trail, world.clock).list(grant(Permission.LOCK_READ)) == ()


async def test_to_its_members_a_tenant_that_is_being_deleted_is_absent(world, tenants):
    await tenants.delete(ADMIN, "acme", "they left")

    with pytest.raises(NotFound) as gone:
        await world.ask("alice", Permission.TENANT_READ)
    with pytest.raises(NotFound) as never:
        await world.ask("alice", Permission.TENANT_READ, tenant="neverwas")
    assert str(gone.value).replace("acme", "neverwas") == str(never.value)
    assert await world.membership.of(principal("alice")) == ()


async def test_nothing_is_erased_while_a_host_may_still_run_something(world, tenants, running):
    running.tracepoints["acme"] = 1
    await tenants.delete(ADMIN, "acme", "they left")

    assert await tenants.finish() == 0
    assert (await tenants.show("acme")).state is TenantState.DELETING
    running.tracepoints.clear()
    assert await tenants.finish() == 1
    assert (await tenants.show("acme")).state is TenantState.DELETED
    assert await tenants.finish() == 0


async def test_what_it_had_is_gone_and_its_log_stays(world, tenants):
    await world.membership.unsafe_create_tenant("globex", "", "gina")
    await tenants.set_quotas(ADMIN, "acme", {})
    logged = len(await entries(world.database, "acme"))
    await tenants.delete(ADMIN, "acme", "they left")
    await tenants.finish()

    async with world.database.transaction(EveryTenant("a test looks")) as session:
        left = {
            table.name
            for table in METADATA.sorted_tables
            if keyed_by_tenant(table)
            and (await session.execute(select(table.c.tenant).where(table.c.tenant == "acme"))).first()
        }
    assert left <= {"tenants", *LOG}
    assert len(await entries(world.database, "acme")) == logged + 2
    assert ("tenant.delete", "success") in await actions(world.database, "platform")
    await world.ask("gina", Permission.MEMBER_WRITE, tenant="globex")


async def test_the_name_of_a_deleted_tenant_is_never_somebody_elses(world, tenants):
    await tenants.delete(ADMIN, "acme", "they left")
    await tenants.finish()

    with pytest.raises(Conflict, match="already"):
        await world.membership.unsafe_create_tenant("acme", "", "mallory")


@pytest.mark.parametrize(
    ("moves", "error"),
    [
        ([("suspend", "a"), ("suspend", "b")], Conflict),
        ([("resume", "a")], Conflict),
        ([("delete", "a"), ("resume", "b")], Conflict),
        ([("delete", "a"), ("delete", "b")], Conflict),
        ([("suspend", "  ")], Invalid),
    ],
)
async def test_what_cannot_be_done_to_it_is_refused_and_logged(world, tenants, moves, error):
    *before, (last, reason) = moves
    for move, why in before:
        await getattr(tenants, move)(ADMIN, "acme", why)
    with pytest.raises(error):
        await getattr(tenants, last)(ADMIN, "acme", reason)
    assert (await actions(world.database, "platform"))[-1] == (f"tenant.{last}", "refused")


@pytest.mark.parametrize("name", ["platform", "neverwas", "*", "A", ""])
async def test_there_is_no_such_tenant(tenants, name):
    for asked in (tenants.show(name), tenants.suspend(ADMIN, name, "why"), tenants.quotas(name)):
        with pytest.raises(NotFound):
            await asked


async def test_of_two_administrators_the_second_reads_again(tenants):
    seen = (await tenants.show("acme")).etag
    await tenants.suspend(ADMIN, "acme", "an incident", f'"{seen}"')
    with pytest.raises(Stale):
        await tenants.delete(ADMIN, "acme", "they left", f'"{seen}"')


async def test_every_tenant_is_listed_but_the_platforms_own(world, tenants):
    await world.membership.unsafe_create_tenant("globex", "", "gina")
    await tenants.suspend(ADMIN, "globex", "an incident")

    assert [(life.name, life.state) for life in await tenants.list()] == [("acme", "active"), ("globex", "suspended")]
    assert [life.name for life in await tenants.list(after="acme")] == ["globex"]
