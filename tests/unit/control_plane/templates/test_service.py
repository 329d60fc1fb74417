from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import select, update

from control_plane.foundation.audit_trail import AuditAction
from control_plane.foundation.clock import ManualClock
from control_plane.foundation.database import Database, EveryTenant
from control_plane.foundation.errors import (
    AuditUnavailable,
    Conflict,
    Denied,
    Invalid,
    InvalidTemplate,
    NotFound,
    Stale,
)
from control_plane.foundation.identifiers import TenantId
from control_plane.identity.model import PrincipalKind
from control_plane.policy.model import Grant, Permission
from control_plane.templates.lifecycle import State
from control_plane.templates.model import ApprovedTemplate, TemplateVersion
from control_plane.templates.reading import TemplateReading
from control_plane.templates.service import TemplateService
from control_plane.templates.tables import TemplateVersionRow
from language import canonical
from tests.builders.audit_trail import BreakableTrail, actions, entries
from tests.builders.principals import grant, principal
from tests.builders.reviews import review
from tests.builders.templates import SUM_PXL, SUM_YAML

EDITED = SUM_YAML.replace("ttl: 10m", "ttl: 5m")


def submitting(by: str = "alice", tenant: str = "acme") -> Grant:
    return grant(Permission.TEMPLATE_SUBMIT, by=by, tenant=tenant)


def reviewing(by: str = "bob", tenant: str = "acme") -> Grant:
    return grant(Permission.TEMPLATE_REVIEW, by=by, tenant=tenant)


def asking(by: str = "alice", tenant: str = "acme") -> Grant:
    return grant(Permission.TRACEPOINT_REQUEST, by=by, tenant=tenant)


async def submitted(service: TemplateService, text: str = SUM_YAML, by: str = "alice") -> TemplateVersion:
    return (await service.submit(submitting(by), text)).versions[0]


async def approved(
    service: TemplateService, version: TemplateVersion, by: str = "bob", digest: str | None = None
) -> TemplateVersion:
    return await service.approve(reviewing(by), version.name, version.version, digest or version.digest)


async def proof(
    database: Database,
    service: TemplateService,
    version: int | None = None,
    digest: str | None = None,
    tenant: str = "acme",
) -> ApprovedTemplate:
    async with database.transaction(TenantId(tenant)) as session:
        return await service.approved(session, asking(tenant=tenant), "money-sum", version, digest)


async def test_a_submission_waits_for_review_under_its_digest(service: TemplateService) -> None:
    version = await submitted(service)
    assert (version.name, version.version, version.state) == ("money-sum", 1, State.IN_REVIEW)
    assert version.digest == canonical.digest(canonical.to_bytes(version.template))


async def test_the_same_bytes_again_are_the_same_version(service: TemplateService) -> None:
    first = await submitted(service)
    again = await submitted(service, SUM_YAML.replace("  limits:", "\n  limits:"), by="carol")
    assert (again.version, again.author) == (first.version, first.author)


async def test_an_edit_is_a_new_version_without_approvals(service: TemplateService) -> None:
    first = await approved(service, await submitted(service))
    second = await submitted(service, EDITED)
    assert (second.version, second.state, second.reviews) == (2, State.IN_REVIEW, ())
    assert first.state is State.APPROVED


async def test_a_script_with_several_probes_makes_a_version_of_each(service: TemplateService) -> None:
    two = SUM_PXL + SUM_PXL[SUM_PXL.index("@pxtrace") :].replace("money_sum_px", "other")
    found = await service.submit(submitting(), two)
    assert [version.name for version in found.versions] == ["money-sum-px", "other"]


async def test_a_bad_template_is_refused_with_its_place(service: TemplateService, database: Database) -> None:
    with pytest.raises(InvalidTemplate) as refused:
        await service.submit(submitting(), SUM_YAML.replace("l.Units\n", "l.Units /\n", 1))
    assert refused.value.extra["line"] == 13
    assert await actions(database) == [("template.submit", "refused")]


async def test_an_approval_by_somebody_else_makes_it_usable(service: TemplateService, database: Database) -> None:
    version = await approved(service, await submitted(service))
    assert version.state is State.APPROVED
    found = await proof(database, service)
    assert found.digest == version.digest
    assert [approval.person for approval in found.approvals] == [principal("bob").id]
    assert await actions(database) == [("template.submit", "success"), ("template.approve", "success")]


async def test_nobody_approves_their_own_template(service: TemplateService, database: Database) -> None:
    version = await submitted(service)
    with pytest.raises(Denied, match="somebody else has to review it"):
        await approved(service, version, by="alice")
    assert (await actions(database))[-1] == ("template.approve", "refused")


async def test_nobody_approves_an_edit_of_what_they_wrote_and_nobody_reviewed(service: TemplateService) -> None:
    await submitted(service, by="alice")
    second = await submitted(service, EDITED, by="carol")
    with pytest.raises(Denied):
        await approved(service, second, by="alice")
    with pytest.raises(Denied):
        await approved(service, second, by="carol")
    assert (await approved(service, second, by="bob")).state is State.APPROVED


async def test_the_author_of_what_was_approved_may_review_somebody_elses_edit(service: TemplateService) -> None:
    await approved(service, await submitted(service, by="alice"))
    second = await submitted(service, EDITED, by="carol")
    assert (await approved(service, second, by="alice")).state is State.APPROVED


async def test_a_service_account_gives_no_review(service: TemplateService) -> None:
    version = await submitted(service)
    robot = grant(Permission.TEMPLATE_REVIEW, by=principal("robot", PrincipalKind.SERVICE))
    with pytest.raises(Denied, match="a review is a person's"):
        await service.approve(robot, version.name, 1, version.digest)


async def test_an_approval_of_other_bytes_is_refused(service: TemplateService) -> None:
    version = await submitted(service)
    with pytest.raises(Conflict, match="what you saw is not what stands here") as refused:
        await approved(service, version, digest="sha256:" + "0" * 64)
    assert refused.value.code == "digest_mismatch"


async def test_a_person_counts_once(database: Database, trail: BreakableTrail, clock: ManualClock) -> None:
    service = TemplateService(database, trail, clock, review(masked=2))
    version = await submitted(service)
    assert (await approved(service, version, by="bob")).state is State.IN_REVIEW
    assert (await approved(service, version, by="bob")).state is State.IN_REVIEW
    assert (await approved(service, version, by="dora")).state is State.APPROVED


async def test_one_no_ends_a_version(service: TemplateService, database: Database) -> None:
    version = await submitted(service)
    found = await service.reject(reviewing(), version.name, 1, version.digest, "reads too much")
    assert (found.state, found.reviews[0].comment) == (State.REJECTED, "reads too much")
    with pytest.raises(Conflict, match="cannot be approved any more"):
        await approved(service, version, by="dora")
    with pytest.raises(Conflict, match="read the reviews"):
        await proof(database, service)


async def test_a_reviewer_takes_an_approval_back(service: TemplateService, database: Database) -> None:
    version = await approved(service, await submitted(service))
    await service.reject(reviewing("bob"), version.name, 1, version.digest, "a mistake")
    with pytest.raises(Conflict):
        await proof(database, service)


async def test_a_rejection_needs_a_reason(service: TemplateService) -> None:
    version = await submitted(service)
    with pytest.raises(Invalid, match="needs a reason"):
        await service.reject(reviewing(), version.name, 1, version.digest, "  ")


async def test_only_the_author_withdraws(service: TemplateService) -> None:
    version = await submitted(service)
    with pytest.raises(Denied, match="only its author"):
        await service.withdraw(submitting("carol"), version.name, 1)
    assert (await service.withdraw(submitting("alice"), version.name, 1)).state is State.WITHDRAWN


async def test_what_was_withdrawn_can_be_submitted_again(service: TemplateService) -> None:
    version = await submitted(service)
    await service.withdraw(submitting(), version.name, 1)
    assert (await submitted(service)).version == 2


async def test_a_newer_approved_version_takes_the_place_of_the_older(
    service: TemplateService, database: Database
) -> None:
    first = await approved(service, await submitted(service))
    second = await submitted(service, EDITED)
    assert (await proof(database, service)).version == 1
    await approved(service, second)
    assert (await proof(database, service)).version == 2
    with pytest.raises(Conflict, match="superseded"):
        await proof(database, service, version=1)
    with pytest.raises(Conflict):
        await proof(database, service, digest=first.digest)


async def test_what_waits_for_review_cannot_be_used(service: TemplateService, database: Database) -> None:
    await submitted(service)
    with pytest.raises(Conflict, match="in_review") as refused:
        await proof(database, service)
    assert refused.value.code == "not_approved"


@pytest.mark.parametrize("valid", [True, False])
async def test_bytes_that_changed_after_approval_are_refused(
    service: TemplateService, database: Database, valid: bool
) -> None:
    version = await approved(service, await submitted(service))
    bytes_ = canonical.to_bytes(version.template)
    tampered = bytes_.replace(b'"l.CurrencyCode"', b'"l.CardNumber"') if valid else b"{}"
    async with database.transaction(EveryTenant("a test looks")) as session:
        await session.execute(update(TemplateVersionRow).values(canonical=tampered))
    with pytest.raises(Conflict, match="changed after approval") as refused:
        await proof(database, service)
    assert refused.value.code == "changed_after_approval"


async def test_bytes_and_digest_changed_together_are_refused_too(service: TemplateService, database: Database) -> None:
    version = await approved(service, await submitted(service))
    tampered = canonical.to_bytes(version.template).replace(b'"l.CurrencyCode"', b'"l.CardNumber"')
    async with database.transaction(EveryTenant("a test looks")) as session:
        await session.execute(update(TemplateVersionRow).values(canonical=tampered, digest=canonical.digest(tampered)))
    with pytest.raises(Conflict, match="0 of 1 approvals"):
        await proof(database, service)


async def test_another_tenants_template_is_not_there(service: TemplateService, database: Database) -> None:
    await approved(service, await submitted(service))
    with pytest.raises(NotFound) as absent:
        await proof(database, service, tenant="globex")
    with pytest.raises(NotFound) as never:
        async with database.transaction(TenantId("globex")) as session:
            await service.approved(session, asking(tenant="globex"), "money-sum")
    assert absent.value.detail == never.value.detail
    with pytest.raises(NotFound):
        await service.approve(reviewing(tenant="globex"), "money-sum", 1, "sha256:" + "0" * 64)


async def test_a_review_of_what_has_changed_since_is_stale(service: TemplateService) -> None:
    version = await submitted(service)
    with pytest.raises(Stale):
        await service.approve(reviewing(), version.name, 1, version.digest, if_match='"0000"')
    found = await service.approve(reviewing(), version.name, 1, version.digest, if_match=f'"{version.etag}"')
    assert found.etag != version.etag


async def test_without_the_log_nothing_is_approved(
    service: TemplateService, trail: BreakableTrail, database: Database
) -> None:
    version = await submitted(service)
    trail.broken.add(AuditAction.TEMPLATE_APPROVE)
    with pytest.raises(AuditUnavailable):
        await approved(service, version)
    async with database.transaction(EveryTenant("a test looks")) as session:
        assert await session.scalar(select(TemplateVersionRow.state)) == State.IN_REVIEW


async def test_two_submissions_at_once_get_two_numbers(service: TemplateService) -> None:
    found = await asyncio.gather(
        submitted(service, SUM_YAML), submitted(service, EDITED, by="carol"), return_exceptions=True
    )
    numbers = [version.version for version in found if isinstance(version, TemplateVersion)]
    raced = [error for error in found if isinstance(error, Conflict)]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    assert len(numbers) + len(raced) == 2


async def test_the_log_names_version_and_digest(service: TemplateService, database: Database) -> None:
    version = await approved(service, await submitted(service))
    entry = (await entries(database))[-1]
    assert (entry["actor"], entry["resource"]) == (principal("bob").id, "template/money-sum@1")
    assert entry["detail"]["digest"] == version.digest


async def test_a_list_holds_the_newest_of_each_in_pages(service: TemplateService, reading: TemplateReading) -> None:
    await submitted(service)
    await submitted(service, EDITED)
    await submitted(service, SUM_PXL)
    reader = grant(Permission.TEMPLATE_READ)
    first = await reading.page(reader, limit=1)
    assert [(version.name, version.version) for version in first.items] == [("money-sum", 2)]
    rest = await reading.page(reader, limit=1, cursor=first.next or "")
    assert ([version.name for version in rest.items], rest.next) == (["money-sum-px"], None)
    superseded = await reading.page(reader, State.SUPERSEDED)
    assert [version.version for version in superseded.items] == [1]
    assert (await reading.page(grant(Permission.TEMPLATE_READ, tenant="globex"))).items == ()


@pytest.mark.parametrize("cursor", ["x", "////", "YQ==", "é"])
async def test_a_foreign_cursor_is_refused(reading: TemplateReading, cursor: str) -> None:
    with pytest.raises(Invalid, match="cursor"):
        await reading.page(grant(Permission.TEMPLATE_READ), cursor=cursor)


async def test_a_diff_is_with_the_last_approved_version(service: TemplateService, reading: TemplateReading) -> None:
    reader = grant(Permission.TEMPLATE_READ)
    await submitted(service)
    assert (await reading.difference(reader, "money-sum")).before == 0
    await approved(service, await submitted(service))
    await submitted(service, EDITED)
    await submitted(service, EDITED.replace("Sums of", "The sums of"))
    found = await reading.difference(reader, "money-sum")
    assert (found.before, found.after) == (1, 3)
    assert [change.path for change in found.changes] == ["description", "limits.ttl"]
    between = await reading.difference(reader, "money-sum", 2, 3)
    assert [change.path for change in between.changes] == ["description"]


async def test_a_draft_waits_for_its_author_not_for_reviewers(service: TemplateService) -> None:
    draft = (await service.submit(submitting(), SUM_YAML, draft=True)).versions[0]
    assert draft.state is State.DRAFT
    with pytest.raises(Conflict):
        await approved(service, draft)
    opened = await submitted(service)
    assert (opened.version, opened.state) == (1, State.IN_REVIEW)


async def test_what_is_deprecated_is_good_for_renewals_only(service: TemplateService, database: Database) -> None:
    await approved(service, await submitted(service))
    retiring = grant(Permission.TEMPLATE_RETIRE, by="admin")
    with pytest.raises(Invalid, match="needs a reason"):
        await service.deprecate(retiring, "money-sum", 1, " ")
    assert (await service.deprecate(retiring, "money-sum", 1, "use totals")).state is State.DEPRECATED
    with pytest.raises(Conflict, match="not to be used any more"):
        await proof(database, service)
    async with database.transaction(TenantId("acme")) as session:
        assert (await service.approved(session, asking(), "money-sum", renewal=True)).version == 1
    assert (await service.revoke(retiring, "money-sum", 1, "reads too much")).state is State.REVOKED
    with pytest.raises(Conflict, match="taken out of use for good"):
        async with database.transaction(TenantId("acme")) as session:
            await service.approved(session, asking(), "money-sum", renewal=True)
    assert (await actions(database))[-2:] == [("template.deprecate", "success"), ("template.revoke", "success")]
