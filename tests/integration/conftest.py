"""One whole stack for the tests of this folder's modules: started once a module, with the shop and an agent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.local_stack import LocalStack, Person

ADMIN = Person("admin", "admin-test-password", ())
ADA = Person("ada", "ada-test-password", ("developer",))
GRACE = Person("grace", "grace-test-password", ("reviewer", "auditor"))
VERA = Person("vera", "vera-test-password", ("viewer",))
DORA = Person("dora", "dora-test-password", ("developer", "reviewer"))
PEOPLE = (ADMIN, ADA, GRACE, VERA, DORA)


def start_stack(tmp_path_factory: pytest.TempPathFactory, name: str, **options: object) -> LocalStack:
    stack = LocalStack(tmp_path_factory.mktemp(name) / "stack", **options)
    stack.start_server(PEOPLE, administrator=ADMIN)
    for person in PEOPLE:
        stack.sign_in(person)
    return stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Everything running: server, agent, and the shop placing an order every 20 ms."""
    stack = start_stack(tmp_path_factory, "whole", lease_seconds=4)
    try:
        stack.start_shop("-every", "20ms")
        stack.join_agent(ADMIN)
        yield stack
    finally:
        stack.close()
