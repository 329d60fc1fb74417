"""Whole stacks: the modules that leave one as they found it share it, with the shop and an agent; the others start their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local_stack import LocalStack, Person

ADMIN = Person("admin", "admin-test-password", ())
ADA = Person("ada", "ada-test-password", ("developer",))
GRACE = Person("grace", "grace-test-password", ("reviewer", "auditor"))
VERA = Person("vera", "vera-test-password", ("viewer",))
DORA = Person("dora", "dora-test-password", ("developer", "reviewer"))
PEOPLE = (ADMIN, ADA, GRACE, VERA, DORA)

_shared: list[LocalStack] = []  # at most one, while a module that shares it is next


@pytest.fixture(scope="module")
def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> LocalStack:
    """Everything running: server, agent, and the shop placing an order every 20 ms."""
    if not _shared:
        _shared.append(_started(tmp_path_factory.mktemp("whole") / "stack"))
    return _shared[0]


def _started(directory: Path) -> LocalStack:
    stack = LocalStack(directory, lease_seconds=4)
    try:
        stack.start_server(PEOPLE, administrator=ADMIN)
        stack.sign_in_all(PEOPLE)
        stack.start_shop("-every", "20ms")
        stack.join_agent(ADMIN)
    except BaseException:
        stack.close()
        raise
    return stack


@pytest.fixture(scope="module")
def stack(shared_stack: LocalStack) -> LocalStack:
    return shared_stack


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """It ends before a stack starts that would see its programs; the root conftest puts its modules one after the other."""
    if _shared and (nextitem is None or not shares(nextitem)):
        _shared.pop().close()


def shares(item: pytest.Item) -> bool:
    return "shared_stack" in getattr(item, "fixturenames", ())
