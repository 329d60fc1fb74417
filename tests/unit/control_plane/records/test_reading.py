"""Rows come back exactly, in order, to those of their tenant, and never without an entry in the log."""

import asyncio
import csv
import io
import json
import math
from datetime import timedelta

import anyio
import httpx
import pyarrow as pa
import pytest
from fastapi import FastAPI
from pyarrow import parquet
from sqlalchemy import text

from agents.decoding import rows as agents_rows
from control_plane.foundation.audit_trail import AuditAction
from control_plane.foundation.errors import AuditUnavailable, Denied, Invalid, NotFound
from control_plane.foundation.provision import Provision
from control_plane.http import problems
from control_plane.policy.asking import granted
from control_plane.policy.model import Permission
from control_plane.policy.roles import read_roles
from control_plane.policy.service import PolicyService
from control_plane.records.exports import Format, RecordExports
from control_plane.records.live import Counted, End, LiveRecords, Rows
from control_plane.records.model import Place, TracepointFacts
from control_plane.records.routes import router
from control_plane.records.rows import to_rows
from control_plane.records.service import RecordService, cursor, read_cursor
from control_plane.records.unifying import fitted, unified
from tests.builders.audit_trail import entries
from tests.builders.principals import grant
from tests.builders.record_batches import columns, wire_batch

READ = grant(Permission.RECORDS_READ)


async def again():
    return READ


async def fill(intake, batches=3, size=4):
    for sequence in range(1, batches + 1):
        values = range((sequence - 1) * size, sequence * size)
        assert await intake.store("acme", "ag_1", wire_batch(sequence, list(values), hits=size)) == ""


def units(rows):
    return [row["units"] for row in rows]


async def test_the_newest_rows_come_with_the_newest_last(intake, records):
    await fill(intake)
    answer = await records.rows(READ, "money_sum", 6)
    assert units(answer.rows) == [6, 7, 8, 9, 10, 11]
    assert answer.rows[-1] == {"time_": 3003, "pid": 42, "tid": 43, "units": 11}


async def test_a_cursor_goes_through_all_rows_once(intake, records):
    await fill(intake)
    seen, place, more = [], cursor(Place()), True
    while more:
        answer = await records.rows(READ, "money_sum", 5, place)
        seen += units(answer.rows)
        place, more = cursor(answer.place), answer.more
    assert seen == list(range(12))
    await intake.store("acme", "ag_2", wire_batch(1, [99]))
    assert units((await records.rows(READ, "money_sum", 5, place)).rows) == [99]


@pytest.mark.parametrize("text", ["x", "cjE6MTox!", "cjI6MTox", "a" * 200])
def test_a_cursor_that_was_not_given_is_refused(text):
    with pytest.raises(Invalid):
        read_cursor(text)


async def test_rows_of_one_tracepoint(intake, records, directory):
    directory.known["acme", "tp_2"] = TracepointFacts("money_sum", 1, frozenset({"ag_1"}), ended=False)
    await fill(intake, 1)
    await intake.store("acme", "ag_1", wire_batch(1, [77], tracepoint="tp_2"))
    answer = await records.rows(READ, "money_sum", 10, tracepoint="tp_2")
    assert units(answer.rows) == [77]
    assert answer.accounting.hits == 1


async def test_another_tenants_table_is_not_there(intake, records):
    await fill(intake)
    other = grant(Permission.RECORDS_READ, tenant="umbrella")
    with pytest.raises(NotFound) as theirs:
        await records.rows(other, "money_sum", 1)
    with pytest.raises(NotFound) as absent:
        await records.rows(READ, "no_table", 1)
    assert str(theirs.value).replace("money_sum", "no_table") == str(absent.value)
    assert await records.tables(other) == ()


async def test_every_read_is_in_the_log_and_without_it_there_are_no_rows(
    intake, records, exports, live, database, trail
):
    await fill(intake, 1)
    await records.tables(READ)
    await records.rows(READ, "money_sum", 3)
    await exports.open(READ, "money_sum", Format.CSV)
    await live.opened(READ, "money_sum", None, None, again)
    details = [entry["detail"] for entry in await entries(database)]
    assert details == [
        {"what": "tables"},
        {"rows": 3},
        {"what": "export", "format": "csv", "version": 1, "rows": 4},
        {"what": "stream"},
    ]
    trail.broken = {AuditAction.RECORDS_READ}
    for read in (
        records.tables(READ),
        records.rows(READ, "money_sum", 3),
        exports.open(READ, "money_sum", Format.CSV),
        live.opened(READ, "money_sum", None, None, again),
    ):
        with pytest.raises(AuditUnavailable):
            await read


def test_values_become_json_exactly():
    nested = pa.array([{"a": [2**63 - 1, None], "f": math.nan}, None])
    maps = pa.array([[("x", 1)], [("x", 1), ("x", 2)]], pa.map_(pa.string(), pa.int64()))
    moments = pa.array([1_700_000_000_000_000, None], pa.timestamp("us", "UTC"))
    cuts = pa.array([[("m", 300)], []], pa.map_(pa.string(), pa.uint64()))
    time_ = pa.array([1, 2], pa.int64())
    goid = pa.array([7, None], pa.uint64())
    batch = pa.RecordBatch.from_arrays(
        [time_, goid, nested, maps, moments, cuts], ["time_", "goid", "n", "m", "t", "_cut"]
    )
    first, second = to_rows(batch)
    assert first == {
        "time_": 1,
        "goid": 7,
        "n": {"a": [2**63 - 1, None], "f": "NaN"},
        "m": [["x", 1]],
        "t": "2023-11-14T22:13:20+00:00",
        "_cut": {"m": 300},
    }
    assert second == {"time_": 2, "goid": None, "n": None, "m": [["x", 1], ["x", 2]], "t": None}


def test_rows_look_as_the_agent_shows_them():
    json_text = pa.field("value", pa.string(), metadata={"encoding": "json"})
    boxes = pa.StructArray.from_arrays(
        [pa.array(["*x", "*x"]), pa.array(['{"a":[1,null]}', "<REDACTED>"])],
        fields=[pa.field("type", pa.string()), json_text],
    )
    absent = pa.array([[("b", "nil_pointer")], None], pa.map_(pa.string(), pa.string()))
    arrays = [pa.array([1, 2], pa.int64()), boxes, pa.array([[1.5, math.inf], None]), absent]
    fields = [pa.field(name, array.type) for name, array in zip(["time_", "b", "f", "_absent"], arrays, strict=True)]
    batch = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
    assert list(to_rows(batch)) == list(agents_rows.to_rows(batch))
    assert next(to_rows(batch))["b"] == {"type": "*x", "value": {"a": [1, None]}}


def test_json_that_is_too_deep_stays_text():
    deep = "[" * 200 + "]" * 200
    field = pa.field("v", pa.string(), metadata={"encoding": "json"})
    batch = pa.RecordBatch.from_arrays([pa.array([deep, "[[]]"])], schema=pa.schema([field]))
    assert [row["v"] for row in to_rows(batch)] == [deep, [[]]]


def test_batches_of_other_types_fit_one_schema():
    one = columns(pa.array([{"n": 4, "tags": [1]}]))
    other = columns(pa.array([{"n": "<CARD>", "more": True}]))
    schema = unified([one.schema, other.schema])
    rows = [row["units"] for batch in (one, other) for row in fitted(batch, schema).to_pylist()]
    assert rows == [{"n": "4", "tags": [1], "more": None}, {"n": "<CARD>", "tags": None, "more": True}]


async def exported(exports, form):
    found = await exports.open(READ, "money_sum", form)
    return b"".join([piece async for piece in found.pieces])


async def test_every_format_has_all_rows(intake, exports):
    await fill(intake, 12)
    await intake.store("acme", "ag_2", wire_batch(1, pa.array(["=cmd()", "<CARD>"])))
    expected = [str(n) for n in range(48)] + ["=cmd()", "<CARD>"]
    lines = [json.loads(line) for line in (await exported(exports, Format.JSONL)).splitlines()]
    assert [str(line["units"]) for line in lines] == expected
    table = list(csv.DictReader(io.StringIO((await exported(exports, Format.CSV)).decode())))
    assert [row["units"] for row in table] == [*expected[:-2], "'=cmd()", "<CARD>"]
    read = parquet.read_table(io.BytesIO(await exported(exports, Format.PARQUET)))
    assert read["units"].to_pylist() == expected
    assert pa.ipc.open_stream(await exported(exports, Format.ARROW)).read_all()["units"].to_pylist() == expected


async def collected(events, stop=End):
    found = []
    async for event in events:
        found.append(event)
        if isinstance(event, stop):
            return found
    return found


async def test_a_stream_gives_old_and_new_rows_and_ends_when_all_is_drained(intake, live, directory):
    await fill(intake, 2)
    events = await live.opened(READ, "money_sum", "tp_1", None, again)
    assert units((await anext(events)).rows) == list(range(8))
    assert (await anext(events)).accounting.hits == 4
    await intake.store("acme", "ag_1", wire_batch(3, [100], hits=9, final=True, end_reason="ttl"))
    directory.known["acme", "tp_1"] = TracepointFacts("money_sum", 1, frozenset({"ag_1"}), ended=True, end_reason="ttl")
    rows, counted, end = await collected(events)
    assert units(rows.rows) == [100]
    assert isinstance(counted, Counted)
    assert (end.reason, end.accounting.hits) == ("ttl", 9)


async def test_a_stream_resumes_behind_its_last_event(intake, live):
    await fill(intake, 2)
    events = await live.opened(READ, "money_sum", "tp_1", Place(1, 3), again)
    assert units((await anext(events)).rows) == [3, 4, 5, 6, 7]
    await events.aclose()


async def test_a_table_is_streamed_from_now_on(intake, live):
    await fill(intake, 2)
    events = await live.opened(READ, "money_sum", None, None, again)
    assert isinstance(await anext(events), Counted)
    await intake.store("acme", "ag_1", wire_batch(3, [100]))
    assert units((await anext(events)).rows) == [100]
    await events.aclose()


async def test_a_silent_host_does_not_keep_a_stream_open_for_ever(intake, live, directory, clock):
    await fill(intake, 1)
    directory.known["acme", "tp_1"] = TracepointFacts(
        "money_sum", 1, frozenset({"ag_1"}), ended=True, end_reason="lease"
    )
    events = await live.opened(READ, "money_sum", "tp_1", None, again)
    await collected(events, Counted)
    clock.advance(timedelta(seconds=1))
    pending = anext(events)
    clock.advance(timedelta(seconds=6))
    assert (await pending).reason == "lease"


async def test_a_stream_ends_with_the_right_to_it(intake, live, clock):
    async def revoked():
        raise Denied("no longer")

    await fill(intake, 1)
    events = await live.opened(READ, "money_sum", "tp_1", None, revoked)
    assert isinstance(await anext(events), Rows)
    clock.advance(timedelta(seconds=61))
    assert [event.reason for event in await collected(events) if isinstance(event, End)] == ["denied"]


@pytest.fixture
async def http(records, live, exports, database, trail, clock):
    app = FastAPI()
    app.state.provision = Provision()
    app.state.provision.add(RecordService, records)
    app.state.provision.add(LiveRecords, live)
    app.state.provision.add(RecordExports, exports)
    app.state.provision.add(PolicyService, PolicyService(database, trail, read_roles(), clock))
    app.include_router(router)
    app.dependency_overrides[granted] = lambda: READ
    problems.install(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t/v1/tenants/acme") as client:
        yield client


async def test_rows_over_http_come_with_accounting(intake, http):
    await fill(intake)
    (table,) = (await http.get("/tables")).json()["items"]
    assert (table["name"], table["rows"]) == ("money_sum", 12)
    answer = (await http.get("/tables/money_sum/rows", params={"limit": 2})).json()
    assert units(answer["rows"]) == [10, 11]
    assert answer["accounting"] == {
        "hits": 4,
        "delivered": 4,
        "filtered": 0,
        "sampled_out": 0,
        "throttled": 0,
        "expired": 0,
        "lost": {},
        "adds_up": True,
    }
    assert (await http.get("/tables/money_sum/rows", params={"limit": 0})).status_code == 422
    assert (await http.get("/tables/none/rows")).json()["code"] == "not_found"


async def test_a_stream_over_http_is_server_sent_events(intake, http, directory):
    await intake.store("acme", "ag_1", wire_batch(1, [5], final=True, end_reason="ttl"))
    directory.known["acme", "tp_1"] = TracepointFacts("money_sum", 1, frozenset({"ag_1"}), ended=True, end_reason="ttl")
    answer = await http.get("/tables/money_sum/stream", params={"tracepoint": "tp_1"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    blocks = [dict(line.split(": ", 1) for line in block.splitlines()) for block in answer.text.strip().split("\n\n")]
    assert [block["event"] for block in blocks] == ["rows", "accounting", "end"]
    assert json.loads(blocks[0]["data"])["rows"][0]["units"] == 5
    resumed = await http.get(
        "/tables/money_sum/stream", params={"tracepoint": "tp_1"}, headers={"last-event-id": blocks[0]["id"]}
    )
    assert "event: rows" not in resumed.text
    assert (await http.get("/tables/money_sum/stream", params={"tracepoint": "tp_9"})).status_code == 404


async def test_an_export_over_http_names_its_file(intake, http):
    await fill(intake)
    answer = await http.get("/tables/money_sum/export", params={"format": "csv"})
    assert 'filename="money_sum-v1.csv"' in answer.headers["content-disposition"]
    assert len(answer.text.splitlines()) == 13


@pytest.mark.parametrize("what", ["stream", "export"])
async def test_who_goes_in_the_middle_of_a_look_leaves_no_transaction_behind(
    intake, live, exports, database, monkeypatch, what
):
    monkeypatch.setattr("control_plane.records.live.LOOK_EVERY", timedelta(0))
    await fill(intake, 2)

    async def read(answer) -> None:
        async for _ in answer:
            pass

    for moments in range(0, 400, 5):
        export = await exports.open(READ, "money_sum", Format.CSV)
        stream = await live.opened(READ, "money_sum", "tp_1", None, again)
        async with (
            anyio.create_task_group() as connection
        ):  # as the web server ends an answer that nobody reads any more
            connection.start_soon(read, export.pieces if what == "export" else stream)
            await asyncio.sleep(moments * 0.00005)
            connection.cancel_scope.cancel()
        async with asyncio.timeout(5), database.transaction("acme") as session:
            assert await session.scalar(text("SELECT 1")) == 1
