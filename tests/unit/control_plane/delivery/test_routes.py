"""The fleet over HTTP: agents listed, tokens made, agents revoked, functions asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from wire.v1 import gateway_pb2

from control_plane.delivery import routes
from control_plane.delivery.enrolment import Enrolment
from control_plane.delivery.service import Fleet
from control_plane.foundation.clock import SystemClock
from control_plane.foundation.database import Database
from control_plane.foundation.provision import Provision
from tests.builders.asking_app import asking
from tests.builders.gateway import HandAgent, RunningGateway, running_gateway
from tests.builders.spec_store import FakeSpecStore


@pytest.fixture
async def gateway(database: Database, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(tmp_path, FakeSpecStore(SystemClock()), database=database) as running:
        yield running


@pytest.fixture
async def client(gateway: RunningGateway) -> AsyncIterator[httpx.AsyncClient]:
    provision = Provision()
    provision.add(Fleet, gateway.fleet)
    provision.add(Enrolment, gateway.enrolment)
    async with asking(provision, routes.router) as opened:
        yield opened


async def test_a_token_made_over_http_lets_a_host_join(client: httpx.AsyncClient, gateway: RunningGateway) -> None:
    response = await client.post("/agents/join-tokens", json={"ttl": "1h30m", "uses": 2})
    assert response.status_code == 201
    agent = HandAgent(gateway.port, gateway.authority.pem)
    await agent.enroll(response.json()["token"])
    assert agent.tenant == "acme"


@pytest.mark.parametrize("body", [{"ttl": "soon"}, {"ttl": "31d"}, {"uses": 0}, {"uses": 10**6}, {"labels": {}}])
async def test_a_token_out_of_bounds_is_not_made(client: httpx.AsyncClient, body: dict) -> None:
    assert (await client.post("/agents/join-tokens", json=body)).status_code == 422


async def test_agents_are_listed_with_whether_they_are_there(
    client: httpx.AsyncClient, gateway: RunningGateway
) -> None:
    here, gone = await gateway.agent(hostname="here"), await gateway.agent(hostname="gone")
    await gateway.agent("globex")
    async with here.sync():
        listed = (await client.get("/agents")).json()["items"]
    assert {each["hostname"]: each["active"] for each in listed} == {"here": True, "gone": False}
    assert {each["id"] for each in listed} == {here.agent_id, gone.agent_id}


async def test_an_agent_is_revoked_once(client: httpx.AsyncClient, gateway: RunningGateway) -> None:
    agent = await gateway.agent()
    assert (await client.delete(f"/agents/{agent.agent_id}")).status_code == 204
    assert (await client.delete(f"/agents/{agent.agent_id}")).status_code == 404
    (listed,) = (await client.get("/agents")).json()["items"]
    assert listed["revoked_at"]


async def test_another_tenant_s_agent_answers_as_an_absent_one(
    client: httpx.AsyncClient, gateway: RunningGateway
) -> None:
    foreign = await gateway.agent("globex")
    answers = [await client.delete(f"/agents/{name}") for name in (foreign.agent_id, "ag_" + "0" * 24)]
    assert [answer.status_code for answer in answers] == [404, 404]
    texts = [answer.json()["detail"].split("'")[2] for answer in answers]
    assert texts[0] == texts[1]


async def test_functions_come_from_the_agents_that_are_connected(
    client: httpx.AsyncClient, gateway: RunningGateway
) -> None:
    assert (await client.get("/functions", params={"service": "shop"})).json()["code"] == "no_agents"
    agent = await gateway.agent()
    async with agent.sync() as stream:
        asking_for = asyncio.create_task(client.get("/functions", params={"service": "shop", "pattern": "Sum"}))
        question = (await stream.receive("functions")).functions
        listed = json.dumps([{"name": "money.Sum", "arguments": [{"name": "l", "type": "Money"}]}])
        await stream.send(functions=gateway_pb2.FunctionsAnswer(question_id=question.question_id, json=listed))
        (function,) = (await asking_for).json()["functions"]
    assert function["name"] == "money.Sum"
    assert function["arguments"] == [{"name": "l", "type": "Money"}]
    assert function["agents"] == [agent.agent_id]
