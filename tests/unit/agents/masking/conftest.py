"""The triggers are compiled once, before any test's clock runs."""

import pytest

from agents.masking.scanning import scanner


@pytest.fixture(scope="session", autouse=True)
def _compiled_triggers():
    scanner().warm(1 << 20)
