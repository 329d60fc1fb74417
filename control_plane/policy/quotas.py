"""How much of the platform a tenant may use: limits that the platform sets, what is used of them, and a no beyond.

Each limit is enforced where its fact is known, and always with the limit and the use in the answer:

    active_tracepoints     tracepoints.sealing    before a row goes live              429
    templates              templates.service      before a new name is taken          429
    events_per_second      records.intake         before a batch's rows are kept      the rows are lost(over_quota)
    bytes_per_day          records.intake         the same
    requests_per_second    policy.asking          after who asks is known as a member 429; each replica counts its own

A limit that nobody set for a tenant is the operator's (PROBEGATE_QUOTAS).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.errors import TooMany
from control_plane.foundation.identifiers import TenantId
from control_plane.policy.tables import TenantQuotaRow, TenantUsageRow


class Quota(StrEnum):
    ACTIVE_TRACEPOINTS = "active_tracepoints"
    TEMPLATES = "templates"
    EVENTS_PER_SECOND = "events_per_second"
    BYTES_PER_DAY = "bytes_per_day"
    REQUESTS_PER_SECOND = "requests_per_second"


DEFAULTS: Final[Mapping[Quota, int]] = {
    Quota.ACTIVE_TRACEPOINTS: 500,  # each is a program, a ring and a stream of rows on every host
    Quota.TEMPLATES: 1_000,
    Quota.EVENTS_PER_SECOND: 100_000,  # what one replica takes in without falling behind
    Quota.BYTES_PER_DAY: 50 * 1024**3,
    Quota.REQUESTS_PER_SECOND: 500,
}
MAX_LIMIT: Final = 2**53 - 1  # what JSON readers hold
EVENT_WINDOW: Final = (
    10  # seconds that events are averaged over: batches come in lumps, agents send after a disconnection
)
OVER_QUOTA: Final = "over_quota"  # the reason of loss in the accounting
Count = Callable[[AsyncSession, TenantId], Awaitable[int]]


@dataclass(frozen=True)
class Use:
    """`limit` is the tenant's own when `own`. `used` is None where each replica counts for itself."""

    quota: Quota
    limit: int
    own: bool
    used: int | None


@dataclass(frozen=True)
class Quotas:
    """Reads and enforces limits in the caller's transaction. `counts` is how later steps say what is used."""

    defaults: Mapping[Quota, int] = field(default_factory=lambda: dict(DEFAULTS))
    counts: Mapping[Quota, Count] = field(default_factory=dict)

    async def limits(self, session: AsyncSession, tenant: TenantId) -> dict[Quota, int]:
        row = await session.get(TenantQuotaRow, tenant)
        return {**DEFAULTS, **self.defaults, **(_own(row) if row is not None else {})}

    async def limit(self, session: AsyncSession, tenant: TenantId, quota: Quota) -> int:
        return (await self.limits(session, tenant))[quota]

    async def uses(self, session: AsyncSession, tenant: TenantId, now: datetime) -> tuple[Use, ...]:
        """Every limit with what is used of it."""
        row = await session.get(TenantQuotaRow, tenant)
        own = _own(row) if row is not None else {}
        usage = await session.get(TenantUsageRow, tenant)
        limits = {**DEFAULTS, **self.defaults, **own}
        used: dict[Quota, int] = {quota: await count(session, tenant) for quota, count in self.counts.items()}
        used[Quota.EVENTS_PER_SECOND] = _rate(usage, now) if usage is not None else 0
        used[Quota.BYTES_PER_DAY] = usage.bytes if usage is not None and usage.day == _day(now) else 0
        return tuple(Use(quota, limits[quota], quota in own, used.get(quota)) for quota in Quota)

    async def refuse_more(self, session: AsyncSession, tenant: TenantId, quota: Quota, used: int) -> None:
        """One more would be beyond the limit. Raises TooMany."""
        limit = await self.limit(session, tenant, quota)
        if used >= limit:
            raise beyond(tenant, quota, limit, used)

    async def take(self, session: AsyncSession, tenant: TenantId, rows: int, size: int, now: datetime) -> Quota | None:
        """Count rows that came from an agent; the limit that they would break, and then they are not counted.

        Whoever calls holds a lock by which batches of a tenant come one after the other.
        """
        limits = await self.limits(session, tenant)
        usage = await _usage(session, tenant, now)
        if usage.day != _day(now):
            usage.day, usage.bytes = _day(now), 0
        _turn(usage, now)
        if usage.bytes + size > limits[Quota.BYTES_PER_DAY]:
            return Quota.BYTES_PER_DAY
        if _weighed(usage, now) + rows > limits[Quota.EVENTS_PER_SECOND] * EVENT_WINDOW:
            return Quota.EVENTS_PER_SECOND
        usage.bytes += size
        usage.events += rows
        return None


def beyond(tenant: TenantId, quota: Quota, limit: int, used: int) -> TooMany:
    words = quota.value.replace("_", " ")
    return TooMany(
        f"tenant {tenant} may have {limit} {words} and uses {used}: see `probegate tenant quota`; "
        "the platform's administrators set it",
        code="over_quota",
        extra={"quota": quota.value, "limit": limit, "used": used},
    )


def _own(row: TenantQuotaRow) -> dict[Quota, int]:
    return {Quota(name): limit for name, limit in row.limits.items()}


async def _usage(session: AsyncSession, tenant: TenantId, now: datetime) -> TenantUsageRow:
    wanted = select(TenantUsageRow).where(TenantUsageRow.tenant == tenant).with_for_update()
    found = (await session.scalars(wanted)).one_or_none()
    if found is not None:
        return found
    first = {"tenant": tenant, "day": _day(now), "bytes": 0, "window": _window(now), "events": 0, "events_before": 0}
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    await session.execute(dialect.insert(TenantUsageRow).values(first).on_conflict_do_nothing())
    return (await session.scalars(wanted)).one()


def _turn(usage: TenantUsageRow, now: datetime) -> None:
    """Into the window of `now`: what was the current one is the one before, or long ago."""
    window = _window(now)
    if usage.window != window:
        usage.events_before = usage.events if usage.window == window - 1 else 0
        usage.window, usage.events = window, 0


def _weighed(usage: TenantUsageRow, now: datetime) -> int:
    """Events of the last EVENT_WINDOW seconds, those of the window before spread evenly over it."""
    if usage.window == _window(now):
        left = 1 - now.timestamp() % EVENT_WINDOW / EVENT_WINDOW
        return usage.events + int(usage.events_before * left)
    return usage.events if usage.window == _window(now) - 1 else 0


def _rate(usage: TenantUsageRow, now: datetime) -> int:
    return _weighed(usage, now) // EVENT_WINDOW


def _window(now: datetime) -> int:
    return int(now.timestamp()) // EVENT_WINDOW


def _day(now: datetime) -> str:
    return now.date().isoformat()
