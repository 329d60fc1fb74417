"""What is planted in a record comes out nowhere: not in the bytes an agent sends, nor in anything that is made of them."""

from __future__ import annotations

import json
import logging
import os
import random
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from wire.v1 import records_pb2

from agents.decoding.model import RecordBatch
from agents.decoding.rows import to_rows as agent_rows
from agents.masking.model import FieldRule, MaskedBatch, PathRule
from agents.masking.scanning import scanner
from agents.masking.service import mask
from agents.uplink.channel import Server
from agents.uplink.identity import AgentIdentity, IdentityStore
from agents.uplink.model import BatchHead
from agents.uplink.service import Uplink
from control_plane.foundation.clock import ManualClock
from control_plane.policy.model import Permission
from control_plane.records.arrivals import Arrivals
from control_plane.records.canaries import Canaries
from control_plane.records.exports import Format, RecordExports
from control_plane.records.intake import RecordIntake
from control_plane.records.model import TracepointFacts
from control_plane.records.service import RecordService
from control_plane.tracepoints.canary_alarm import CanaryAlarm
from language.masking_rules import bind, load_rules
from language.model import Capture
from tests.builders.audit_trail import BreakableTrail, entries
from tests.builders.database import sqlite_database
from tests.builders.planted import Secret, column, secret
from tests.builders.principals import grant
from tests.unit.control_plane.records.conftest import FakeDirectory

PLATFORM = load_rules((Path(__file__).parents[2] / "policies/masking/platform.yaml").read_text())
EXAMPLES = 10_000 if os.environ.get("PROBEGATE_LONG") else 300
BATCHES = min(EXAMPLES, 1000) // 3  # what one query gives back has at most 1000 rows
NOBODY = AgentIdentity("ag_1", "acme", b"", b"", b"", {}, datetime(2030, 1, 1, tzinfo=UTC))
READ = grant(Permission.RECORDS_READ)


@pytest.fixture(autouse=True, scope="module")
def _warm() -> None:
    scanner().warm(1 << 20)


def rules(*names: str) -> list[FieldRule]:
    """The platform's own, as a plan would carry them."""
    return [
        FieldRule(
            bound.column, bound.action, bound.rule, b"k" * 32, "e1",
            tuple(PathRule(each.path, each.type, each.action, each.rule, each.argument) for each in bound.paths),
            bound.argument,
        )
        for bound in bind([Capture(name, f"o.{name.title()}") for name in names], (), (PLATFORM,))
    ]  # fmt: skip


def planted(seed: int) -> tuple[RecordBatch, list[Secret]]:
    """A batch of three rows and three columns, each with a secret; and secrets in the paths of `_absent` and `_cut`."""
    chance = random.Random(seed)
    secrets, names, arrays, fields = [], ["alpha", "beta", "gamma"], [], []
    for name in names:
        secrets.append(secret(chance))
        _, array = column(chance, secrets[-1])
        kind = {"type": "T", "expression": f"o.{name.title()}", "function": "shop.Pay"}
        fields.append(pa.field(name, array.type, metadata=kind))
        arrays.append(array)
    secrets.append(secret(chance))
    key = f'o.Alpha["{secrets[-1].text}"].x'
    for name, value in (("_absent", "not_resident"), ("_cut", 9)):
        kind = pa.map_(pa.string(), pa.string() if name == "_absent" else pa.uint64())
        fields.append(pa.field(name, kind))
        arrays.append(pa.array([[(key, value)], [], []], kind))
    control = [("time_", pa.int64()), ("pid", pa.uint32()), ("tid", pa.uint32())]
    fields = [pa.field(name, kind) for name, kind in control] + fields
    arrays = [pa.array([1, 2, 3], kind) for _, kind in control] + arrays
    return RecordBatch(pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))), secrets


def masked(seed: int) -> tuple[MaskedBatch, list[Secret]]:
    batch, secrets = planted(seed)
    return mask(batch, rules("alpha", "beta", "gamma")), secrets


def found(secrets: list[Secret], *where: bytes) -> list[bytes]:
    return [needle for each in secrets for needle in each.needles if any(needle in one for one in where)]


async def sent(uplink: Uplink, batch: MaskedBatch) -> records_pb2.Batch:
    """The batch as the spool keeps it and the stream sends it."""
    uplink.send(batch, BatchHead("tp_1", "money_sum", 1, records_pb2.Accounting(hits=3, delivered=3)))
    return await uplink._spool.next()


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_no_planted_secret_is_in_masked_rows_or_what_is_logged(seed, caplog):
    caplog.set_level(logging.INFO)
    batch, secrets = masked(seed)
    rows = json.dumps(list(agent_rows(batch.columns)), default=str).encode()
    assert not found(secrets, rows, str(batch.columns.to_pydict()).encode(), caplog.text.encode())
    assert not any(receipt.rule in {"unscanned", "none"} for receipt in batch.receipts)


async def test_no_planted_secret_is_in_uplink_bytes_database_results_exports_or_audit(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    uplink = Uplink(Server.parse("127.0.0.1:1"), NOBODY, IdentityStore(tmp_path), tmp_path)  # never connected
    secrets: list[Secret] = []
    clock = ManualClock(datetime(2026, 11, 24, 12, tzinfo=UTC))
    directory = FakeDirectory({("acme", "tp_1"): TracepointFacts("money_sum", 1, frozenset({"ag_1"}), ended=False)})
    async with sqlite_database(tmp_path) as database:
        trail = BreakableTrail(database, clock)
        canaries = Canaries(database, clock, CanaryAlarm(trail, clock))
        intake = RecordIntake(database, clock, directory, Arrivals(), canaries)
        service = RecordService(database, trail, directory, clock)
        for seed in range(BATCHES):
            batch, fresh = masked(seed)
            wire = await sent(uplink, batch)
            assert not found(fresh, wire.SerializeToString())
            assert await intake.store("acme", "ag_1", wire) == ""
            uplink._spool.acknowledge(records_pb2.BatchAck(tracepoint_id="tp_1", sequence=wire.sequence))
            secrets += fresh
        answer = await service.rows(READ, "money_sum", 1000)
        exports = RecordExports(database, service)
        files = {
            form: b"".join([part async for part in (await exports.open(READ, "money_sum", form)).pieces])
            for form in Format
        }
        log = json.dumps(await entries(database), default=str).encode()
    unpacked = [
        str(parquet.read_table(pa.BufferReader(files[Format.PARQUET])).to_pylist()).encode(),
        str(pa.ipc.open_stream(files[Format.ARROW]).read_all().to_pylist()).encode(),
    ]
    on_disk = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(answer.rows) == BATCHES * 3
    assert all(files.values())
    results = json.dumps([dict(row) for row in answer.rows], default=str).encode()
    assert not found(secrets, results, log, caplog.text.encode(), *files.values(), *unpacked, *on_disk)


def test_every_secret_would_be_found_if_it_came_through():
    """The test of the test: unmasked, each is there in a form that is looked for, but texts planted in columns of numbers."""
    for seed in range(500):
        chance = random.Random(seed)
        hidden = secret(chance)
        shape, array = column(chance, hidden)
        raw = str([value.hex() if isinstance(value, bytes) else value for value in array.to_pylist()]).encode()
        numbers_only = shape in {"integer", "float"} and hidden.number is None
        assert numbers_only or found([hidden], raw), (shape, hidden, raw)
