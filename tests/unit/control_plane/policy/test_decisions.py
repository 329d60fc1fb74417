"""policies/decisions.yaml, the golden table, asked row by row of the real rules."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from control_plane.policy.conditions import Facts
from control_plane.policy.decide import decide
from control_plane.policy.index import base_of, build_snapshot
from control_plane.policy.model import Permission
from control_plane.policy.roles import read_roles

TABLE = yaml.safe_load((Path(__file__).parents[4] / "policies" / "decisions.yaml").read_text())
BOOK = read_roles()
BASE = base_of(BOOK)
NOW = Facts(datetime(2026, 11, 24, 12, tzinfo=UTC))
ALICE = "http://127.0.0.1:8440|alice"


def answer(roles, ask, *, tenant="acme", name="*", subject=ALICE, asked_in=None):
    members = {subject: tuple(roles)} if roles and subject else {}
    snapshot = build_snapshot(asked_in or tenant, 1, members if asked_in in {None, tenant} else {}, BASE)
    return decide(snapshot, subject, ask, name, NOW)


@pytest.mark.parametrize("role", TABLE["allowed"])
@pytest.mark.parametrize("permission", Permission)
def test_each_role_holds_what_the_table_says_and_nothing_else(role, permission):
    expected = permission.value in TABLE["allowed"][role]

    assert answer([role], permission.value).allowed is expected


@pytest.mark.parametrize("case", TABLE["cases"], ids=lambda case: case["why"])
def test_the_cases_of_the_table(case):
    decision = answer(
        case["roles"],
        case["ask"],
        name=case.get("name", "*"),
        subject=case.get("subject", ALICE),
        asked_in=case.get("in"),
    )

    assert decision.allowed is (case["answer"] == "allow"), decision.reason


def test_the_table_speaks_of_every_role():
    assert set(TABLE["allowed"]) == set(BOOK.roles)


def test_every_permission_can_be_had_by_somebody():
    assert {word for words in TABLE["allowed"].values() for word in words} == {
        permission.value for permission in Permission
    }
