from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from control_plane.foundation.clock import ManualClock
from control_plane.records.arrivals import Arrivals
from control_plane.records.canaries import Canaries
from control_plane.records.exports import RecordExports
from control_plane.records.intake import RecordIntake
from control_plane.records.live import LiveRecords
from control_plane.records.model import Source, TracepointFacts
from control_plane.records.service import RecordService
from control_plane.tracepoints.canary_alarm import CanaryAlarm
from tests.builders.audit_trail import BreakableTrail


@dataclass
class FakeDirectory:
    """Tracepoints that a test has made: (tenant, id) -> facts."""

    known: dict[tuple[str, str], TracepointFacts] = field(default_factory=dict)
    aimed: dict[str, Source] = field(default_factory=dict)  # tracepoint -> what the rules about reading see of it

    async def facts(self, session, tenant, tracepoint_id):
        return self.known.get((tenant, tracepoint_id))

    async def sources(self, session, tenant, table):
        return [
            self.aimed.get(identity, Source(identity, "sums", None, {}))
            for (whose, identity), facts in self.known.items()
            if whose == tenant and facts.table == table
        ]


@pytest.fixture
def clock():
    return ManualClock(datetime(2026, 11, 24, 12, tzinfo=UTC))


@pytest.fixture
def trail(database, clock):
    return BreakableTrail(database, clock)


@pytest.fixture
def directory():
    facts = TracepointFacts("money_sum", 1, frozenset({"ag_1", "ag_2"}), ended=False)
    return FakeDirectory({("acme", "tp_1"): facts})


@pytest.fixture
def arrivals():
    return Arrivals()


@pytest.fixture
def canaries(database, clock, trail):
    return Canaries(database, clock, CanaryAlarm(trail, clock))


@pytest.fixture
def intake(database, clock, directory, arrivals, canaries):
    return RecordIntake(database, clock, directory, arrivals, canaries)


@pytest.fixture
def records(database, trail, directory, clock):
    return RecordService(database, trail, directory, clock)


@pytest.fixture
def live(records, arrivals, clock):
    return LiveRecords(records, arrivals, clock)


@pytest.fixture
def exports(database, records):
    return RecordExports(database, records)
