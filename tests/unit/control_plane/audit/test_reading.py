"""Reading the log: found, exported and proved only together with an entry that says who read."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text
from wire import merkle
from wire.audit_export import ExportReport, ProblemKind, verify_export
from wire.checkpoint import open_checkpoint

from control_plane.audit.reading import AuditQuery, AuditReading
from control_plane.audit.service import AuditLog
from control_plane.foundation.audit_trail import AuditAction, AuditEvent, Outcome
from control_plane.foundation.clock import ManualClock
from control_plane.foundation.database import Database
from control_plane.foundation.errors import AuditUnavailable, Invalid, NotFound
from control_plane.foundation.identifiers import TenantId
from control_plane.policy.model import Grant, Permission
from tests.builders import principals
from tests.builders.database import sqlite_database

ACME, GLOBEX = TenantId("acme"), TenantId("globex")
START = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with sqlite_database(tmp_path) as opened:
        yield opened


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def log(database: Database, clock: ManualClock) -> AuditLog:
    return AuditLog(database, clock, Ed25519PrivateKey.generate())


@pytest.fixture
def reading(database: Database, log: AuditLog) -> AuditReading:
    return AuditReading(database, log)


@pytest.fixture
def auditor() -> Grant:
    return principals.grant(Permission.AUDIT_READ, by="auditor")


async def write(
    database: Database, log: AuditLog, count: int, tenant: TenantId = ACME, clock: ManualClock | None = None
):
    for number in range(count):
        if clock:
            clock.advance(timedelta(minutes=1))
        action = AuditAction.TEMPLATE_SUBMIT if number % 2 else AuditAction.TRACEPOINT_REQUEST
        event = AuditEvent(action, Outcome.SUCCESS, f"issuer|p{number % 3}", f"template/t{number}@1", {"n": number})
        async with database.transaction(tenant) as session:
            await log.append(session, tenant, event)


async def exported(reading: AuditReading, grant: Grant, first: int = 0) -> list[bytes]:
    export = await reading.export(grant, first)
    return b"".join([export.header, *[chunk async for chunk in export.lines]]).splitlines(keepends=True)


async def verified(reading: AuditReading, grant: Grant, first: int = 0) -> ExportReport:
    return verify_export(await exported(reading, grant, first), reading.public_key)


async def test_the_newest_entries_come_first_and_the_reading_itself_is_one(database, log, reading, auditor) -> None:
    await write(database, log, 3)
    page = await reading.search(auditor, AuditQuery())
    assert [entry.index for entry in page.entries] == [3, 2, 1, 0]
    read = page.entries[0].members()
    assert (read["action"], read["actor"]) == ("audit.read", auditor.principal.id)
    assert read["detail"] == {"what": "search", "limit": 100}


async def test_every_filter_must_match(database, log, reading, auditor, clock) -> None:
    await write(database, log, 12, clock=clock)

    async def found(**filters: object) -> list[int]:
        page = await reading.search(auditor, AuditQuery(oldest_first=True, **filters))  # type: ignore[arg-type]
        return [entry.index for entry in page.entries if entry.index < 12]

    assert await found(action="template.submit") == [1, 3, 5, 7, 9, 11]
    assert await found(action="template.*", actor="issuer|p0") == [3, 9]
    assert await found(resource="template/t1*") == [1, 10, 11]
    assert await found(resource="template/t%") == []
    assert await found(outcome="refused") == []
    assert await found(since=START + timedelta(minutes=4), until=START + timedelta(minutes=6)) == [3, 4]


async def test_pages_follow_each_other_without_a_gap(database, log, reading, auditor) -> None:
    await write(database, log, 7)
    seen: list[int] = []
    query = AuditQuery(limit=3, action="t*", oldest_first=True)
    while True:
        page = await reading.search(auditor, query)
        seen += [entry.index for entry in page.entries]
        if not page.next_cursor:
            break
        query = AuditQuery(limit=3, action="t*", oldest_first=True, cursor=page.next_cursor)
    assert seen == list(range(7))


@pytest.mark.parametrize("cursor", ["x", "é", "YXVkaXQ6eA", "b3RoZXI6MQ", "AAAA" * 100])
async def test_a_made_up_cursor_is_refused(reading: AuditReading, auditor: Grant, cursor: str) -> None:
    with pytest.raises(Invalid, match="start without one"):
        await reading.search(auditor, AuditQuery(cursor=cursor))


async def test_a_tenant_sees_its_own_log_only(database, log, reading, auditor) -> None:
    await write(database, log, 5, GLOBEX)
    assert [entry.index for entry in (await reading.search(auditor, AuditQuery())).entries] == [0]
    assert (await verified(reading, auditor)).entries == 2


async def test_nothing_is_read_when_the_reading_cannot_be_logged(database, log, reading, auditor) -> None:
    await write(database, log, 3)
    async with database.owner() as connection:
        await connection.execute(text("DROP TABLE audit_trees"))
    for read in (reading.search(auditor, AuditQuery()), reading.export(auditor), reading.prove_inclusion(auditor, 0)):
        with pytest.raises(AuditUnavailable):
            await read


async def test_an_export_verifies_offline_from_any_entry_on(database, log, reading, auditor) -> None:
    await write(database, log, 9)
    await log.checkpoint_all()
    await write(database, log, 4)
    for first in (0, 1, 6, 8, 13):
        report = await verified(reading, auditor, first)
        assert report.intact, report.problems
        assert report.first == first
    last = (await exported(reading, auditor))[-1]
    assert b'"what":"export"' in last


async def test_an_export_beyond_the_end_is_refused(reading: AuditReading, auditor: Grant) -> None:
    with pytest.raises(NotFound, match="the log has 1 entries"):
        await reading.export(auditor, 1)


async def test_a_log_longer_than_a_chunk_is_exported_whole(database, log, reading, auditor, monkeypatch) -> None:
    monkeypatch.setattr("control_plane.audit.reading.EXPORT_CHUNK", 4)
    await write(database, log, 10)
    assert (await verified(reading, auditor)).entries == 11


async def test_every_entry_can_be_proved(database, log, reading, auditor) -> None:
    await write(database, log, 11)
    for index in range(11):
        proof = await reading.prove_inclusion(auditor, index)
        point = open_checkpoint(proof.checkpoint, reading.public_key)
        assert merkle.leaf_hash(proof.entry.entry) == proof.entry.leaf
        merkle.verify_inclusion(proof.entry.leaf, index, point.size, proof.hashes, point.root)


async def test_an_entry_that_is_not_there_cannot_be_proved(reading: AuditReading, auditor: Grant) -> None:
    for index in (-1, 2, 1 << 70):
        with pytest.raises(NotFound):
            await reading.prove_inclusion(auditor, index)


async def test_an_earlier_checkpoint_is_proved_to_be_of_the_same_log(database, log, reading, auditor) -> None:
    kept = []
    for _ in range(6):
        await write(database, log, 2)
        kept.append(open_checkpoint(await reading.checkpoint(auditor), reading.public_key))
    for old in kept:
        proof = await reading.prove_consistency(auditor, old.size)
        new = open_checkpoint(proof.checkpoint, reading.public_key)
        merkle.verify_consistency(old.size, old.root, new.size, new.root, proof.hashes)


class Intruder:
    """Somebody who has the SQLite file and takes the triggers away."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path / "probegate.db", isolation_level=None)
        for (name,) in self.connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            self.connection.execute(f"DROP TRIGGER {name}")

    def run(self, statement: str, *values: object) -> None:
        self.connection.execute(statement, values)


async def test_an_entry_altered_in_the_database_file_is_named(database, log, reading, auditor, tmp_path) -> None:
    await write(database, log, 8)
    Intruder(tmp_path).run("UPDATE audit_entries SET entry = replace(entry, 'p2', 'p1') WHERE number = 5")
    report = await verified(reading, auditor)
    assert [(problem.kind, problem.index) for problem in report.problems] == [(ProblemKind.ALTERED, 5)]


async def test_an_entry_deleted_from_the_database_file_is_named(database, log, reading, auditor, tmp_path) -> None:
    await write(database, log, 8)
    Intruder(tmp_path).run("DELETE FROM audit_entries WHERE number = 5")
    report = await verified(reading, auditor)
    assert [(problem.kind, problem.index) for problem in report.problems] == [(ProblemKind.MISSING, 5)]


async def test_an_entry_altered_with_its_hash_is_narrowed_down(database, log, reading, auditor, tmp_path) -> None:
    for _ in range(4):
        await write(database, log, 2)
        await log.checkpoint_all()
    intruder = Intruder(tmp_path)
    (entry,) = intruder.connection.execute("SELECT entry FROM audit_entries WHERE number = 5").fetchone()
    forged = entry.replace(b"issuer|p", b"issuer|q")
    intruder.run("UPDATE audit_entries SET entry = ?, leaf = ? WHERE number = 5", forged, merkle.leaf_hash(forged))
    report = await verified(reading, auditor)
    assert [(problem.kind, problem.index) for problem in report.problems] == [(ProblemKind.ROOT, 4)]
    assert "entries 4 to 5" in report.problems[0].detail


async def test_a_database_put_back_to_yesterday_contradicts_a_checkpoint_kept_elsewhere(
    database, log, reading, auditor, tmp_path
) -> None:
    await write(database, log, 5)
    intruder = Intruder(tmp_path)
    (size, peaks) = intruder.connection.execute("SELECT size, peaks FROM audit_trees").fetchone()
    await write(database, log, 5)
    kept = await reading.checkpoint(auditor)
    intruder.run("DELETE FROM audit_entries WHERE number >= 5")
    intruder.run("DELETE FROM audit_nodes WHERE (number + 1) << level > 5")
    intruder.run("DELETE FROM audit_checkpoints")
    intruder.run("UPDATE audit_trees SET size = ?, peaks = ?", size, peaks)
    await write(database, log, 8)
    lines = await exported(reading, auditor)
    assert verify_export(lines, reading.public_key).intact
    report = verify_export(lines, reading.public_key, [kept])
    assert report.complete is False
    assert [problem.kind for problem in report.problems] == [ProblemKind.REWRITTEN]
