from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from control_plane.foundation.clock import ManualClock
from control_plane.masking.changing import MaskingChanges
from control_plane.masking.key_wrapping import KeyWrapper
from control_plane.masking.model import MaskedPlan
from control_plane.masking.service import MaskingService
from control_plane.policy.model import Permission
from control_plane.templates.service import TemplateService
from language.masking_rules import load_rules
from tests.builders.audit_trail import BreakableTrail
from tests.builders.governing import Governing, governing
from tests.builders.principals import grant
from tests.builders.reviews import review
from tests.builders.templates import SUM_YAML

PACK = load_rules((Path(__file__).parents[4] / "policies/masking/platform.yaml").read_text())
WRAPPER = KeyWrapper(bytes(32))


@pytest.fixture
def clock():
    return ManualClock(datetime(2026, 11, 24, 12, tzinfo=UTC))


@pytest.fixture
def trail(database, clock):
    return BreakableTrail(database, clock)


@pytest.fixture
def service(database, clock):
    return MaskingService(database, clock, PACK, WRAPPER)


@pytest.fixture
async def governed(database, trail, clock) -> Governing:
    made = await governing(database, trail, clock)
    await made.seat("umbrella")
    return made


@pytest.fixture
async def changes(database, clock, governed) -> MaskingChanges:
    return MaskingChanges(database, clock, PACK, WRAPPER, governed.proposals)


@pytest.fixture
def plan_of(database, trail, clock, service):
    """Submit, approve and bind a template's text."""

    async def plan(source: str = SUM_YAML, tenant: str = "acme") -> MaskedPlan:
        templates = TemplateService(database, trail, clock, review())
        submitted = (await templates.submit(grant(Permission.TEMPLATE_SUBMIT, tenant=tenant), source)).versions[0]
        reviewer = grant(Permission.TEMPLATE_REVIEW, by="bob", tenant=tenant)
        await templates.approve(reviewer, submitted.name, submitted.version, submitted.digest)
        asking = grant(Permission.TRACEPOINT_REQUEST, tenant=tenant)
        async with database.transaction(tenant) as session:
            approved = await templates.approved(session, asking, submitted.name)
            return await service.bind(session, asking, approved)

    return plan
