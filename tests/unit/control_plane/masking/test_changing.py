"""What hides less waits for a second person, and the log says which fields of which templates it is about."""

from __future__ import annotations

import json

import pytest

from control_plane.foundation.errors import Conflict, Denied, Invalid, NotFound, Stale
from control_plane.foundation.identifiers import TenantId
from control_plane.masking.exceptions import MAX_EXCEPTIONS
from control_plane.masking.tables import MaskingExceptionRow
from control_plane.policy.model import Permission
from control_plane.policy.proposal_model import Applied, Proposed
from language.masking import Action
from tests.builders.audit_trail import entries
from tests.builders.principals import grant
from tests.builders.templates import SUM_YAML

WRITE = grant(Permission.MASKING_WRITE, by="admin")
READ = grant(Permission.MASKING_READ)
REDACTED = {"path": "l.CurrencyCode", "action": "redact"}
SHOWN = {
    "template": "money-sum",
    "field": "l.CurrencyCode",
    "service": "",
    "action": "detect",
    "reason": "currencies are mixed up in ticket 4711",
    "expires": "2026-12-24T00:00:00Z",
}


async def changed(database) -> list[dict]:
    return [entry["detail"] for entry in await entries(database) if entry["action"] == "masking.change"]


async def test_a_rule_that_hides_more_holds_at_once_and_the_log_says_what_it_hides(plan_of, changes, database):
    await plan_of()
    assert isinstance(await changes.put(WRITE, "currency", REDACTED), Applied)
    (detail,) = await changed(database)
    assert detail["changes"] == [
        "the rule currency: nothing -> redact for l.CurrencyCode",
        "money-sum: currency detect (platform:default.string) -> redact (tenant:currency), hides more",
    ]
    assert (await plan_of(SUM_YAML.replace("units: allow", "units: detect"))).rules[1].action is Action.REDACT


@pytest.mark.parametrize(
    "weaker",
    [{"action": "token"}, {"path": "l.Nanos"}, {"action": "partial(0,4)"}, None],
)
async def test_what_hides_less_waits_and_the_log_has_the_difference(
    plan_of, changes, governed, service, database, weaker
):
    await changes.put(WRITE, "currency", REDACTED)
    await plan_of()
    if weaker is None:
        outcome = await changes.delete(WRITE, "currency")
    else:
        outcome = await changes.put(WRITE, "currency", REDACTED | weaker)
    assert isinstance(outcome, Proposed)
    assert any("it hides less than the rule currency does" in need for need in outcome.proposal.needs)
    assert any("money-sum: currency redact" in need for need in outcome.proposal.needs)
    assert (await service.rules(READ))[0].rule.action is Action.REDACT
    await governed.agreed(outcome)
    detail = (await changed(database))[-1]
    assert any("hides less" in line for line in detail["changes"])
    assert detail["proposal"] == outcome.proposal.id
    assert detail["before"]["action"] == "redact"


async def test_nobody_agrees_to_their_own(changes, governed):
    await changes.put(WRITE, "currency", REDACTED)
    waiting = (await changes.delete(WRITE, "currency")).proposal
    with pytest.raises(Denied, match="comes from you"):
        await governed.proposals.approve(grant(Permission.PROPOSAL_DECIDE, by="admin"), waiting.id, waiting.digest)


async def test_more_words_mean_more_and_fewer_mean_less(changes):
    words = {"words": ["alpha", "beta"], "action": "redact"}
    await changes.put(WRITE, "w", words)
    assert isinstance(await changes.put(WRITE, "w", words | {"words": ["alpha", "beta", "gamma"]}), Applied)
    assert isinstance(await changes.put(WRITE, "w", words), Proposed)


async def test_a_rule_that_changed_meanwhile_makes_the_proposal_stale(changes, governed):
    await changes.put(WRITE, "currency", REDACTED)
    outcome = await changes.delete(WRITE, "currency")
    await changes.put(WRITE, "currency", REDACTED | {"action": "drop"})
    with pytest.raises(Stale):
        await governed.agreed(outcome)


async def test_strict_holds_at_once_and_ends_with_a_second_person(changes, governed, service):
    assert isinstance(await changes.set_strict(WRITE, strict=True), Applied)
    outcome = await changes.set_strict(WRITE, strict=False)
    assert await service.strict(READ)
    await governed.agreed(outcome)
    assert not await service.strict(READ)


async def test_a_difference_can_be_seen_before_anything_is_asked_for(plan_of, changes, service):
    await plan_of()
    found = await changes.diff(READ, "currency", REDACTED)
    assert (len(found.summary), found.needs) == (2, ())
    assert await service.rules(READ) == ()
    with pytest.raises(NotFound):
        await changes.diff(READ, "currency", None)


async def test_an_exception_is_agreed_to_shows_its_field_only_and_ends(plan_of, changes, governed, service, clock):
    await changes.put(WRITE, "currency", REDACTED)
    await plan_of()
    outcome = await changes.put_exception(WRITE, "mixed-up", SHOWN)
    assert (await plan_of()).rules[1].action is Action.REDACT
    await governed.agreed(outcome)
    (held,) = await service.exceptions(READ)
    assert (held.author.rpartition("|")[2], held.approved_by.rpartition("|")[2]) == ("admin", "second")
    plan = await plan_of()
    assert [(rule.column, str(rule.treatment), rule.rule) for rule in plan.rules][:3] == [
        ("units", "detect", "platform:default.string"),
        ("currency", "detect", "exception:mixed-up"),
        ("sum", "detect", "platform:default.string"),
    ]
    other = await plan_of(SUM_YAML.replace("money-sum", "other-sum").replace("checkout_sum", "other_sum"))
    assert other.rules[1].action is Action.REDACT
    clock.advance(held.exception.expires - clock.now())
    assert (await plan_of()).rules[1].action is Action.REDACT


async def test_an_exception_never_reaches_what_is_dropped_nor_what_the_template_hides(plan_of, changes, governed):
    await changes.put(WRITE, "currency", REDACTED | {"action": "drop"})
    await governed.agreed(await changes.put_exception(WRITE, "mixed-up", SHOWN))
    assert (await plan_of()).rules[1].action is Action.DROP


async def test_a_changed_exception_is_agreed_to_again_and_a_removed_one_is_gone_at_once(changes, governed, service):
    await governed.agreed(await changes.put_exception(WRITE, "mixed-up", SHOWN))
    assert isinstance(await changes.put_exception(WRITE, "mixed-up", SHOWN | {"action": "allow"}), Proposed)
    assert isinstance(await changes.remove_exception(WRITE, "mixed-up"), Applied)
    assert await service.exceptions(READ) == ()
    with pytest.raises(NotFound):
        await changes.remove_exception(WRITE, "mixed-up")


@pytest.mark.parametrize(
    "wrong",
    [
        {"template": "*"},
        {"field": "**.Email"},
        {"field": "words:email"},
        {"action": "drop"},
        {"action": "show"},
        {"reason": "because"},
        {"expires": "2026-12-24"},
        {"expires": "2026-11-24T11:00:00Z"},
        {"expires": "2028-01-01T00:00:00Z"},
        {"until": "never"},
    ],
)
async def test_an_exception_that_says_too_little_is_refused(changes, wrong):
    with pytest.raises(Invalid):
        await changes.put_exception(WRITE, "mixed-up", SHOWN | wrong)


async def test_a_tenant_has_a_bounded_number_of_exceptions(changes, database, clock):
    async with database.transaction(TenantId("acme")) as session:
        for number in range(MAX_EXCEPTIONS):
            row = MaskingExceptionRow(tenant="acme", name=f"e{number}", document=json.dumps(SHOWN), revision=1)
            row.author, row.approved_by, row.approved_at = "admin", "second", clock.now()
            session.add(row)
    with pytest.raises(Conflict, match="at most"):
        await changes.put_exception(WRITE, "one-more", SHOWN)


async def test_a_key_is_rotated_by_two_and_its_tokens_join_no_more(plan_of, changes, governed, service, database):
    await changes.put(WRITE, "currency", REDACTED | {"action": "token"})
    before = (await plan_of()).rules[1]
    outcome = await changes.rotate_key(WRITE, "yearly")
    assert [epoch for epoch, _ in await service.epochs(READ)] == [1]
    await governed.agreed(outcome)
    after = (await plan_of()).rules[1]
    assert (before.key_id, after.key_id) == ("e1", "e2")
    assert before.key != after.key
    assert (await changed(database))[-1]["before"] == "e1"


OWN = {"regex": r"EMP-[0-9]{6}", "action": "redact", "cases": {"matches": ["EMP-123456"], "ignores": ["TEMP-1"]}}


async def test_a_tenants_own_detector_goes_with_the_plan_and_the_log_says_what_it_looks_for(plan_of, changes, database):
    await plan_of()
    assert isinstance(await changes.put(WRITE, "employee-number", OWN), Applied)
    (detail,) = await changed(database)
    rule, *columns = detail["changes"]
    assert rule == "the rule employee-number: nothing -> redact for values like /EMP-[0-9]{6}/"
    found = "<employee-number> for values like /EMP-[0-9]{6}/"
    assert f"money-sum: currency inside as its column -> {found}, hides more" in columns
    plan = await plan_of(SUM_YAML.replace("units: allow", "units: detect"))
    assert {each.word for rule in plan.rules for each in rule.patterns} == {"employee-number"}


@pytest.mark.parametrize(
    "weaker", [{"regex": "EMP-[0-9]{7}", "cases": {"matches": ["EMP-1234567"], "ignores": ["x"]}}, None]
)
async def test_another_pattern_or_none_waits_for_a_second_person(plan_of, changes, weaker):
    await changes.put(WRITE, "employee-number", OWN)
    await plan_of()
    if weaker is None:
        outcome = await changes.delete(WRITE, "employee-number")
    else:
        outcome = await changes.put(WRITE, "employee-number", OWN | weaker)
    assert isinstance(outcome, Proposed)


@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        ("employee-number", {"regex": "x*"}, "empty text"),
        ("employee-number", {"regex": "(?:a?){500}a{500}"}, "instructions"),
        ("employee-number", {"cases": {"matches": ["EMP-1"], "ignores": ["x"]}}, "should match"),
        ("password", {}, "the platform has a rule password"),
    ],
)
async def test_a_detector_that_cannot_be_used_is_refused_with_the_reason(changes, name, change, why):
    with pytest.raises(Invalid, match=why) as refused:
        await changes.put(WRITE, name, OWN | change)
    assert refused.value.code == "invalid_masking_rule"


async def test_a_tenant_has_no_more_detectors_than_a_host_looks_for(changes):
    for number in range(25):
        cases = {"matches": [f"r{number}x"], "ignores": ["y"]}
        await changes.put(WRITE, f"own-{number}", {"regex": f"r{number}x", "action": "redact", "cases": cases})
    with pytest.raises(Conflict, match="at most 25") as refused:
        await changes.put(WRITE, "employee-number", OWN)
    assert refused.value.code == "too_many_rules"
