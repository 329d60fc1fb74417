from __future__ import annotations

from datetime import UTC, datetime

import pytest

from control_plane.foundation.clock import ManualClock
from control_plane.foundation.database import Database
from control_plane.templates.reading import TemplateReading
from control_plane.templates.service import TemplateService
from tests.builders.audit_trail import BreakableTrail
from tests.builders.reviews import FakeReviewers, review


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 11, 24, 12, tzinfo=UTC))


@pytest.fixture
def trail(database: Database, clock: ManualClock) -> BreakableTrail:
    return BreakableTrail(database, clock)


@pytest.fixture
def reviewers() -> FakeReviewers:
    return FakeReviewers()


@pytest.fixture
def service(database: Database, trail: BreakableTrail, clock: ManualClock, reviewers: FakeReviewers) -> TemplateService:
    return TemplateService(database, trail, clock, review(reviewers))


@pytest.fixture
def reading(database: Database) -> TemplateReading:
    return TemplateReading(database)
