"""What masking covers, on both databases: the sums that a plain walk over the same receipts gives, and whose they are."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pyarrow as pa
import pytest
from fastapi import FastAPI
from wire.v1 import records_pb2

from control_plane.foundation.audit_trail import AuditAction
from control_plane.foundation.errors import AuditUnavailable, Invalid
from control_plane.foundation.provision import Provision
from control_plane.http import problems
from control_plane.masking.tables import MaskingRuleRow
from control_plane.policy.asking import granted
from control_plane.policy.model import Permission
from control_plane.records.coverage import Firing, MaskingCoverage, Shown
from control_plane.records.coverage_reading import MAX_LINES
from control_plane.records.coverage_routes import router
from control_plane.records.intake import MAX_COUNT
from control_plane.records.model import TracepointFacts
from control_plane.tracepoints.tables import TracepointRow
from language.masking_rules import load_rules
from tests.builders.audit_trail import entries
from tests.builders.principals import grant
from tests.builders.record_batches import wire_batch

PACK = load_rules((Path(__file__).parents[4] / "policies/masking/platform.yaml").read_text())
READ = grant(Permission.MASKING_READ)
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DETECT = "platform:default.string"


@pytest.fixture
def coverage(database, trail, clock):
    return MaskingCoverage(database, trail, clock, PACK)


@dataclass
class Written:
    """Tracepoints and their batches, as a test has them stored: `count` adds up what the receipts said."""

    database: object
    directory: object
    intake: object
    sequences: Counter = field(default_factory=Counter)
    delivered: Counter = field(default_factory=Counter)

    async def tracepoint(self, identity, template, table="money_sum", *, tenant="acme", ended=None):
        facts = TracepointFacts(table, 1, frozenset({"ag_1", "ag_2"}), ended=False)
        self.directory.known[tenant, identity] = facts
        began = (ended or NOW) - timedelta(hours=1)
        row = TracepointRow(
            tenant=tenant, id=identity, name=identity, version=1, state="ended" if ended else "running",
            template_name=template, template_version=1, template_digest="", fingerprint="", table_name=table,
            table_version=1, columns=[], parameters={}, target={}, ttl_ms=1, requested_by="x|alice",
            requested_by_name="alice", created_at=began, issued_at=began, not_after=NOW, ended_at=ended,
            end_reason="", envelope=b"", spec_digest="",
        )  # fmt: skip
        async with self.database.transaction(tenant) as session:
            session.add(row)

    async def batch(self, identity, *receipts, agent="ag_1", tenant="acme", values=(1, 2), table="money_sum"):
        """Receipts as (column, rule, action, values, hidden)."""
        told = [
            records_pb2.Receipt(column=column, rule=rule, action=action, values=seen, hidden=hidden)
            for column, rule, action, seen, hidden in receipts
        ]
        place = (tenant, identity, agent)
        self.sequences[place] += 1
        self.delivered[place] += len(values)
        sent = wire_batch(
            self.sequences[place], pa.array(values, pa.int64()), tracepoint=identity, table=table, receipts=told
        )
        sent.accounting.delivered = sent.accounting.hits = self.delivered[place]
        sent.accounting.filtered = 0
        assert await self.intake.store(tenant, agent, sent) == ""


@pytest.fixture
def written(database, directory, intake):
    directory.known.clear()
    return Written(database, directory, intake)


async def pages(coverage, who=READ, since=None, limit=100):
    found, cursor = [], ""
    while cursor is not None:
        page = await coverage.fields(who, since, limit, cursor)
        assert len(page.items) <= limit
        found += page.items
        cursor = page.next
    return found


async def of(coverage, **more):
    return {field.column: field for field in await pages(coverage, **more)}


async def own_rule(database, name, tenant="acme", changed_at=NOW):
    document = json.dumps({"name": name, "path": "l.Code", "action": "redact"})
    async with database.transaction(tenant) as session:
        session.add(
            MaskingRuleRow(
                tenant=tenant, name=name, document=document, revision=1, changed_by="x|ann", changed_at=changed_at
            )
        )


async def test_the_sums_are_those_of_a_plain_walk_over_all_receipts(written, coverage):
    chosen = random.Random(7)
    rules = [(DETECT, "detect"), ("tenant:code", "redact"), ("unscanned", "detect"), ("platform:pin", "drop")]
    lines, rows = defaultdict(Counter), Counter()
    for number in range(8):
        tenant, template, table = "acme" if number % 4 else "umbrella", f"t{number % 3}", f"table{number % 2}"
        await written.tracepoint(f"tp_{number}", template, table, tenant=tenant)
        for _ in range(3):
            agent, size, receipts = chosen.choice(["ag_1", "ag_2"]), chosen.randint(1, 5), []
            for column in ("a", "b", "c"):
                rule, action = chosen.choice(rules)
                seen = chosen.randint(0, 9)
                hidden = seen if rule == "unscanned" else chosen.randint(0, seen)
                receipts.append((column, rule, action, seen, hidden))
                lines[tenant, template, table, column][rule, action, "seen"] += seen
                lines[tenant, template, table, column][rule, action, "hidden"] += hidden
            rows[tenant, template, table] += size
            await written.batch(f"tp_{number}", *receipts, agent=agent, tenant=tenant, table=table, values=range(size))

    for tenant in ("acme", "umbrella"):
        found = await pages(coverage, grant(Permission.MASKING_READ, tenant=tenant), limit=2)
        assert [(one.template, one.table, one.column) for one in found] == sorted(
            key[1:] for key in lines if key[0] == tenant
        )
        for one in found:
            truth = lines[tenant, one.template, one.table, one.column]
            said = Counter()
            for line in one.lines:
                said[line.rule, line.action, "seen"] += line.values
                said[line.rule, line.action, "hidden"] += line.hidden
            assert +said == +truth
            seen = sum(count for (_, _, what), count in truth.items() if what == "seen")
            hidden = sum(count for (_, _, what), count in truth.items() if what == "hidden")
            assert one.in_clear == seen - hidden
            assert one.unscanned == truth["unscanned", "detect", "hidden"]
            assert one.rows == rows[tenant, one.template, one.table]
            assert one.more_lines == 0


async def test_a_field_says_whether_its_values_were_shown(written, coverage):
    await written.tracepoint("tp_1", "sums")
    await written.batch(
        "tp_1",
        ("units", DETECT, "detect", 2, 0),
        ("mixed", DETECT, "detect", 2, 1),
        ("code", "tenant:code", "redact", 2, 2),
        ("cvv", "platform:card-verification-code", "drop", 0, 0),
    )
    found = await of(coverage)
    assert {name: one.shown for name, one in found.items()} == {
        "units": Shown.ALWAYS,
        "mixed": Shown.SOMETIMES,
        "code": Shown.NEVER,
        "cvv": Shown.NOTHING,
    }
    assert (found["units"].type, found["cvv"].type) == ("int64", "")


async def test_a_field_that_was_once_hidden_is_not_always_in_clear(written, coverage):
    await written.tracepoint("tp_1", "sums")
    await written.tracepoint("tp_2", "sums")
    await written.batch("tp_1", ("units", DETECT, "detect", 1000, 0))
    assert (await of(coverage))["units"].shown is Shown.ALWAYS
    await written.batch("tp_2", ("units", DETECT, "detect", 1, 1))
    assert (await of(coverage))["units"].shown is Shown.SOMETIMES


async def test_what_ended_before_the_period_does_not_count(written, coverage):
    await written.tracepoint("tp_1", "old", ended=NOW - timedelta(days=31))
    await written.tracepoint("tp_2", "new", ended=NOW - timedelta(days=29))
    await written.tracepoint("tp_3", "live")
    for identity in ("tp_1", "tp_2", "tp_3"):
        await written.batch(identity, ("units", "platform:latency", "allow", 2, 0))
    assert [one.template for one in await pages(coverage)] == ["live", "new"]
    assert [one.template for one in await pages(coverage, since=NOW - timedelta(days=32))] == ["live", "new", "old"]
    assert [one.template for one in await pages(coverage, since=NOW - timedelta(days=1))] == ["live"]


@pytest.mark.parametrize("since", [NOW + timedelta(seconds=1), NOW - timedelta(days=367)])
async def test_a_period_is_bounded(coverage, since):
    with pytest.raises(Invalid, match="since is"):
        await coverage.fields(READ, since)
    with pytest.raises(Invalid, match="since is"):
        await coverage.rules(READ, since)


async def test_rules_that_never_decided_are_told_apart(written, coverage, database):
    await own_rule(database, "code", changed_at=NOW - timedelta(days=3))
    await own_rule(database, "idle")
    await own_rule(database, "theirs", tenant="umbrella")
    await written.tracepoint("tp_1", "sums")
    await written.tracepoint("tp_2", "money")
    await written.batch("tp_1", ("a", "tenant:code", "redact", 3, 3), ("pin", "platform:pin", "drop", 0, 0))
    await written.batch("tp_2", ("a", "tenant:code", "redact", 2, 2), ("b", DETECT, "detect", 4, 0))
    await written.batch("tp_2", ("c", "platform:default.latency", "allow", 0, 0))
    found = {rule.rule: rule for rule in await coverage.rules(READ)}

    assert set(found) == {
        *(PACK.label(rule.name) for rule in PACK.rules),
        *(PACK.label(f"default.{kind}") for kind in PACK.defaults),
        "tenant:code",
        "tenant:idle",
    }
    own = found["tenant:code"]
    assert (own.fields, own.values, own.hidden, own.firing) == (2, 5, 5, Firing.FIRED)
    assert own.in_force_since == NOW - timedelta(days=3)
    assert found["tenant:idle"].firing is Firing.NEVER
    assert found[DETECT].firing is Firing.FIRED  # it looked, and found nothing
    assert found["platform:default.latency"].firing is Firing.NEVER  # no value came
    assert found["platform:pin"].firing is Firing.FIRED  # nothing is ever read, and that is it
    assert found["platform:password"].firing is Firing.UNSEEN
    assert found["platform:pin"].in_force_since is None


async def test_an_agent_that_invents_rules_does_not_make_an_answer_long(written, coverage):
    await written.tracepoint("tp_1", "sums")
    await written.batch("tp_1", *(("units", f"made-up-{number}", "redact", number, number) for number in range(200)))
    (found,) = await pages(coverage)
    assert (len(found.lines), found.more_lines) == (MAX_LINES, 200 - MAX_LINES)
    assert found.lines[0].hidden == 199


async def test_an_agent_that_counts_beyond_all_numbers_hinders_nobody(written, coverage):
    await written.tracepoint("tp_1", "sums")
    for agent in ("ag_1", "ag_2"):
        written.delivered["acme", "tp_1", agent] = 2**64 - 4
        await written.batch("tp_1", ("units", DETECT, "detect", MAX_COUNT >> 20, 0), agent=agent)
    (found,) = await pages(coverage)
    assert (found.in_clear, found.rows > 2**63) == (2 * (MAX_COUNT >> 20), True)


async def test_another_tenant_sees_nothing_of_it(written, coverage):
    await written.tracepoint("tp_1", "sums")
    await written.batch("tp_1", ("units", DETECT, "detect", 2, 1))
    other = grant(Permission.MASKING_READ, tenant="umbrella")
    assert await pages(coverage, other) == []
    assert {rule.values for rule in await coverage.rules(other)} == {0}


async def test_every_look_is_in_the_log_and_without_it_there_is_no_answer(written, coverage, database, trail):
    await coverage.fields(READ)
    await coverage.rules(READ)
    since = (NOW - timedelta(days=30)).isoformat()
    logged = [entry for entry in await entries(database) if entry["action"] == AuditAction.MASKING_READ]
    assert [entry["detail"] for entry in logged] == [
        {"what": "fields", "since": since, "fields": 0},
        {"what": "rules", "since": since},
    ]
    trail.broken = {AuditAction.MASKING_READ}
    for read in (coverage.fields(READ), coverage.rules(READ)):
        with pytest.raises(AuditUnavailable):
            await read


@pytest.mark.parametrize("cursor", ["x", "W10=", "bnVsbA==", "WyJhIiwgImIiLCAzXQ==", "WyJhIiwgImIiLCAiXHUwMDAwIl0="])
async def test_a_cursor_that_was_not_given_is_refused(coverage, cursor):
    with pytest.raises(Invalid, match="cursor"):
        await coverage.fields(READ, cursor=cursor)


async def test_over_http(written, coverage):
    await written.tracepoint("tp_1", "sums")
    await written.batch("tp_1", ("units", DETECT, "detect", 2, 1), ("total", DETECT, "detect", 2, 0))
    app = FastAPI()
    app.state.provision = Provision()
    app.state.provision.add(MaskingCoverage, coverage)
    app.include_router(router)
    app.dependency_overrides[granted] = lambda: READ
    problems.install(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t/v1/tenants/acme") as http:
        first = (await http.get("/masking/coverage", params={"limit": 1})).json()
        second = (await http.get("/masking/coverage", params={"limit": 1, "cursor": first["next"]})).json()
        rules = (await http.get("/masking/coverage/rules")).json()["items"]
        naive = await http.get("/masking/coverage", params={"since": "2026-11-01T00:00:00"})
    assert first["items"][0] | {"rows": 2, "column": "total", "in_clear": 2, "shown": "always"} == first["items"][0]
    assert second["items"][0]["rules"] == [{"rule": DETECT, "action": "detect", "values": 2, "hidden": 1}]
    assert second["next"] is None
    assert {"rule": DETECT, "values": 4, "hidden": 1, "firing": "fired"}.items() <= {
        key: value for rule in rules if rule["rule"] == DETECT for key, value in rule.items()
    }.items()
    assert naive.status_code == 422
