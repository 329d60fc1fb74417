"""Limits that the platform sets, what is used of them, and a no beyond."""

from __future__ import annotations

from datetime import timedelta

import pytest

from control_plane.foundation.errors import Invalid, Stale, TooMany
from control_plane.foundation.identifiers import TenantId
from control_plane.policy.model import Permission
from control_plane.policy.quotas import DEFAULTS, EVENT_WINDOW, Quota, Quotas
from control_plane.policy.request_rates import RequestRates
from control_plane.policy.tenants import TenantService
from tests.builders.audit_trail import entries
from tests.builders.principals import grant

ADMIN = grant(Permission.TENANT_WRITE, tenant="platform", by="root")
ACME, GLOBEX = TenantId("acme"), TenantId("globex")


async def templates(session, tenant):
    return {"acme": 3}.get(tenant, 0)


@pytest.fixture
def quotas():
    return Quotas({Quota.TEMPLATES: 5}, {Quota.TEMPLATES: templates})


@pytest.fixture
def tenants(world, quotas):
    return TenantService(world.database, world.trail, world.clock, quotas, templates)


def use_of(found, quota):
    (use,) = [use for use in found.uses if use.quota is quota]
    return use.limit, use.used, use.own


async def take(world, quotas, rows, size=0, tenant=ACME):
    async with world.database.transaction(tenant) as session:
        return await quotas.take(session, tenant, rows, size, world.clock.now())


async def test_a_limit_that_nobody_set_is_the_operators(tenants):
    found = await tenants.quotas("acme")
    assert use_of(found, Quota.TEMPLATES) == (5, 3, False)
    assert use_of(found, Quota.BYTES_PER_DAY) == (DEFAULTS[Quota.BYTES_PER_DAY], 0, False)
    assert use_of(found, Quota.REQUESTS_PER_SECOND) == (DEFAULTS[Quota.REQUESTS_PER_SECOND], None, False)


async def test_a_limit_is_set_and_taken_back_and_both_logs_say_so(world, tenants):
    found = await tenants.set_quotas(ADMIN, "acme", {Quota.TEMPLATES: 7, Quota.BYTES_PER_DAY: 10})
    assert use_of(found, Quota.TEMPLATES) == (7, 3, True)
    found = await tenants.set_quotas(ADMIN, "acme", {Quota.TEMPLATES: None}, f'"{found.etag}"')
    assert use_of(found, Quota.TEMPLATES) == (5, 3, False)
    assert use_of(found, Quota.BYTES_PER_DAY) == (10, 0, True)
    for log in ("acme", "platform"):
        entry = (await entries(world.database, log))[-1]
        assert (entry["action"], entry["actor"]) == ("tenant.quota", ADMIN.principal.id)
        assert entry["detail"]["after"] == {"bytes_per_day": 10}


async def test_a_limit_below_zero_is_refused_and_so_is_a_stale_change(tenants):
    with pytest.raises(Invalid):
        await tenants.set_quotas(ADMIN, "acme", {Quota.TEMPLATES: -1})
    await tenants.set_quotas(ADMIN, "acme", {Quota.TEMPLATES: 1})
    with pytest.raises(Stale):
        await tenants.set_quotas(ADMIN, "acme", {Quota.TEMPLATES: 2}, '"quotas-0"')


async def test_one_more_than_the_limit_is_refused_with_limit_and_use(world, quotas):
    async with world.database.transaction(ACME) as session:
        await quotas.refuse_more(session, ACME, Quota.TEMPLATES, 4)
        with pytest.raises(TooMany, match="may have 5 templates and uses 5") as refused:
            await quotas.refuse_more(session, ACME, Quota.TEMPLATES, 5)
    assert (refused.value.code, refused.value.extra) == (
        "over_quota",
        {"quota": "templates", "limit": 5, "used": 5},
    )


async def test_bytes_are_counted_by_the_day(world, tenants, quotas):
    await tenants.set_quotas(ADMIN, "acme", {Quota.BYTES_PER_DAY: 100})
    assert await take(world, quotas, 1, 60) is None
    assert await take(world, quotas, 1, 60) is Quota.BYTES_PER_DAY
    assert use_of(await tenants.quotas("acme"), Quota.BYTES_PER_DAY) == (100, 60, True)
    world.clock.advance(timedelta(days=1))
    assert use_of(await tenants.quotas("acme"), Quota.BYTES_PER_DAY) == (100, 0, True)
    assert await take(world, quotas, 1, 60) is None


async def test_events_are_averaged_over_a_window(world, tenants, quotas):
    await tenants.set_quotas(ADMIN, "acme", {Quota.EVENTS_PER_SECOND: 10})
    assert await take(world, quotas, 10 * EVENT_WINDOW) is None  # a lump after a disconnection
    assert await take(world, quotas, 1) is Quota.EVENTS_PER_SECOND
    assert use_of(await tenants.quotas("acme"), Quota.EVENTS_PER_SECOND) == (10, 10, True)
    world.clock.advance(timedelta(seconds=1.5 * EVENT_WINDOW))
    assert await take(world, quotas, 10 * EVENT_WINDOW) is Quota.EVENTS_PER_SECOND
    assert await take(world, quotas, 4 * EVENT_WINDOW) is None
    world.clock.advance(timedelta(seconds=5 * EVENT_WINDOW))
    assert await take(world, quotas, 10 * EVENT_WINDOW) is None


async def test_a_tenant_uses_up_its_own_only(world, tenants, quotas):
    await world.membership.unsafe_create_tenant("globex", "", "gina")
    await tenants.set_quotas(ADMIN, "acme", {Quota.BYTES_PER_DAY: 1})
    assert await take(world, quotas, 1, 2) is Quota.BYTES_PER_DAY
    assert await take(world, quotas, 1, 2, GLOBEX) is None


async def test_requests_are_counted_by_the_second_and_a_new_limit_holds_soon(world, tenants, quotas):
    now = [100.0]
    rates = RequestRates(world.database, quotas, lambda: now[0])
    await tenants.set_quotas(ADMIN, "acme", {Quota.REQUESTS_PER_SECOND: 2})
    await rates.count(ACME)
    await rates.count(ACME)
    with pytest.raises(TooMany, match="2 requests per second"):
        await rates.count(ACME)
    await rates.count(GLOBEX)
    now[0] += 1
    await rates.count(ACME)
    await tenants.set_quotas(ADMIN, "acme", {Quota.REQUESTS_PER_SECOND: 0})
    now[0] += 6
    with pytest.raises(TooMany):
        await rates.count(ACME)
