"""The log over HTTP, and an export verified as it comes out of the response."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from wire import audit_lines, merkle
from wire.audit_export import verify_export
from wire.checkpoint import open_checkpoint

from control_plane.audit import routes
from control_plane.audit.reading import AuditReading
from control_plane.audit.service import AuditLog
from control_plane.foundation.audit_trail import AuditAction, AuditEvent, Outcome
from control_plane.foundation.clock import ManualClock
from control_plane.foundation.database import Database
from control_plane.foundation.identifiers import TenantId
from control_plane.foundation.provision import Provision
from tests.builders.asking_app import asking

ACME = TenantId("acme")


@pytest.fixture
async def client(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    log = AuditLog(database, ManualClock(datetime(2026, 11, 24, tzinfo=UTC)), Ed25519PrivateKey.generate())
    for number in range(5):
        async with database.transaction(ACME) as session:
            event = AuditEvent(AuditAction.TEMPLATE_SUBMIT, Outcome.SUCCESS, "issuer|a", f"template/t{number}@1")
            await log.append(session, ACME, event)
    provision = Provision()
    provision.add(AuditReading, AuditReading(database, log))
    async with asking(provision, routes.router) as opened:
        yield opened


async def test_entries_are_searched_page_by_page(client: httpx.AsyncClient) -> None:
    query = {"action": "template.*", "limit": 3, "order": "oldest"}
    first = (await client.get("/audit", params=query)).json()
    assert [entry["index"] for entry in first["items"]] == [0, 1, 2]
    second = (await client.get("/audit", params={**query, "cursor": first["next"]})).json()
    assert [entry["index"] for entry in second["items"]] == [3, 4]
    assert second["next"] is None
    assert first["items"][0]["resource"] == "template/t0@1"


async def test_an_export_verifies_as_it_came(client: httpx.AsyncClient) -> None:
    response = await client.get("/audit/export")
    assert response.headers["content-disposition"] == 'attachment; filename="acme-audit-0-6.jsonl"'
    lines = response.content.splitlines(keepends=True)
    report = verify_export(lines, audit_lines.claimed_key(lines[0]))
    assert report.intact
    assert report.entries == 6


async def test_an_entry_is_proved_to_whoever_holds_the_key(client: httpx.AsyncClient) -> None:
    proof = (await client.get("/audit/proof/2")).json()
    said = (await client.get("/audit/checkpoint")).json()
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(said["key"]))
    point = open_checkpoint(proof["checkpoint"], key)
    leaf = merkle.leaf_hash(base64.b64decode(proof["entry"]))
    assert leaf.hex() == proof["leaf"]
    merkle.verify_inclusion(leaf, 2, point.size, [bytes.fromhex(each) for each in proof["hashes"]], point.root)


async def test_an_earlier_checkpoint_is_proved_to_be_a_beginning(client: httpx.AsyncClient) -> None:
    said = (await client.get("/audit/checkpoint")).json()
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(said["key"]))
    old = open_checkpoint(said["checkpoint"], key)
    proof = (await client.get(f"/audit/consistency/{old.size}")).json()
    new = open_checkpoint(proof["checkpoint"], key)
    hashes = [bytes.fromhex(each) for each in proof["hashes"]]
    merkle.verify_consistency(old.size, old.root, new.size, new.root, hashes)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/audit?limit=0", 422),
        ("/audit?limit=100000", 422),
        ("/audit?cursor=nonsense", 422),
        ("/audit?since=2026-11-24T00:00:00", 422),
        ("/audit?order=random", 422),
        ("/audit/export?first=99", 404),
        ("/audit/export?first=-1", 422),
        ("/audit/proof/99", 404),
        ("/audit/proof/x", 422),
        ("/audit/consistency/99", 404),
    ],
)
async def test_what_cannot_be_answered_is_a_problem(client: httpx.AsyncClient, path: str, status: int) -> None:
    response = await client.get(path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
