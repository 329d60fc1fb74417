"""A replica that cannot confirm its policy's version denies: a real PostgreSQL is stopped under a real server, and comes back."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from control_plane.bootstrap.schema import upgrade
from control_plane.foundation.database import Database
from tests.builders.database import stoppable_postgresql
from tests.builders.real_server import real_server

pytestmark = pytest.mark.peer  # its redis-server, and PostgreSQL

BACK_SECONDS = 30.0  # PostgreSQL replays its log first
LOCK = {"kind": "user", "value": "http://issuer|mallory", "reason": "under investigation"}


async def migrated(url: str) -> None:
    database = Database(url)
    await upgrade(database)
    await database.close()


def test_without_its_database_a_server_changes_nothing_and_goes_on_when_it_is_back(tmp_path):
    with stoppable_postgresql() as postgresql:
        asyncio.run(migrated(postgresql.url))
        with (
            real_server(tmp_path / "state", PROBEGATE_DATABASE_URL=postgresql.url) as server,
            httpx.Client(base_url=f"{server.url}/v1/tenants/acme", timeout=30) as http,
        ):
            server.create_tenant("acme", "alice")
            http.headers["authorization"] = f"Bearer {server.token('alice')}"
            assert http.post("/locks", json=LOCK).status_code == 201

            postgresql.stop()
            asked = [
                http.post("/locks", json=LOCK),
                http.put("/members", json={"subject": "bob", "roles": ["viewer"]}),
                http.delete("/locks/lk_000000000000000000000000"),
                http.get("/members"),
                http.get(f"{server.url}/readyz"),
            ]
            assert [answer.status_code for answer in asked] == [503] * len(asked)
            for answer in asked:
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.headers["retry-after"]
                assert "traceback" not in answer.text.lower()
                assert str(tmp_path) not in answer.text

            postgresql.start()
            ends = time.monotonic() + BACK_SECONDS
            while (answer := http.post("/locks", json=LOCK)).status_code == 503 and time.monotonic() < ends:
                time.sleep(0.1)
            assert answer.status_code == 201
            assert len(http.get("/locks").json()["items"]) == 2
