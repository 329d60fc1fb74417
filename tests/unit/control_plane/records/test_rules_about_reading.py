"""Rules of a tenant about rows: by table, and by what a table holds and where its rows were taken."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from wire.v1 import records_pb2

from control_plane.foundation.errors import Denied
from control_plane.policy.conditions import Condition, Facts
from control_plane.policy.decide import decide
from control_plane.policy.index import base_of, build_snapshot
from control_plane.policy.model import Permission, Terms
from control_plane.policy.roles import read_roles
from control_plane.policy.rules import SUPPLIED, Effect, Rule
from control_plane.records.exports import Format
from control_plane.records.model import Place, Source
from tests.builders.principals import ISSUER, grant
from tests.builders.record_batches import wire_batch

BASE = base_of(read_roles())
READ = Permission.RECORDS_READ
VIC = f"{ISSUER}|vic"


def granted(name: str = "money_sum", **condition: object):
    """What the route hands on to vic, a viewer whom a rule denies what the condition says; None when it says no itself."""
    rule = Rule("role:viewer", READ, "*", Effect.DENY, Condition(**condition), id="the-rule")
    snapshot = build_snapshot("acme", 1, {VIC: ("viewer",)}, BASE, (rule,))
    decision = decide(snapshot, VIC, READ, name, Facts(datetime(2026, 11, 24, tzinfo=UTC), pending=SUPPLIED[READ]))
    assert decision.allowed, decision.reason
    return replace(grant(READ, name=name, by="vic"), terms=Terms(decision.terms))


@pytest.fixture
async def stored(intake, directory):
    """Rows of a tracepoint aimed at production's cart, whose `total` stands under a rule."""
    directory.aimed["tp_1"] = Source("tp_1", "sums", "cart", {"env": "prod"})
    receipt = records_pb2.Receipt(column="units", rule="platform/card-number", action="last4", values=1, hidden=1)
    assert await intake.store("acme", "ag_1", wire_batch(1, [1, 2], receipts=[receipt])) == ""


DENIED = [
    {"environment": ("prod",)},
    {"service": ("cart",)},
    {"template": ("sums",)},
    {"labels": (("env", "prod"),)},
    {"field_class": ("card-number",)},
]
OTHERS = [
    {"environment": ("staging",)},
    {"service": ("shop",)},
    {"template": ("errors",)},
    {"labels": (("env", "staging"),)},
    {"field_class": ("email",)},
]


@pytest.mark.parametrize("condition", DENIED)
async def test_no_way_to_rows_goes_round_a_rule_about_where_they_were_taken(stored, records, live, exports, condition):
    denied = granted(**condition)

    async def never():
        raise AssertionError("nobody asks again so soon")

    with pytest.raises(Denied, match="the rule the-rule denies it") as refused:
        await records.rows(denied, "money_sum", 10)
    assert refused.value.extra["smallest_change"]
    with pytest.raises(Denied):
        await live.opened(denied, "money_sum", None, Place(), never)
    with pytest.raises(Denied):
        await exports.open(denied, "money_sum", Format.CSV)
    assert await records.tables(denied) == ()


@pytest.mark.parametrize("condition", OTHERS)
async def test_a_rule_about_something_else_hinders_nobody(stored, records, exports, condition):
    may = granted(**condition)

    assert (await records.rows(may, "money_sum", 10)).rows
    assert (await exports.open(may, "money_sum", Format.CSV)).table == "money_sum"
    assert [table.name for table in await records.tables(may)] == ["money_sum"]


async def test_rows_of_a_tracepoint_that_no_rule_speaks_of_can_be_read_alone(stored, records, intake, directory):
    directory.known["acme", "tp_2"] = directory.known["acme", "tp_1"]
    directory.aimed["tp_2"] = Source("tp_2", "sums", "cart", {"env": "staging"})
    await intake.store("acme", "ag_1", wire_batch(1, [7], tracepoint="tp_2"))
    denied = granted(environment=("prod",))

    with pytest.raises(Denied):
        await records.rows(denied, "money_sum", 10)
    assert [row["units"] for row in (await records.rows(denied, "money_sum", 10, tracepoint="tp_2")).rows] == [7]


async def test_a_stream_ends_when_a_tracepoint_that_may_not_be_read_begins_to_write(stored, live, directory, clock):
    directory.aimed["tp_1"] = Source("tp_1", "sums", "cart", {"env": "staging"})
    denied = granted(environment=("prod",))

    async def again():
        return denied

    events = await live.opened(denied, "money_sum", None, Place(), again)
    first = await anext(events)
    directory.known["acme", "tp_2"] = directory.known["acme", "tp_1"]
    directory.aimed["tp_2"] = Source("tp_2", "sums", "cart", {"env": "prod"})
    rest = [event async for event in events]

    assert first.rows
    assert rest[-1].reason == "denied"


async def test_what_nobody_has_counted_yet_is_denied_by_a_rule_about_it(records, directory, intake):
    await intake.store("acme", "ag_1", wire_batch(1, [1]))

    with pytest.raises(Denied):
        await records.rows(granted(field_class=("card-number",)), "money_sum", 10)


async def test_a_right_to_one_table_is_none_to_another():
    rule = Rule("role:auditor", READ, "money_sum", Effect.ALLOW, id="one")
    snapshot = build_snapshot("acme", 1, {VIC: ("auditor",)}, BASE, (rule,))
    asked = [
        decide(snapshot, VIC, READ, name, Facts(datetime(2026, 11, 24, tzinfo=UTC))) for name in ("money_sum", "x")
    ]

    assert [decision.allowed for decision in asked] == [True, False]
