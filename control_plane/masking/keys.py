"""A tenant's key for tokens: 32 random bytes, made when a plan first needs it, one epoch after another.

Tokens made under one epoch join with each other, across hosts and tables; those of two epochs never do.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.clock import Clock
from control_plane.foundation.identifiers import TenantId
from control_plane.masking.key_wrapping import KEY_BYTES, KeyWrapper
from control_plane.masking.tables import MaskingKeyRow


@dataclass(frozen=True)
class TenantKey:
    """`key_id` stands in every token: it names the epoch, and says nothing of the key."""

    key_id: str
    key: bytes = field(repr=False)


async def current_key(session: AsyncSession, tenant: TenantId, wrapper: KeyWrapper, clock: Clock) -> TenantKey:
    """The newest epoch's key; the first one is made here. Raises DependencyUnavailable when it cannot be opened."""
    row = await _newest(session, tenant)
    if row is None:
        fresh = MaskingKeyRow(
            tenant=tenant,
            epoch=1,
            wrapped=wrapper.wrap(tenant, 1, secrets.token_bytes(KEY_BYTES)),
            created_at=clock.now(),
        )
        try:
            async with session.begin_nested():
                session.add(fresh)
            row = fresh
        except IntegrityError:  # another replica was first
            row = await _newest(session, tenant)
            if row is None:
                raise
    return TenantKey(f"e{row.epoch}", wrapper.unwrap(tenant, row.epoch, row.wrapped))


async def next_key(session: AsyncSession, tenant: TenantId, wrapper: KeyWrapper, clock: Clock) -> str:
    """A new epoch: what is requested from now on joins with nothing that was. Its id."""
    row = await _newest(session, tenant)
    epoch = 1 if row is None else row.epoch + 1
    wrapped = wrapper.wrap(tenant, epoch, secrets.token_bytes(KEY_BYTES))
    session.add(MaskingKeyRow(tenant=tenant, epoch=epoch, wrapped=wrapped, created_at=clock.now()))
    await session.flush()
    return f"e{epoch}"


async def epochs(session: AsyncSession, tenant: TenantId) -> tuple[tuple[int, datetime], ...]:
    """Each epoch and when it began, the newest first; nothing of the keys."""
    rows = await session.execute(
        select(MaskingKeyRow.epoch, MaskingKeyRow.created_at)
        .where(MaskingKeyRow.tenant == tenant)
        .order_by(MaskingKeyRow.epoch.desc())
    )
    return tuple((epoch, begun) for epoch, begun in rows)


async def _newest(session: AsyncSession, tenant: TenantId) -> MaskingKeyRow | None:
    return await session.scalar(
        select(MaskingKeyRow).where(MaskingKeyRow.tenant == tenant).order_by(MaskingKeyRow.epoch.desc()).limit(1)
    )
