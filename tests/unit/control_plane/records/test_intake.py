"""A batch is stored once, in its own tenant's table, or refused for good."""

import asyncio
import json

import pyarrow as pa
import pytest
from sqlalchemy import func, select
from wire.v1 import records_pb2

from control_plane.foundation.database import EveryTenant
from control_plane.policy.model import Permission
from control_plane.policy.quotas import Quota, Quotas
from control_plane.records import intake as intake_module
from control_plane.records.intake import RecordIntake
from control_plane.records.model import TracepointFacts
from control_plane.records.service import RecordService
from control_plane.records.tables import RecordBatchRow
from tests.builders.audit_trail import BreakableTrail
from tests.builders.database import sqlite_database
from tests.builders.principals import grant
from tests.builders.record_batches import wire_batch

READ = grant(Permission.RECORDS_READ)


async def stored(database, tenant="acme"):
    async with database.transaction(tenant) as session:
        return await session.scalar(
            select(func.count()).select_from(RecordBatchRow).where(RecordBatchRow.tenant == tenant)
        )


async def test_a_batch_is_stored_once(intake, database):
    assert await intake.store("acme", "ag_1", wire_batch(1, [1, 2])) == ""
    assert await intake.store("acme", "ag_1", wire_batch(1, [1, 2])) == ""
    assert await stored(database) == 1


async def test_two_agents_may_use_the_same_number(intake, database):
    for agent in ("ag_1", "ag_2"):
        assert await intake.store("acme", agent, wire_batch(1, [1])) == ""
    assert await stored(database) == 2


async def test_another_tenants_tracepoint_is_unknown(intake, directory, database):
    directory.known["umbrella", "tp_9"] = TracepointFacts("money_sum", 1, frozenset({"ag_1"}), ended=False)
    refusal = await intake.store("acme", "ag_1", wire_batch(1, [1], tracepoint="tp_9"))
    assert refusal == await intake.store("acme", "ag_1", wire_batch(1, [1], tracepoint="tp_none"))
    assert refusal.startswith("unknown_tracepoint")
    assert await stored(database) == await stored(database, "umbrella") == 0


async def test_an_agent_it_was_not_sealed_for_is_refused(intake):
    assert (await intake.store("acme", "ag_7", wire_batch(1, [1]))).startswith("unknown_tracepoint")


@pytest.mark.parametrize(("table", "version"), [("other", 1), ("money_sum", 2)])
async def test_a_batch_for_another_table_or_version_is_refused(intake, table, version):
    assert (await intake.store("acme", "ag_1", wire_batch(1, [1], table=table, version=version))).startswith(
        "wrong_table"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": 0},
        {"rows": 7},
        {"arrow": b"junk"},
        {"end_reason": "two words"},
        {"receipts": [records_pb2.Receipt(column="x", values=1, hidden=2)]},
        {"accounting": records_pb2.Accounting(lost={f"r{i}": 1 for i in range(50)})},
        {"accounting": records_pb2.Accounting(lost={"bob@example.com": 1})},
    ],
    ids=str,
)
async def test_a_batch_that_cannot_be_right_is_refused(intake, database, change):
    batch = wire_batch(1, [1])
    for name in change:
        batch.ClearField(name)
    batch.MergeFrom(records_pb2.Batch(**change))
    assert (await intake.store("acme", "ag_1", batch)).startswith("bad_batch")
    assert await stored(database) == 0


async def test_an_empty_last_batch_is_taken(intake, records):
    batch = records_pb2.Batch(
        tracepoint_id="tp_1", sequence=1, table="money_sum", table_version=1, final=True, end_reason="ttl"
    )
    assert await intake.store("acme", "ag_1", batch) == ""
    (table,) = await records.tables(READ)
    assert (table.rows, table.columns) == (0, ())


async def test_the_newest_accounting_counts_whatever_the_order_of_arrival(intake, records):
    await intake.store("acme", "ag_1", wire_batch(2, [1, 2], hits=9))
    await intake.store("acme", "ag_1", wire_batch(1, [1], hits=4))
    await intake.store("acme", "ag_2", wire_batch(1, [1], hits=5))
    answer = await records.rows(READ, "money_sum", 10)
    assert (answer.accounting.hits, answer.accounting.delivered, answer.accounting.filtered) == (14, 3, 11)
    assert answer.accounting.adds_up


async def test_receipts_are_summed(intake, records):
    for sequence in (1, 2):
        receipt = records_pb2.Receipt(
            column="units", rule="platform:default.string", action="detect", values=2, hidden=1
        )
        await intake.store("acme", "ag_1", wire_batch(sequence, [1], receipts=[receipt]))
    (masked,) = (await records.rows(READ, "money_sum", 10)).masking
    assert (masked.column, masked.values, masked.hidden) == ("units", 4, 2)


async def test_the_oldest_rows_make_room(intake, records, monkeypatch):
    monkeypatch.setattr(intake_module, "MAX_TABLE_ROWS", 5)
    for sequence in range(1, 5):
        await intake.store("acme", "ag_1", wire_batch(sequence, [sequence, sequence]))
    answer = await records.rows(READ, "money_sum", 100)
    assert [row["units"] for row in answer.rows] == [3, 3, 4, 4]
    (table,) = await records.tables(READ)
    assert (table.rows, table.evicted) == (4, 4)
    assert await intake.store("acme", "ag_1", wire_batch(1, [1, 1])) == ""  # known still
    assert (await records.tables(READ))[0].rows == 4


async def test_positions_follow_one_another_when_many_store_at_once(intake, database):
    await asyncio.gather(*(intake.store("acme", f"ag_{1 + n % 2}", wire_batch(1 + n // 2, [n])) for n in range(12)))
    async with database.transaction(EveryTenant("a test looks")) as session:
        positions = (await session.scalars(select(RecordBatchRow.position).order_by(RecordBatchRow.position))).all()
    assert list(positions) == list(range(1, 13))


async def test_columns_are_those_of_the_newest_batch(intake, records):
    await intake.store("acme", "ag_1", wire_batch(1, pa.array([1])))
    await intake.store("acme", "ag_1", wire_batch(2, pa.array(["<CARD>"])))
    (table,) = await records.tables(READ)
    assert json.dumps([(column.name, column.type) for column in table.columns][-1]) == '["units", "string"]'


async def test_rows_beyond_the_quota_are_not_kept_and_stand_in_the_accounting(
    database, clock, directory, arrivals, canaries, records
):
    intake = RecordIntake(database, clock, directory, arrivals, canaries, Quotas({Quota.EVENTS_PER_SECOND: 1}))
    first, second = wire_batch(1, [1] * 8, hits=10), wire_batch(2, [1] * 8, hits=20)
    second.accounting.delivered, second.accounting.filtered = 16, 4
    assert await intake.store("acme", "ag_1", first) == ""
    assert (await intake.store("acme", "ag_1", second)).startswith("over_quota: the tenant's events_per_second")
    assert await intake.store("acme", "ag_1", second) == ""  # sent again: counted once

    answer = await records.rows(READ, "money_sum", 100)
    assert len(answer.rows) == 8
    assert (answer.accounting.delivered, dict(answer.accounting.lost)) == (8, {"over_quota": 8})
    assert answer.accounting.adds_up


# --- together ------------------------------------------------------------------------------------------------------


def sent() -> list[records_pb2.Batch]:
    """Five good ones, the third twice, with a bad one and two of nobody's between them."""
    receipt = records_pb2.Receipt(column="units", rule="platform:default.string", action="detect", values=2, hidden=1)
    batches = [wire_batch(1 + n, [n, n], hits=2 + 3 * n, receipts=[receipt]) for n in range(5)]
    bad, foreign, misplaced = wire_batch(10, [1]), wire_batch(1, [1], tracepoint="tp_9"), wire_batch(9, [1], version=7)
    bad.arrow = b"junk"
    return [*batches[:3], batches[2], bad, foreign, misplaced, *batches[3:]]


async def left(records, database) -> tuple:
    answer = await records.rows(READ, "money_sum", 100)
    async with database.transaction(EveryTenant("a test looks")) as session:
        wanted = select(RecordBatchRow.sequence, RecordBatchRow.position, RecordBatchRow.rows)
        kept = [tuple(row) for row in await session.execute(wanted.order_by(RecordBatchRow.position))]
    return [row["units"] for row in answer.rows], answer.accounting, answer.masking, kept, await records.tables(READ)


async def test_batches_that_are_stored_together_leave_what_each_for_itself_leaves(
    intake, records, database, directory, clock, arrivals, canaries, tmp_path, monkeypatch
):
    monkeypatch.setattr(intake_module, "MAX_TABLE_ROWS", 5)  # they make room for each other, too
    told = [await intake.store("acme", "ag_1", batch) for batch in sent()]
    expected = await left(records, database)
    (tmp_path / "other").mkdir()
    async with sqlite_database(tmp_path / "other") as other:
        trail = BreakableTrail(other, clock)
        grouped = RecordIntake(other, clock, directory, arrivals, canaries)
        assert list(await grouped.store_together("acme", "ag_1", sent())) == told
        assert await left(RecordService(other, trail, directory, clock), other) == expected


async def test_a_group_is_kept_whole_or_not_at_all(intake, database, directory):
    async def broken(session, tenant, tracepoint_id):
        if tracepoint_id == "tp_9":
            raise RuntimeError("the server dies here")
        return directory.known.get((tenant, tracepoint_id))

    directory.facts = broken
    with pytest.raises(RuntimeError):
        await intake.store_together("acme", "ag_1", sent())
    assert await stored(database) == 0
    del directory.facts
    await intake.store_together("acme", "ag_1", sent())
    assert await stored(database) == 5
