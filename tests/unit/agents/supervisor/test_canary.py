"""A planted card goes the way of every row; where it can be read afterwards, nothing of the tenant goes on."""

from __future__ import annotations

import asyncio

from wire import canary

from agents.supervisor import life
from tests.builders.specs import spec, template
from tests.unit.agents.supervisor.test_supervisor import (  # noqa: F401 -- the fixtures of a supervisor on a fake host
    Agent,
    _impatient,
    agent,
    host,
    until,
)

# ruff: noqa: F811 -- a test's parameter is the fixture above


def planted(agent: Agent, tracepoint: str = "tp_1") -> list[int]:
    return [head.canary for _, head in agent.gateway.batches if head.canary and head.tracepoint_id == tracepoint]


async def test_each_probe_sends_one_hidden_card_a_minute(agent, host, monkeypatch):
    host.texts = True
    minute = 100
    monkeypatch.setattr(life, "minute_of", lambda: minute)
    await agent.want(spec(template()))
    await until(lambda: planted(agent) == [100])
    minute = 101
    await until(lambda: planted(agent) == [100, 101])
    host.armed[0].fire(7)
    await until(lambda: any(not head.canary for _, head in agent.gateway.batches))
    assert planted(agent) == [100, 101]
    row = agent.gateway.batches[0][0].columns.to_pylist()[0]
    assert (row["text"], agent.gateway.batches[0][1].accounting.hits) == ("<HIDDEN>", 0)


async def test_a_probe_of_numbers_plants_nothing(agent, host):
    await agent.want(spec(template()))
    await agent.armed()
    host.armed[0].fire(7)
    await until(lambda: agent.gateway.rows == [7])
    assert planted(agent) == []


async def test_a_card_in_clear_ends_every_probe_of_the_tenant_and_no_row_leaves(agent, host, monkeypatch):
    host.texts = True
    minute = 100
    monkeypatch.setattr(life, "minute_of", lambda: minute)
    for tracepoint in ("tp_1", "tp_2"):
        await agent.want(spec(template(), tracepoint))
    await until(lambda: planted(agent, "tp_1") and planted(agent, "tp_2"))
    sent = len(agent.gateway.batches)
    host.masks.clear()  # what is masked from here on lets texts out
    host.armed[0].fire(1, 2, 3)
    await asyncio.sleep(0)
    host.lets_texts_out, minute = True, 101
    host.masks.set()
    await agent.gone()
    ends = {status.tracepoint_id: status for status in agent.gateway.statuses if status.end_reason}
    assert {end.end_reason for end in ends.values()} == {"canary"}
    assert len(ends) == 2
    assert "in clear" in ends["tp_1"].detail
    card = canary.card("tp_1", 101)
    for batch, head in agent.gateway.batches[sent:]:
        assert not canary.given_away(batch.columns.to_pydict(), card)
        assert head.canary != 101 or head.tracepoint_id != "tp_1"


async def test_what_waited_when_the_card_came_out_is_counted_as_withheld(agent, host, monkeypatch):
    host.texts = host.lets_texts_out = True
    host.masks.clear()
    await agent.want(spec(template()))
    await agent.armed()
    host.armed[0].fire(1, 2, 3)
    host.masks.set()
    await agent.gone()
    last = agent.gateway.batches[-1]
    counted = last[1].accounting
    assert (last[1].end_reason, last[0].columns.num_rows, agent.gateway.rows) == ("canary", 0, [])
    assert (counted.hits, counted.delivered, dict(counted.lost)) == (3, 0, {"withheld": 3})
