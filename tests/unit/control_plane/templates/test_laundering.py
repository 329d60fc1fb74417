"""Every way around the second pair of eyes that we know of: each fails, and stands in the log."""

from __future__ import annotations

from datetime import timedelta

import pytest

from control_plane.foundation.errors import Conflict, Denied, Invalid
from control_plane.identity.model import PrincipalKind
from control_plane.policy.model import Permission
from control_plane.policy.persons import PersonLinks
from control_plane.policy.roles import read_roles
from control_plane.templates.governing import ApprovalRules
from control_plane.templates.lifecycle import State
from control_plane.templates.service import TemplateService
from tests.builders.audit_trail import actions, entries
from tests.builders.governing import governing
from tests.builders.principals import grant, principal
from tests.builders.reviews import review, subject
from tests.builders.templates import SUM_YAML

DATA_OWNER = frozenset({"reviewer", "data-owner"})
RAW = SUM_YAML.replace("cpu: 1%", "cpu: 1%, maxString: 2048")


async def submit(service, text=SUM_YAML, by="alice"):
    return (await service.submit(grant(Permission.TEMPLATE_SUBMIT, by=by), text)).versions[0]


async def approve(service, version, by="bob", digest=None):
    asker = by if not isinstance(by, str) else principal(by)
    reviewer = grant(Permission.TEMPLATE_REVIEW, by=asker)
    return await service.approve(reviewer, version.name, version.version, digest or version.digest)


async def dispatch(database, service, by="carol", **which):
    async with database.transaction("acme") as session:
        return await service.approved(session, grant(Permission.TRACEPOINT_REQUEST, by=by), "money-sum", **which)


async def refused_and_logged(database, action="template.approve"):
    assert (await actions(database))[-1] == (action, "refused")
    assert (await entries(database))[-1]["detail"]["code"]


async def test_through_a_service_account_that_one_owns(service, database) -> None:
    version = await submit(service)
    with pytest.raises(Denied, match="a review is a person's"):
        await approve(service, version, by=principal("robot", PrincipalKind.SERVICE))
    await refused_and_logged(database)


async def test_what_a_service_account_submitted_its_owner_does_not_approve(service, database, reviewers) -> None:
    reviewers.links["ci"] = "bob"
    version = await submit(service, by="ci")
    with pytest.raises(Denied, match="a login of yours"):
        await approve(service, version, by="bob")
    await refused_and_logged(database)
    assert (await approve(service, version, by="dora")).state is State.APPROVED


async def test_through_a_second_login(service, database, reviewers) -> None:
    reviewers.links["erin"] = "alice"
    version = await submit(service, by="alice")
    with pytest.raises(Denied):
        await approve(service, version, by="erin")
    await refused_and_logged(database)


async def test_two_logins_of_one_person_count_once(database, trail, clock, reviewers) -> None:
    service = TemplateService(database, trail, clock, review(reviewers, masked=2))
    reviewers.links["erin"] = "bob"
    version = await submit(service)
    await approve(service, version, by="bob")
    assert (await approve(service, version, by="erin")).state is State.IN_REVIEW
    assert (await approve(service, version, by="dora")).state is State.APPROVED


async def test_a_login_that_turns_out_to_be_the_authors_does_not_count_any_more(service, database, reviewers) -> None:
    await approve(service, await submit(service), by="erin")
    assert (await dispatch(database, service)).version == 1
    reviewers.links["erin"] = "alice"
    with pytest.raises(Conflict, match="0 of 1 approvals"):
        await dispatch(database, service)


async def test_as_the_last_editor(service, database) -> None:
    await submit(service, by="alice")
    edited = await submit(service, SUM_YAML.replace("Sums of", "The sums of"), by="bob")
    with pytest.raises(Denied):
        await approve(service, edited, by="bob")
    await refused_and_logged(database)


async def test_by_adding_a_reviewer_during_the_review(service, database, reviewers) -> None:
    version = await submit(service)
    reviewers.roles["mallory"] = frozenset({"reviewer"})
    with pytest.raises(Denied, match="takes part in the next one") as refused:
        await approve(service, version, by="mallory")
    assert refused.value.code == "not_on_the_panel"
    await refused_and_logged(database)


async def test_by_giving_a_reviewer_the_missing_role_during_the_review(service, reviewers) -> None:
    version = await submit(service, RAW)
    reviewers.roles["bob"] = DATA_OWNER
    await approve(service, version, by="bob")
    assert (await approve(service, version, by="dora")).state is State.IN_REVIEW


async def test_an_approver_who_lost_the_role_does_not_count_at_the_dispatch(service, database, reviewers) -> None:
    await approve(service, await submit(service), by="bob")
    del reviewers.roles["bob"]
    with pytest.raises(Conflict, match="reviewers leave"):
        await dispatch(database, service)


async def test_by_lowering_the_threshold(service, database, trail, clock) -> None:
    governed = await governing(database, trail, clock)
    rules = ApprovalRules(database, clock, read_roles(), governed.proposals)
    admin = grant(Permission.POLICY_WRITE, by="admin")
    await rules.put(admin, "two", {"functions": ["shop/*"], "approvals": 2})
    version = await submit(service)
    await governed.agreed(await rules.delete(admin, "two"))
    assert (await approve(service, version, by="bob")).state is State.IN_REVIEW
    with pytest.raises(Conflict):
        await dispatch(database, service)
    assert [action for action, _ in await actions(database)].count("approval.rule") == 2


async def test_a_tenant_cannot_ask_for_less_than_the_platform(service, database, trail, clock) -> None:
    rules = ApprovalRules(database, clock, read_roles(), (await governing(database, trail, clock)).proposals)
    await rules.put(grant(Permission.POLICY_WRITE, by="admin"), "none", {"approvals": 0})
    version = await submit(service)
    assert (version.state, version.requirement.approvals) == (State.IN_REVIEW, 1)


async def test_a_threshold_that_rises_holds_for_what_was_approved_before(service, database, trail, clock) -> None:
    await approve(service, await submit(service))
    rules = ApprovalRules(database, clock, read_roles(), (await governing(database, trail, clock)).proposals)
    await rules.put(grant(Permission.POLICY_WRITE, by="admin"), "two", {"functions": ["shop/*"], "approvals": 2})
    with pytest.raises(Conflict, match="1 of 2 approvals"):
        await dispatch(database, service)


async def test_by_renaming(service, database) -> None:
    await approve(service, await submit(service))
    renamed = await submit(service, SUM_YAML.replace("name: money-sum", "name: other"), by="carol")
    assert (renamed.state, renamed.reviews) == (State.IN_REVIEW, ())


async def test_by_copying_what_the_approver_wrote(service, database) -> None:
    await submit(service, by="bob")
    copy = await submit(service, SUM_YAML.replace("name: money-sum", "name: other"), by="alice")
    with pytest.raises(Denied, match="the same probe under another name"):
        await approve(service, copy, by="bob")
    await refused_and_logged(database)
    assert (await approve(service, copy, by="dora")).state is State.APPROVED


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("max: 1000", "max: 1000000"),
        ("units: allow", "units: hash"),
        ("cpu: 1%", "cpu: 2%"),
        ("ttl: 10m", "ttl: 20m"),
        ("l.Units >= params.minUnits", "l.Units >= 0"),
        ("service: checkoutservice", "service: paymentservice"),
    ],
)
async def test_by_changing_it_after_the_approval(service, database, before, after) -> None:
    first = await approve(service, await submit(service))
    changed = await submit(service, SUM_YAML.replace(before, after))
    assert changed.digest != first.digest
    assert (changed.version, changed.state, changed.reviews) == (2, State.IN_REVIEW, ())
    with pytest.raises(Conflict) as refused:
        await dispatch(database, service, version=2)
    assert refused.value.code == "not_approved"


async def test_by_asking_for_an_old_approved_version(service, database) -> None:
    first = await approve(service, await submit(service))
    await approve(service, await submit(service, SUM_YAML.replace("ttl: 10m", "ttl: 5m")))
    with pytest.raises(Conflict, match="superseded"):
        await dispatch(database, service, digest=first.digest)


async def test_by_approving_another_digest_than_the_one_shown(service, database) -> None:
    version = await submit(service)
    with pytest.raises(Conflict, match="look at it again") as refused:
        await approve(service, version, digest="sha256:" + "a" * 64)
    assert refused.value.code == "digest_mismatch"
    await refused_and_logged(database)


async def test_by_letting_the_review_grow_old(service, database, clock) -> None:
    version = await submit(service)
    clock.advance(timedelta(days=7))
    with pytest.raises(Conflict, match="lapsed"):
        await approve(service, version)
    assert await service.lapse() == 1
    assert (await actions(database))[-1] == ("template.lapse", "success")
    with pytest.raises(Conflict, match="nobody finished its review in time"):
        await dispatch(database, service)


async def test_an_approval_ends_on_its_own_and_can_be_given_again(service, database, clock) -> None:
    version = await approve(service, await submit(service))
    clock.advance(timedelta(days=181))
    with pytest.raises(Conflict, match="approvals end"):
        await dispatch(database, service)
    await approve(service, version)
    assert (await dispatch(database, service)).version == 1


async def test_raw_values_need_two_and_one_of_them_a_data_owner(service, database, reviewers) -> None:
    reviewers.roles["erin"] = DATA_OWNER
    version = await submit(service, RAW)
    assert "2 approvals, among them a data-owner" in version.requirement.words()
    await approve(service, version, by="bob")
    assert (await approve(service, version, by="dora")).state is State.IN_REVIEW
    assert (await approve(service, version, by="erin")).state is State.APPROVED


async def test_counts_and_latencies_need_nobody_and_the_log_says_why(service, database) -> None:
    text = SUM_YAML.replace("      units: l.Units\n      currency: l.CurrencyCode\n      sum: ret(0).Units\n", "")
    text = text.replace("  masking: {units: allow}\n", "").replace("    where: l.Units >= params.minUnits\n", "")
    version = await submit(service, text)
    assert version.state is State.APPROVED
    entry = (await entries(database))[0]
    assert (entry["action"], entry["actor"]) == ("template.approve", "system")
    assert entry["detail"]["why"].startswith("0 approvals")
    assert (await dispatch(database, service, by="alice")).approvals == ()


async def test_declaring_less_than_computed_is_refused_and_logged(service, database) -> None:
    with pytest.raises(Invalid, match="declares the risk masked, but its plan is raw") as refused:
        await submit(service, RAW.replace("{team: payments}", "{team: payments, risk: masked}"))
    assert refused.value.code == "understated_risk"
    await refused_and_logged(database, "template.submit")


async def test_cryptography_asks_for_a_data_owner_by_its_function(service) -> None:
    version = await submit(service, SUM_YAML.replace("shop/money.Sum", "crypto/tls.(*Conn).Handshake"))
    assert version.requirement.roles == {"data-owner"}
    assert "platform rule cryptography" in version.requirement.why


async def test_links_are_not_taken_back(database, trail, clock) -> None:
    links, admin = PersonLinks(database, trail, clock), grant(Permission.MEMBER_WRITE, by="admin")
    await links.link(admin, subject("erin"), subject("alice"))
    await links.link(admin, subject("erin"), subject("alice"))
    with pytest.raises(Conflict, match="a link is not changed"):
        await links.link(admin, subject("erin"), subject("bob"))
    assert [link.person for link in await links.list(admin)] == [subject("alice")]
