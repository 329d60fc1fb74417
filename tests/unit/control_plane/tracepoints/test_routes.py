from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from wire.v1 import gateway_pb2

from control_plane.foundation.idempotency import Idempotency
from control_plane.foundation.provision import Provision
from control_plane.tracepoints.reading import TracepointReading
from control_plane.tracepoints.routes import router
from control_plane.tracepoints.service import TracepointService
from tests.builders.asking_app import asking

CAROL = {"x-by": "carol"}


@pytest.fixture
async def client(world) -> AsyncIterator[httpx.AsyncClient]:
    provision = Provision()
    provision.add(TracepointService, world.service)
    provision.add(Idempotency, Idempotency(world.database, world.clock))
    provision.add(TracepointReading, world.reading)
    async with asking(provision, router) as opened:
        opened.headers.update(CAROL)
        yield opened


async def test_a_tracepoint_from_its_request_to_its_end(world, client) -> None:
    version = await world.approved()
    body = {
        "name": "sums",
        "template": "money-sum",
        "digest": version.digest,
        "parameters": {"minUnits": "5"},
        "target": {"service": "checkoutservice", "pids": [9, 7]},
        "ttl": "1m30s",
    }
    answer = await client.post("/tracepoints", json=body)
    made = answer.json()
    assert (answer.status_code, made["state"], made["ttl"]) == (201, "pending", "1m30s")
    assert made["parameters"] == {"minUnits": 5}
    assert made["target"] == {"service": "checkoutservice", "language": "go", "pids": [7, 9]}
    await world.says("ag_1", await world.show("sums"), gateway_pb2.STATE_ARMED, sites=2)
    shown = (await client.get("/tracepoints/sums")).json()
    assert (shown["state"], shown["agents"][0]["state"], shown["agents"][0]["sites"]) == ("active", "armed", 2)
    assert (await client.get(f"/tracepoints/{made['id']}")).json() == shown
    renewed = await client.post("/tracepoints/sums/renew", json={"ttl": "5m"})
    assert (renewed.status_code, renewed.json()["version"]) == (200, 2)
    listed = (await client.get("/tracepoints", params={"live": True})).json()
    assert [item["name"] for item in listed["items"]] == ["sums"]
    gone = await client.delete("/tracepoints/sums")
    assert (gone.status_code, gone.json()["state"]) == (200, "stopping")
    assert (await client.get("/tracepoints", params={"live": True})).json()["items"] == []


@pytest.mark.parametrize(
    ("chosen", "status", "code", "part"),
    [
        ({"parameters": {"minUnits": 5000}}, 422, "invalid", "from 0 to 1000"),
        ({"parameters": {"minUnits": 1.5}}, 422, "invalid", ""),
        ({"ttl": "48h"}, 422, "ttl_over_cap", "cap of the template"),
        ({"ttl": "10 m"}, 422, "invalid", "is not a duration"),
        ({"target": {"service": "other"}}, 422, "invalid", "was approved for service"),
        ({"target": {"everything": True}}, 422, "invalid", ""),
        ({"template": "none"}, 404, "not_found", "no template"),
        ({"version": 7}, 404, "not_found", ""),
    ],
)
async def test_a_request_that_does_not_fit_is_a_problem(world, client, chosen, status, code, part) -> None:
    await world.approved()
    answer = await client.post("/tracepoints", json={"template": "money-sum"} | chosen)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code)
    assert part in problem["detail"]


async def test_without_redis_it_is_a_503(world, client) -> None:
    await world.approved()
    world.store.away = True
    answer = await client.post("/tracepoints", json={"template": "money-sum"})
    assert (answer.status_code, answer.json()["code"]) == (503, "dependency_unavailable")


async def test_what_is_not_there_is_a_404(client) -> None:
    assert (await client.get("/tracepoints/none")).status_code == 404
    assert (await client.delete("/tracepoints/none")).status_code == 404
    assert (await client.post("/tracepoints/none/renew", json={})).status_code == 404
