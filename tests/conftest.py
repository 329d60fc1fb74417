"""What every test stands on: host tests run where the kernel lets them, and say so where it does not."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from control_plane.foundation.database import Database
from tests.builders.database import postgresql_database, postgresql_server, sqlite_database
from tests.builders.tenant_filter import watched_filters

# A property is not broken because the machine is busy: examples are counted, their seconds are not.
settings.register_profile("any-machine", settings(), deadline=None, suppress_health_check=(HealthCheck.too_slow,))
settings.load_profile("any-machine")


def _no_bpf() -> str | None:
    """Why real probes cannot run here, or None."""
    from agents.runtime.features import probe_kernel

    if os.geteuid() != 0:
        return "not root: run the tests as root to trace real programs"
    kernel = probe_kernel()
    return None if kernel.uprobe_multi or kernel.perf_event else "this kernel attaches no uprobes"


def _group(item: pytest.Item) -> str:
    if "integration" in item.path.parts:
        # Whole stacks run one after the other: each agent sees every process of this host. Without an agent they may meet.
        return "whole-stacks" if item.get_closest_marker("host") else item.path.stem
    return item.path.stem if "host" in item.path.parts else ""


def _turn(item: pytest.Item) -> int:
    """The long groups first, or one worker is left with them while the others have nothing more to do."""
    if _group(item) == "whole-stacks":
        return 0 if "shared_stack" in getattr(item, "fixturenames", ()) else 1  # one stack, as long as it is shared
    folders = ("integration", "contracts", "matrix", "host")
    return next((turn for turn, folder in enumerate(folders, 2) if folder in item.path.parts), len(folders) + 2)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # What a module starts (a server, an agent, a traced program) is started once: by one worker.
    for item in items:
        if group := _group(item):
            item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=_turn)  # stable: within a turn as collected
    host = [item for item in items if item.get_closest_marker("host")]
    if not host or (why := _no_bpf()) is None:
        return
    for item in host:
        item.add_marker(pytest.mark.skip(reason=f"host test not run: {why}"))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Groups that are not kept let two stacks see each other's programs: better no run than that one."""
    if not getattr(session.config.option, "loadgroup", False):
        return
    lost = [item.nodeid for item in session.items if item.get_closest_marker("xdist_group") and "@" not in item.nodeid]
    if lost:
        raise pytest.UsageError(f"pytest-xdist ignores the groups of {len(lost)} tests, {lost[0]} first")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """With CI=true a skipped test is a failed one: a green run must mean that everything ran."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be skipped (CI=true): {report.longrepr}"


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """One PostgreSQL for all tests of this worker; its URL."""
    with postgresql_server() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """Both databases, real and empty: what is claimed of one holds on the other, and every query names its tenant."""
    with watched_filters():
        if request.param == "sqlite":
            async with sqlite_database(tmp_path) as opened:
                yield opened
            return
        async with postgresql_database(request.getfixturevalue("postgresql")) as opened:
            yield opened
