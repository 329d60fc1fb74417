"""The second look at planted rows: what is hidden is counted and not kept, what is in clear stops the tenant."""

from __future__ import annotations

import pyarrow as pa
import pytest
from sqlalchemy import select
from wire import canary

from control_plane.audit.tables import AuditEntryRow
from control_plane.policy.locks import ITSELF, LockKind, active_locks
from control_plane.policy.model import Permission
from control_plane.records.canaries import IN_CLEAR
from control_plane.records.tables import RecordBatchRow, RecordTableRow
from control_plane.tracepoints.notices import NoticeKind, NoticeReading
from tests.builders.principals import grant
from tests.builders.record_batches import wire_batch

MINUTE = 29_000_000
CARD = canary.card("tp_1", MINUTE)
READ = grant(Permission.MASKING_READ)


def planted(sequence: int, text: str, minute: int = MINUTE, tracepoint: str = "tp_1"):
    return wire_batch(sequence, pa.array([text]), canary=minute, tracepoint=tracepoint, hits=1)


async def locks(database, clock, tenant="acme"):
    async with database.transaction(tenant) as session:
        return await active_locks(session, tenant, clock.now())


async def open_notices(database):
    return (await NoticeReading(database).page(READ, still_open=True)).items


async def test_a_hidden_card_is_counted_and_its_row_kept_nowhere(intake, canaries, database, clock):
    for sequence in (1, 2, 2):
        assert await intake.store("acme", "ag_1", planted(sequence, "<CARD>")) == ""
    assert [(each.agent, each.hidden, each.last_at) for each in await canaries.counts(READ)] == [
        ("ag_1", 2, clock.now())
    ]
    async with database.transaction("acme") as session:
        kept = await session.scalars(select(RecordBatchRow).where(RecordBatchRow.tenant == "acme"))
        assert [(row.rows, row.arrow) for row in kept] == [(0, b""), (0, b"")]
        assert (await session.scalars(select(RecordTableRow).where(RecordTableRow.tenant == "acme"))).all() == []
    assert await locks(database, clock) == ()


@pytest.mark.parametrize("text", [CARD, f"paid with {CARD[:4]} {CARD[4:8]} {CARD[8:12]} {CARD[12:]}", CARD[:13]])
async def test_a_card_in_clear_stops_the_tenant_once_and_tells_everybody(intake, database, clock, text):
    for sequence in (1, 2):
        assert await intake.store("acme", "ag_1", planted(sequence, text)) == IN_CLEAR
    [lock] = await locks(database, clock)
    assert (lock.kind, lock.value, lock.created_by) == (LockKind.TENANT, "acme", ITSELF)
    assert "columns units" in lock.reason
    [notice] = await open_notices(database)
    assert (notice.kind, lock.id in notice.text) == (NoticeKind.CANARY, True)
    async with database.transaction("acme") as session:
        entries = (await session.scalars(select(AuditEntryRow.entry).where(AuditEntryRow.tenant == "acme"))).all()
        assert (await session.scalars(select(RecordBatchRow).where(RecordBatchRow.tenant == "acme"))).all() == []
    assert sum(b"masking.canary" in entry for entry in entries) == 2
    for written in (lock.reason, notice.text, *map(bytes.decode, entries)):
        assert not canary.shows(written, CARD)


async def test_nobody_elses_tenant_is_stopped(intake, database, clock):
    assert await intake.store("acme", "ag_1", planted(1, CARD)) == IN_CLEAR
    assert await locks(database, clock, "umbrella") == ()


async def test_the_card_of_another_minute_or_tracepoint_is_not_the_planted_one(intake, database, clock):
    for sequence, other in enumerate((canary.card("tp_2", MINUTE), canary.card("tp_1", MINUTE + 1)), start=1):
        assert await intake.store("acme", "ag_1", planted(sequence, other)) == ""
    assert await locks(database, clock) == ()


async def test_an_alarm_is_over_with_the_next_hidden_card(intake, database):
    await intake.store("acme", "ag_1", planted(1, CARD))
    assert await intake.store("acme", "ag_1", planted(2, "<CARD>")) == ""
    assert await open_notices(database) == ()


@pytest.mark.parametrize("rows", [[], ["<CARD>", "a row of the program"]])
async def test_rows_of_a_program_cannot_pass_as_planted_ones(intake, canaries, rows):
    sent = wire_batch(1, pa.array(rows, pa.string()), canary=MINUTE, hits=len(rows))
    assert (await intake.store("acme", "ag_1", sent)).startswith("bad_batch: what an agent plants is one row")
    assert await canaries.counts(READ) == ()
