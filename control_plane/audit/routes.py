"""The log over HTTP: search, export, checkpoint, proofs. Every one of them needs `audit:read` and is logged itself."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, BaseModel

from control_plane.audit.reading import MAX_PAGE, AuditQuery, AuditReading, Export, LoggedEntry
from control_plane.foundation.provision import provided
from control_plane.policy.asking import Granted, requires
from control_plane.policy.model import Permission

router = APIRouter(tags=["audit"])
Reading = Annotated[AuditReading, Depends(provided(AuditReading))]
_Text = Annotated[str, Query(max_length=512)]


class EntryOut(BaseModel):
    """One entry: its members, and the hash that stands in the tree."""

    index: int
    time: datetime
    action: str
    outcome: str
    actor: str
    resource: str
    request_id: str
    detail: dict[str, Any]
    leaf: str

    @classmethod
    def of(cls, logged: LoggedEntry) -> EntryOut:
        members = logged.members()
        return cls.model_validate({**members, "index": logged.index, "leaf": logged.leaf.hex()})


class PageOut(BaseModel):
    items: list[EntryOut]
    next: str | None


class CheckpointOut(BaseModel):
    """`checkpoint` is a signed note (c2sp.org/tlog-checkpoint); `key` is the audit key that signed it, in hex."""

    checkpoint: str
    key: str


class InclusionOut(BaseModel):
    """`entry` holds the exact bytes in base64; `hashes` lead from its leaf to the root in `checkpoint`."""

    index: int
    size: int
    leaf: str
    entry: str
    hashes: list[str]
    checkpoint: str


class ConsistencyOut(BaseModel):
    old: int
    size: int
    hashes: list[str]
    checkpoint: str


@router.get("/v1/tenants/{tenant}/audit")
@requires(Permission.AUDIT_READ)
async def search(
    grant: Granted,
    reading: Reading,
    action: _Text = "",
    actor: _Text = "",
    resource: _Text = "",
    outcome: _Text = "",
    request_id: _Text = "",
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
    cursor: _Text = "",
    order: Literal["newest", "oldest"] = "newest",
) -> PageOut:
    """Entries that match every filter; a trailing `*` matches any ending (`action=template.*`)."""
    query = AuditQuery(
        action=action,
        actor=actor,
        resource=resource,
        outcome=outcome,
        request_id=request_id,
        since=since,
        until=until,
        limit=limit,
        cursor=cursor,
        oldest_first=order == "oldest",
    )
    page = await reading.search(grant, query)
    return PageOut(items=[EntryOut.of(entry) for entry in page.entries], next=page.next_cursor or None)


@router.get("/v1/tenants/{tenant}/audit/export", response_class=StreamingResponse)
@requires(Permission.AUDIT_READ)
async def export(grant: Granted, reading: Reading, first: Annotated[int, Query(ge=0)] = 0) -> StreamingResponse:
    """The log as JSON lines for `probegate audit verify`: a header with the signed checkpoint, then every entry."""
    found = await reading.export(grant, first)
    name = f"{found.tenant}-audit-{found.first}-{found.size}.jsonl"
    return StreamingResponse(
        _body(found),
        media_type="application/jsonl",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@router.get("/v1/tenants/{tenant}/audit/checkpoint")
@requires(Permission.AUDIT_READ)
async def checkpoint(grant: Granted, reading: Reading) -> CheckpointOut:
    """What the log is now, signed. Keep it elsewhere: it shows later whether the log was rewritten."""
    note = await reading.checkpoint(grant)
    return CheckpointOut(checkpoint=note, key=reading.public_key.public_bytes_raw().hex())


@router.get("/v1/tenants/{tenant}/audit/proof/{index}")
@requires(Permission.AUDIT_READ)
async def prove_inclusion(grant: Granted, reading: Reading, index: int) -> InclusionOut:
    """That this entry stands in the signed log (RFC 6962, 2.1.1)."""
    proof = await reading.prove_inclusion(grant, index)
    return InclusionOut(
        index=proof.entry.index,
        size=proof.size,
        leaf=proof.entry.leaf.hex(),
        entry=base64.b64encode(proof.entry.entry).decode(),
        hashes=[value.hex() for value in proof.hashes],
        checkpoint=proof.checkpoint,
    )


@router.get("/v1/tenants/{tenant}/audit/consistency/{old}")
@requires(Permission.AUDIT_READ)
async def prove_consistency(grant: Granted, reading: Reading, old: int) -> ConsistencyOut:
    """That the log of `old` entries, of which somebody kept a checkpoint, is the beginning of this one."""
    proof = await reading.prove_consistency(grant, old)
    return ConsistencyOut(
        old=proof.old, size=proof.size, hashes=[value.hex() for value in proof.hashes], checkpoint=proof.checkpoint
    )


async def _body(export: Export) -> AsyncIterator[bytes]:
    yield export.header
    async for chunk in export.lines:
        yield chunk
