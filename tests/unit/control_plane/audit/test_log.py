"""Appending to a tenant's log: in the caller's transaction, in order, never changed afterwards."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import DBAPIError
from wire import merkle
from wire.checkpoint import open_checkpoint

from control_plane.audit.service import AuditLog
from control_plane.audit.tables import AuditCheckpointRow, AuditEntryRow, AuditNodeRow, AuditTreeRow
from control_plane.foundation.audit_trail import AuditAction, AuditEvent, Outcome
from control_plane.foundation.clock import ManualClock
from control_plane.foundation.database import Database, EveryTenant
from control_plane.foundation.errors import AuditUnavailable
from control_plane.foundation.identifiers import TenantId

ACME, GLOBEX = TenantId("acme"), TenantId("globex")
START = datetime(2026, 11, 24, 12, tzinfo=UTC)


def event(resource: str = "template/t@1", **detail: object) -> AuditEvent:
    return AuditEvent(AuditAction.TEMPLATE_SUBMIT, Outcome.SUCCESS, "issuer|alice", resource, detail)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def log(database: Database, clock: ManualClock) -> AuditLog:
    return AuditLog(database, clock, Ed25519PrivateKey.generate())


async def append(database: Database, log: AuditLog, tenant: TenantId, *events: AuditEvent) -> list[int]:
    async with database.transaction(tenant) as session:
        return [await log.append(session, tenant, each) for each in events]


async def test_entries_of_a_tenant_are_numbered_from_zero_without_a_gap(database: Database, log: AuditLog) -> None:
    assert await append(database, log, ACME, event(), event()) == [0, 1]
    assert await append(database, log, GLOBEX, event()) == [0]
    assert await append(database, log, ACME, event()) == [2]


async def test_an_entry_holds_what_happened_as_canonical_json(database: Database, log: AuditLog) -> None:
    await append(database, log, ACME, event(version=3, note="é", nested={"b": [1, True, None], "a": "x"}))
    async with database.transaction(EveryTenant("a test looks")) as session:
        row = (await session.scalars(select(AuditEntryRow))).one()
    assert row.leaf == merkle.leaf_hash(row.entry)
    assert json.loads(row.entry) == {
        "v": 1,
        "tenant": "acme",
        "index": 0,
        "time": "2026-11-24T12:00:00.000000Z",
        "action": "template.submit",
        "outcome": "success",
        "actor": "issuer|alice",
        "resource": "template/t@1",
        "request_id": "",
        "detail": {"version": 3, "note": "é", "nested": {"a": "x", "b": [1, True, None]}},
    }
    assert b'"detail":{"nested":{"a":"x","b":[1,true,null]},"note":"\xc3\xa9","version":3}' in row.entry


async def test_a_change_that_fails_leaves_no_entry(database: Database, log: AuditLog) -> None:
    with pytest.raises(RuntimeError, match="the change failed"):
        async with database.transaction(ACME) as session:
            await log.append(session, ACME, event())
            raise RuntimeError("the change failed")
    assert await append(database, log, ACME, event()) == [0]


async def test_writers_at_the_same_time_are_put_in_order(database: Database, log: AuditLog) -> None:
    await asyncio.gather(*(append(database, log, ACME, event(f"r/{n}"), event(f"r/{n}")) for n in range(10)))
    async with database.transaction(EveryTenant("a test looks")) as session:
        rows = (await session.scalars(select(AuditEntryRow).order_by(AuditEntryRow.number))).all()
        tree = (await session.scalars(select(AuditTreeRow))).one()
    assert [row.number for row in rows] == list(range(20))
    assert merkle.Frontier.from_bytes(tree.size, tree.peaks).root() == merkle.root_of(row.leaf for row in rows)
    assert [row.resource for row in rows[::2]] == [row.resource for row in rows[1::2]]


async def test_without_the_log_nothing_is_done(database: Database, log: AuditLog) -> None:
    await append(database, log, ACME, event())
    async with database.owner() as connection:
        await connection.execute(text("ALTER TABLE audit_entries RENAME TO gone"))
    with pytest.raises(AuditUnavailable, match="nothing was done"):
        await append(database, log, ACME, event())


async def test_a_detail_that_is_no_data_is_refused_like_a_log_that_is_away(database: Database, log: AuditLog) -> None:
    with pytest.raises(AuditUnavailable):
        await append(database, log, ACME, event(thing=object()))


@pytest.mark.parametrize("row", [AuditEntryRow, AuditNodeRow, AuditTreeRow, AuditCheckpointRow])
async def test_what_is_written_cannot_be_deleted(database: Database, log: AuditLog, row: type[AuditEntryRow]) -> None:
    await append(database, log, ACME, event(), event())
    await log.checkpoint_all()
    with pytest.raises(DBAPIError, match="append-only" if database.is_sqlite else "permission denied"):
        async with database.transaction(EveryTenant("a test looks")) as session:
            await session.execute(delete(row))
    with pytest.raises(DBAPIError, match="append-only"):
        async with database.owner() as connection:
            await connection.execute(delete(row))


@pytest.mark.parametrize(
    "change",
    [
        update(AuditEntryRow).values(actor="issuer|mallory"),
        update(AuditEntryRow).values(entry=b"{}"),
        update(AuditNodeRow).values(hash=b""),
        update(AuditCheckpointRow).values(note=""),
        update(AuditTreeRow).values(size=1),
        update(AuditTreeRow).values(tenant="globex", size=9),
    ],
)
async def test_what_is_written_cannot_be_changed(database: Database, log: AuditLog, change: object) -> None:
    await append(database, log, ACME, event(), event())
    await log.checkpoint_all()
    with pytest.raises(DBAPIError, match=r"append-only|permission denied"):
        async with database.transaction(EveryTenant("a test looks")) as session:
            await session.execute(change)  # type: ignore[call-overload]
    with pytest.raises(DBAPIError, match="append-only"):
        async with database.owner() as connection:
            await connection.execute(change)  # type: ignore[call-overload]


async def test_an_entry_cannot_be_replaced_in_place(database: Database, log: AuditLog) -> None:
    await append(database, log, ACME, event())
    into = "INSERT OR REPLACE INTO" if database.is_sqlite else "INSERT INTO"
    with pytest.raises(DBAPIError, match="append-only" if database.is_sqlite else "duplicate key"):
        async with database.transaction(EveryTenant("a test looks")) as session:
            await session.execute(text(f"{into} audit_entries SELECT * FROM audit_entries"))


async def test_a_checkpoint_signs_the_log_as_it_is(database: Database, log: AuditLog, clock: ManualClock) -> None:
    await append(database, log, ACME, event(), event(), event())
    clock.advance(timedelta(seconds=5))
    async with database.transaction(EveryTenant("a test looks")) as session:
        note = await log.checkpoint(session, ACME)
        leaves = (await session.scalars(select(AuditEntryRow.leaf).order_by(AuditEntryRow.number))).all()
    point = open_checkpoint(note, log.public_key)
    assert (point.origin, point.size, point.root) == ("probegate/acme", 3, merkle.root_of(leaves))
    assert point.time == START + timedelta(seconds=5)


async def test_a_log_that_did_not_grow_is_not_signed_again(database: Database, log: AuditLog) -> None:
    await append(database, log, ACME, event())
    await append(database, log, GLOBEX, event())
    assert await log.checkpoint_all() == 2
    assert await log.checkpoint_all() == 0
    await append(database, log, GLOBEX, event())
    assert await log.checkpoint_all() == 1
