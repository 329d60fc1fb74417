"""Every column of a plan has a rule; a tenant's rules tighten, are audited, and stay in their tenant."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from control_plane.foundation.audit_trail import AuditAction
from control_plane.foundation.clock import ManualClock
from control_plane.foundation.database import EveryTenant
from control_plane.foundation.errors import AuditUnavailable, Conflict, DependencyUnavailable, Invalid, NotFound, Stale
from control_plane.foundation.provision import Provision
from control_plane.http import problems
from control_plane.masking import rules as rules_module
from control_plane.masking.key_wrapping import BadWrappingKey, KeyWrapper, load_or_make_wrapping_key
from control_plane.masking.routes import router
from control_plane.masking.service import MaskingService
from control_plane.masking.tables import MaskingKeyRow
from control_plane.policy.asking import granted
from control_plane.policy.model import Permission
from control_plane.templates.service import TemplateService
from language.masking import Action
from language.masking_rules import load_rules
from tests.builders.audit_trail import BreakableTrail, entries
from tests.builders.principals import grant
from tests.builders.reviews import review
from tests.builders.templates import SUM_YAML

PACK = load_rules((Path(__file__).parents[4] / "policies/masking/platform.yaml").read_text())
WRITE = grant(Permission.MASKING_WRITE, by="carol")
READ = grant(Permission.MASKING_READ)
CURRENCY = {"path": "l.CurrencyCode", "action": "token"}


@pytest.fixture
def clock():
    return ManualClock(datetime(2026, 11, 24, 12, tzinfo=UTC))


@pytest.fixture
def trail(database, clock):
    return BreakableTrail(database, clock)


@pytest.fixture
def service(database, trail, clock):
    return MaskingService(database, trail, clock, PACK, KeyWrapper(bytes(32)))


async def plan_of(database, trail, clock, service, source=SUM_YAML, tenant="acme"):
    templates = TemplateService(database, trail, clock, review())
    submitted = (await templates.submit(grant(Permission.TEMPLATE_SUBMIT, tenant=tenant), source)).versions[0]
    await templates.approve(
        grant(Permission.TEMPLATE_REVIEW, by="bob", tenant=tenant), submitted.name, submitted.version, submitted.digest
    )
    asking = grant(Permission.TRACEPOINT_REQUEST, tenant=tenant)
    async with database.transaction(tenant) as session:
        approved = await templates.approved(session, asking, submitted.name)
        return await service.bind(session, asking, approved)


async def test_every_column_of_a_plan_has_its_rule(database, trail, clock, service):
    plan = await plan_of(database, trail, clock, service)
    assert [(rule.column, rule.action, rule.rule) for rule in plan.rules] == [
        ("units", Action.DETECT, "platform:default.string"),
        ("currency", Action.DETECT, "platform:default.string"),
        ("sum", Action.DETECT, "platform:default.string"),
        ("latency", Action.ALLOW, "platform:default.latency"),
    ]
    assert plan.approved.template.name == "money-sum"


async def test_a_key_is_made_only_for_a_plan_that_hashes_and_goes_only_to_that_column(database, trail, clock, service):
    await plan_of(database, trail, clock, service)
    async with database.transaction(EveryTenant("a test looks")) as session:
        assert (await session.scalars(select(MaskingKeyRow))).all() == []
    await service.put(WRITE, "currency", CURRENCY)
    first = {rule.column: rule for rule in (await plan_of(database, trail, clock, service)).rules}
    again = {rule.column: rule for rule in (await plan_of(database, trail, clock, service)).rules}
    assert len(first["currency"].key) == 32
    assert (first["currency"].key, first["currency"].key_id) == (again["currency"].key, "e1")
    assert first["units"].key == b""
    assert first["currency"].key.hex() not in repr(first["currency"])


async def test_tenants_have_different_keys(database, trail, clock, service):
    keys = []
    for tenant in ("acme", "umbrella"):
        await service.put(grant(Permission.MASKING_WRITE, tenant=tenant), "currency", CURRENCY)
        keys.append((await plan_of(database, trail, clock, service, tenant=tenant)).rules[1].key)
    assert keys[0] != keys[1]


async def test_a_key_in_the_database_opens_with_the_servers_key_and_in_its_own_tenant_only():
    wrapper = KeyWrapper(bytes(32))
    wrapped = wrapper.wrap("acme", 1, b"k" * 32)
    assert b"k" * 8 not in wrapped
    assert wrapper.unwrap("acme", 1, wrapped) == b"k" * 32
    for other, tenant, epoch in ((wrapper, "umbrella", 1), (wrapper, "acme", 2), (KeyWrapper(b"x" * 32), "acme", 1)):
        with pytest.raises(DependencyUnavailable):
            other.unwrap(tenant, epoch, wrapped)


def test_the_wrapping_key_file_is_made_once_and_must_be_private(tmp_path):
    path = tmp_path / "keys" / "masking-wrap.key"
    assert load_or_make_wrapping_key(path) == load_or_make_wrapping_key(path)
    path.chmod(0o644)
    with pytest.raises(BadWrappingKey, match="chmod 600"):
        load_or_make_wrapping_key(path)
    path.chmod(0o600)
    path.write_text("abcd")
    with pytest.raises(BadWrappingKey, match="expected 32 bytes"):
        load_or_make_wrapping_key(path)


async def test_a_condition_on_what_the_tenant_hides_is_refused(database, trail, clock, service):
    await service.put(WRITE, "units", {"words": ["units"], "action": "redact"})
    with pytest.raises(Invalid, match=re.escape("condition on l.Units is refused")) as caught:
        await plan_of(database, trail, clock, service)
    assert caught.value.code == "hidden_predicate"


async def test_a_strict_tenant_refuses_a_field_that_no_rule_names(database, trail, clock, service):
    await service.set_strict(WRITE, strict=True)
    with pytest.raises(Invalid, match="no masking rule covers it") as caught:
        await plan_of(database, trail, clock, service)
    assert caught.value.code == "unmasked_field"


async def test_a_tenants_rules_are_not_anothers(database, trail, clock, service):
    await service.put(grant(Permission.MASKING_WRITE, tenant="umbrella"), "currency", CURRENCY)
    assert await service.rules(READ) == ()
    with pytest.raises(NotFound):
        await service.delete(WRITE, "currency")
    assert (await plan_of(database, trail, clock, service)).rules[1].action is Action.DETECT


async def test_a_change_stands_in_the_log_with_what_it_changed(database, service):
    await service.put(WRITE, "currency", CURRENCY)
    await service.put(WRITE, "currency", {**CURRENCY, "action": "redact"})
    await service.delete(WRITE, "currency")
    details = [entry["detail"] for entry in await entries(database) if entry["action"] == "masking.change"]
    assert [(d["before"] and d["before"]["action"], d["after"] and d["after"]["action"]) for d in details] == [
        (None, "token"),
        ("token", "redact"),
        ("redact", None),
    ]


async def test_without_the_log_nothing_changes(service, trail):
    trail.broken = {AuditAction.MASKING_CHANGE}
    with pytest.raises(AuditUnavailable):
        await service.put(WRITE, "currency", CURRENCY)
    assert await service.rules(READ) == ()


async def test_a_rule_whose_case_fails_is_refused_and_that_is_logged(database, service):
    with pytest.raises(Invalid, match="should match"):
        await service.put(WRITE, "x", {"words": ["a"], "action": "drop", "cases": {"matches": ["b"]}})
    assert [entry["outcome"] for entry in await entries(database)] == ["refused"]


async def test_a_stale_change_is_refused(service):
    found = await service.put(WRITE, "currency", CURRENCY)
    await service.put(WRITE, "currency", CURRENCY, if_match=f'"{found.etag}"')
    with pytest.raises(Stale):
        await service.put(WRITE, "currency", CURRENCY, if_match=f'"{found.etag}"')
    with pytest.raises(Stale):
        await service.delete(WRITE, "currency", if_match='"1"')


async def test_a_tenant_has_a_bounded_number_of_rules(service):
    for number in range(rules_module.MAX_TENANT_RULES):
        await service.put(WRITE, f"r{number}", {"words": [f"w{number}"], "action": "redact"})
    with pytest.raises(Conflict, match="at most"):
        await service.put(WRITE, "one-more", CURRENCY)


@pytest.fixture
async def http(service):
    app = FastAPI()
    app.state.provision = Provision()
    app.state.provision.add(MaskingService, service)
    app.include_router(router)
    app.dependency_overrides[granted] = lambda: WRITE
    problems.install(app)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://t/v1/tenants/acme/masking"
    ) as client:
        yield client


async def test_rules_over_http(http):
    put = await http.put("/rules/card", json={"type": "*.Card", "action": "drop", "cases": {"matches": ["shop.Card"]}})
    assert (put.status_code, put.headers["etag"]) == (200, '"1"')
    (item,) = (await http.get("/rules")).json()["items"]
    assert (item["name"], item["type"], item["scope"], item["revision"]) == ("card", "*.Card", "tenant", 1)
    assert (await http.delete("/rules/card")).status_code == 204
    assert (await http.delete("/rules/card")).json()["code"] == "not_found"
    bad = await http.put("/rules/card", json={"action": "drop"})
    assert (bad.status_code, bad.json()["code"]) == (422, "invalid_masking_rule")


async def test_preview_over_http_says_what_would_happen_and_why_not(http):
    (shown,) = (await http.post("/preview", json={"source": SUM_YAML})).json()["items"]
    assert {column["column"]: column["rule"] for column in shown["columns"]}["latency"] == "platform:default.latency"
    hidden = SUM_YAML.replace("l.Units >= params.minUnits", "l.Password == params.minUnits")
    (shown,) = (await http.post("/preview", json={"source": hidden})).json()["items"]
    assert "masking does drop" in shown["refusal"]


async def test_the_platforms_rules_and_settings_over_http(http):
    pack = (await http.get("/platform")).json()
    assert pack["defaults"]["string"] == "detect"
    assert (await http.put("/settings", json={"strict": True})).json() == {"strict": True}
    assert (await http.get("/settings")).json() == {"strict": True}
