"""Write entries into a tenant's log and sign what it holds: the `AuditTrail` that every step writes to.

    append       the tree row is locked, the entry gets the next index, its leaf and the nodes it completes are
                 written, all in the caller's transaction: no entry, no change
    checkpoint   (size, root, time) signed with the audit key; at every export and every few seconds in between

Who may read it, and with which proofs, is `control_plane.audit.reading`.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import insert, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from wire import merkle
from wire.checkpoint import Checkpoint, origin_of, sign

from control_plane.audit.entry import entry_bytes, text
from control_plane.audit.tables import AuditCheckpointRow, AuditEntryRow, AuditNodeRow, AuditTreeRow
from control_plane.foundation.audit_trail import AuditEvent
from control_plane.foundation.clock import Clock
from control_plane.foundation.correlation import current_request_id
from control_plane.foundation.database import Database, EveryTenant
from control_plane.foundation.errors import AuditUnavailable
from control_plane.foundation.identifiers import TenantId
from control_plane.foundation.uninterrupted import uninterrupted

CHECKPOINT_EVERY: Final = timedelta(seconds=10)  # so long may the newest entries stand unsigned
_SEARCHED: Final = 512  # characters of actor and resource in the search columns; the entry has all
_REQUEST_ID: Final = 128  # characters in the search column

log = logging.getLogger(__name__)


class AuditLog:
    def __init__(self, database: Database, clock: Clock, key: Ed25519PrivateKey) -> None:
        self._database = database
        self._clock = clock
        self._key = key

    @property
    def public_key(self) -> Ed25519PublicKey:
        return self._key.public_key()

    async def append(self, session: AsyncSession, tenant: TenantId, event: AuditEvent) -> int:
        """Write one entry into the session's transaction; its index. Raises AuditUnavailable, whatever went wrong."""
        try:
            return await self._append(session, tenant, event)
        except (SQLAlchemyError, OSError, TypeError, ValueError) as error:
            raise AuditUnavailable(
                f"the audit log of this tenant cannot take the entry {event.action}: nothing was done; try again, "
                "and if it stays so look at the control plane's log"
            ) from error

    async def _append(self, session: AsyncSession, tenant: TenantId, event: AuditEvent) -> int:
        frontier = await self._locked_tree(session, tenant)
        index, now = frontier.size, self._clock.now()
        request_id = event.request_id or current_request_id.get()
        entry = entry_bytes(tenant, index, now, event, request_id)
        leaf = merkle.leaf_hash(entry)
        grown, completed = frontier.append(leaf)
        await session.execute(
            insert(AuditEntryRow).values(
                tenant=tenant,
                number=index,
                entry=entry,
                leaf=leaf,
                time=now,
                action=event.action.value,
                outcome=event.outcome.value,
                actor=text(event.actor)[:_SEARCHED],
                resource=text(event.resource)[:_SEARCHED],
                request_id=text(request_id)[:_REQUEST_ID],
            )
        )
        if completed:
            rows = [
                {"tenant": tenant, "level": node.level, "number": node.number, "hash": value}
                for node, value in completed
            ]
            await session.execute(insert(AuditNodeRow), rows)
        changed = (
            update(AuditTreeRow)
            .where(AuditTreeRow.tenant == tenant)
            .values(size=grown.size, peaks=grown.to_bytes())
            .execution_options(synchronize_session=False)
        )
        await session.execute(changed)
        return index

    async def _locked_tree(self, session: AsyncSession, tenant: TenantId) -> merkle.Frontier:
        """The tree as it is, which nobody else can append to before this transaction ends.

        SQLite's transactions begin IMMEDIATE, so the whole database is already ours; PostgreSQL locks the row.
        """
        wanted = select(AuditTreeRow.size, AuditTreeRow.peaks).where(AuditTreeRow.tenant == tenant).with_for_update()
        found = (await session.execute(wanted)).one_or_none()
        if found is None:
            first = {"tenant": tenant, "size": 0, "peaks": b""}
            if session.get_bind().dialect.name == "postgresql":
                await session.execute(postgresql.insert(AuditTreeRow).values(first).on_conflict_do_nothing())
            else:
                await session.execute(insert(AuditTreeRow).values(first))
            found = (await session.execute(wanted)).one()
        return merkle.Frontier.from_bytes(found.size, found.peaks)

    async def checkpoint(self, session: AsyncSession, tenant: TenantId) -> str:
        """The signed checkpoint of the log as it is in this transaction; made, if the newest one is older."""
        frontier = await self._locked_tree(session, tenant)
        kept = await session.scalar(
            select(AuditCheckpointRow.note).where(
                AuditCheckpointRow.tenant == tenant, AuditCheckpointRow.size == frontier.size
            )
        )
        if kept is not None:
            return kept
        now = self._clock.now()
        note = sign(Checkpoint(origin_of(tenant), frontier.size, frontier.root(), now), self._key)
        row = insert(AuditCheckpointRow).values(tenant=tenant, size=frontier.size, time=now, note=note)
        await session.execute(row)
        return note

    async def checkpoint_all(self) -> int:
        """Sign every log that grew since its newest checkpoint; how many were."""
        signed = (
            select(AuditCheckpointRow.size)
            .where(AuditCheckpointRow.tenant == AuditTreeRow.tenant, AuditCheckpointRow.size == AuditTreeRow.size)
            .exists()
        )
        async with self._database.transaction(EveryTenant("which logs grew since they were signed")) as session:
            tenants = (await session.scalars(select(AuditTreeRow.tenant).where(~signed))).all()
        for tenant in tenants:
            async with self._database.transaction(TenantId(tenant)) as session:
                await self.checkpoint(session, TenantId(tenant))
        return len(tenants)

    async def keep_signing(self, every: timedelta = CHECKPOINT_EVERY) -> None:
        """Run `checkpoint_all` until cancelled; a database that is away is tried again."""
        while True:
            await asyncio.sleep(every.total_seconds())
            try:
                await uninterrupted(self.checkpoint_all())
            except (SQLAlchemyError, OSError):
                log.exception("the audit logs could not be signed; trying again in %s", every)
