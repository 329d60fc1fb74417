from __future__ import annotations

from datetime import UTC, datetime

import pytest

from control_plane.foundation.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 11, 24, 12, tzinfo=UTC))
