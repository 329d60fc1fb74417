"""Every column of a plan has a rule; a tenant's rules tighten, are audited, and stay in their tenant."""

from __future__ import annotations

import json
import re

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from control_plane.foundation.audit_trail import AuditAction
from control_plane.foundation.database import EveryTenant
from control_plane.foundation.errors import AuditUnavailable, Conflict, DependencyUnavailable, Invalid, NotFound, Stale
from control_plane.foundation.identifiers import TenantId
from control_plane.foundation.provision import Provision
from control_plane.http import problems
from control_plane.masking import changing_routes
from control_plane.masking import rules as rules_module
from control_plane.masking.changing import MaskingChanges
from control_plane.masking.key_wrapping import BadWrappingKey, KeyWrapper, load_or_make_wrapping_key
from control_plane.masking.routes import router
from control_plane.masking.service import MaskingService
from control_plane.masking.tables import MaskingKeyRow, MaskingRuleRow
from control_plane.policy.asking import granted
from control_plane.policy.model import Permission
from language.masking import Action
from tests.builders.audit_trail import entries
from tests.builders.principals import grant
from tests.builders.templates import SUM_YAML

WRITE = grant(Permission.MASKING_WRITE, by="admin")
READ = grant(Permission.MASKING_READ)
CURRENCY = {"path": "l.CurrencyCode", "action": "token"}


async def test_every_column_of_a_plan_has_its_rule(plan_of):
    plan = await plan_of()
    assert [(rule.column, rule.action, rule.rule) for rule in plan.rules] == [
        ("units", Action.DETECT, "platform:default.string"),
        ("currency", Action.DETECT, "platform:default.string"),
        ("sum", Action.DETECT, "platform:default.string"),
        ("latency", Action.ALLOW, "platform:default.latency"),
    ]
    assert plan.approved.template.name == "money-sum"


async def test_a_key_is_made_only_for_a_plan_that_needs_tokens_and_goes_only_to_that_column(plan_of, changes, database):
    await plan_of()
    async with database.transaction(EveryTenant("a test looks")) as session:
        assert (await session.scalars(select(MaskingKeyRow))).all() == []
    await changes.put(WRITE, "currency", CURRENCY)
    first = {rule.column: rule for rule in (await plan_of()).rules}
    again = {rule.column: rule for rule in (await plan_of()).rules}
    assert len(first["currency"].key) == 32
    assert (first["currency"].key, first["currency"].key_id) == (again["currency"].key, "e1")
    assert first["units"].key == b""
    assert first["currency"].key.hex() not in repr(first["currency"])


async def test_tenants_have_different_keys(plan_of, changes):
    keys = []
    for tenant in ("acme", "umbrella"):
        await changes.put(grant(Permission.MASKING_WRITE, by="admin", tenant=tenant), "currency", CURRENCY)
        keys.append((await plan_of(tenant=tenant)).rules[1].key)
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


async def test_a_condition_on_what_the_tenant_hides_is_refused(plan_of, changes):
    await changes.put(WRITE, "units", {"words": ["units"], "action": "redact"})
    with pytest.raises(Invalid, match=re.escape("condition on l.Units is refused")) as caught:
        await plan_of()
    assert caught.value.code == "hidden_predicate"


async def test_a_strict_tenant_refuses_a_field_that_no_rule_names(plan_of, changes):
    await changes.set_strict(WRITE, strict=True)
    with pytest.raises(Invalid, match="no masking rule covers it") as caught:
        await plan_of()
    assert caught.value.code == "unmasked_field"


async def test_a_tenants_rules_are_not_anothers(plan_of, changes, service):
    await changes.put(grant(Permission.MASKING_WRITE, by="admin", tenant="umbrella"), "currency", CURRENCY)
    assert await service.rules(READ) == ()
    with pytest.raises(NotFound):
        await changes.delete(WRITE, "currency")
    assert (await plan_of()).rules[1].action is Action.DETECT


async def test_without_the_log_nothing_changes(changes, service, trail):
    trail.broken = {AuditAction.MASKING_CHANGE}
    with pytest.raises(AuditUnavailable):
        await changes.put(WRITE, "currency", CURRENCY)
    assert await service.rules(READ) == ()


async def test_a_rule_whose_case_fails_is_refused_and_that_is_logged(database, changes):
    with pytest.raises(Invalid, match="should match"):
        await changes.put(WRITE, "x", {"words": ["a"], "action": "drop", "cases": {"matches": ["b"]}})
    changed = [entry for entry in await entries(database) if entry["action"] == "masking.change"]
    assert [entry["outcome"] for entry in changed] == ["refused"]


async def test_a_stale_change_is_refused(changes):
    found = (await changes.put(WRITE, "currency", CURRENCY)).value
    await changes.put(WRITE, "currency", CURRENCY, if_match=f'"{found.etag}"')
    with pytest.raises(Stale):
        await changes.put(WRITE, "currency", CURRENCY, if_match=f'"{found.etag}"')
    with pytest.raises(Stale):
        await changes.delete(WRITE, "currency", if_match='"1"')


async def test_a_tenant_has_a_bounded_number_of_rules(changes, database, clock):
    async with database.transaction(TenantId("acme")) as session:
        for number in range(rules_module.MAX_TENANT_RULES):
            document = json.dumps({"name": f"r{number}", "words": [f"w{number}"], "action": "redact"})
            row = MaskingRuleRow(tenant="acme", name=f"r{number}", document=document, revision=1)
            row.changed_by, row.changed_at = "admin", clock.now()
            session.add(row)
    with pytest.raises(Conflict, match="at most"):
        await changes.put(WRITE, "one-more", CURRENCY)


@pytest.fixture
async def http(service, changes):
    app = FastAPI()
    app.state.provision = Provision()
    app.state.provision.add(MaskingService, service)
    app.state.provision.add(MaskingChanges, changes)
    app.include_router(router)
    app.include_router(changing_routes.router)
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
    waits = await http.delete("/rules/card")
    assert (waits.status_code, waits.json()["kind"], waits.json()["state"]) == (202, "masking-rule", "proposed")
    assert (await http.delete("/rules/other")).json()["code"] == "not_found"
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
