"""One tenant's desired specs, read once for all of its agents that are connected here, and read again when they change.

Enters: envelopes out of the store, which is not believed. Leaves: Snapshot of specs that our own key signed, for this
tenant, not over. `session` picks those whose audience names its agent. One task a tenant follows the stream of changes;
what it says is a hint to look again, and whoever misses a hint looks again anyway.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from google.protobuf.message import DecodeError
from wire import dsse
from wire.v1 import spec_pb2

from control_plane.delivery.ports import Change, ChangeKind, SpecStore
from control_plane.foundation.clock import Clock
from control_plane.foundation.errors import DependencyUnavailable
from control_plane.foundation.identifiers import TenantId

WAIT: Final = timedelta(seconds=5)  # one question to the store; it may answer sooner
PAUSE_SECONDS: Final = 0.5  # after the store was away
MAX_OPENED: Final = 10_000  # verified specs remembered with their envelopes of some KiB each
MAX_AGE_SECONDS: Final = 15.0  # a snapshot older than this is read again, hint or not


@dataclass(frozen=True)
class Held:
    """What locks say to the gateway: agents that are to run nothing, builds of executables that nobody is to probe."""

    agents: frozenset[str] = frozenset()
    builds: frozenset[str] = frozenset()


Locked = Callable[[TenantId], Awaitable[Held]]  # raises DependencyUnavailable

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeliverableSpec:
    """Proves: our key signed this envelope, and it says this. Minted by `Opener.open`."""

    envelope: bytes
    tracepoint_id: str
    version: int
    audience: frozenset[str]
    not_after: datetime


@dataclass(frozen=True)
class Snapshot:
    """What is desired in the tenant. `complete` is False while the store may have forgotten some of it."""

    specs: tuple[DeliverableSpec, ...]
    complete: bool
    locked: frozenset[str] = frozenset()  # agents that are to run nothing
    locked_builds: frozenset[str] = frozenset()


class Opener:
    """Verifies each envelope once."""

    def __init__(self, keys: Mapping[str, Ed25519PublicKey]) -> None:
        self._keys = keys
        self._opened: dict[tuple[str, bytes], DeliverableSpec | None] = {}

    def open(self, tenant: TenantId, envelope: bytes) -> DeliverableSpec | None:
        """None for what we did not sign for this tenant: somebody else writes into our store."""
        known = (tenant, hashlib.sha256(envelope).digest())
        if known not in self._opened:
            if len(self._opened) >= MAX_OPENED:
                self._opened.pop(next(iter(self._opened)))
            self._opened[known] = self._verified(tenant, envelope)
        return self._opened[known]

    def _verified(self, tenant: TenantId, envelope: bytes) -> DeliverableSpec | None:
        try:
            payload = dsse.open_envelope(envelope, dsse.SPEC_PAYLOAD_TYPE, self._keys)
            spec = spec_pb2.ProbeSpec.FromString(payload)
            not_after = spec.not_after.ToDatetime(UTC)
        except (dsse.BadEnvelope, DecodeError, ValueError) as error:
            log.error("the spec store holds something for %s that is not ours: %s", tenant, error)  # noqa: TRY400
            return None
        if spec.tenant != tenant:
            log.error("the spec store holds %s of another tenant under %s", spec.tracepoint_id, tenant)
            return None
        return DeliverableSpec(envelope, spec.tracepoint_id, spec.version, frozenset(spec.audience), not_after)


async def _nobody(_: TenantId) -> Held:
    return Held()


class TenantFeed:
    """`follow` runs while somebody is subscribed."""

    def __init__(
        self, tenant: TenantId, store: SpecStore, opener: Opener, clock: Clock, locked: Locked | None = None
    ) -> None:
        self._tenant = tenant
        self._locked = locked or _nobody
        self._store = store
        self._opener = opener
        self._clock = clock
        self._subscribers: dict[object, Callable[[tuple[Change, ...]], None]] = {}
        self._generation = 0
        self._kept: tuple[int, float, Snapshot] | None = None
        self._reading = asyncio.Lock()

    def subscribe(self, who: object, changed: Callable[[tuple[Change, ...]], None]) -> None:
        self._subscribers[who] = changed

    def unsubscribe(self, who: object) -> bool:
        """Whether nobody is left."""
        self._subscribers.pop(who, None)
        return not self._subscribers

    async def snapshot(self) -> Snapshot:
        """Everything that was published before this call, at least. Raises DependencyUnavailable.

        One reading serves all agents of the tenant, until a change is heard of.
        """
        loop = asyncio.get_running_loop()
        async with self._reading:
            kept = self._kept
            if kept is None or kept[0] != self._generation or loop.time() - kept[1] > MAX_AGE_SECONDS:
                generation, started = self._generation, loop.time()
                kept = (generation, started, await self._read())
                self._kept = kept
        now = self._clock.now()
        specs = tuple(spec for spec in kept[2].specs if spec.not_after > now)
        return replace(kept[2], specs=specs)

    async def follow(self) -> None:
        """Until cancelled."""
        position: str | None = None
        well = True
        while True:
            try:
                if position is None:
                    position = await self._store.position(self._tenant)
                    self._tell((Change(position, ChangeKind.UNKNOWN, "", ""),))
                changes = await self._store.changes(self._tenant, position, WAIT)
            except DependencyUnavailable as error:
                if well:
                    log.warning("%s (tenant %s)", error, self._tenant)
                position, well = None, False
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            well = True
            if changes:
                position = changes[-1].position
                self._tell(changes)

    async def _read(self) -> Snapshot:
        lost_before = await self._store.lost()
        envelopes = await self._store.desired(self._tenant)
        complete = not lost_before and not await self._store.lost()  # it may come up empty in between
        opened = (self._opener.open(self._tenant, envelope) for envelope in envelopes)
        specs = tuple(spec for spec in opened if spec is not None)
        held = await self._locked(self._tenant)
        return Snapshot(specs, complete, held.agents, held.builds)

    def _tell(self, changes: tuple[Change, ...]) -> None:
        self._generation += 1
        for changed in tuple(self._subscribers.values()):
            changed(changes)


class Feeds:
    """The feeds of all tenants that have an agent connected here; `run` must run."""

    def __init__(
        self,
        store: SpecStore,
        keys: Mapping[str, Ed25519PublicKey],
        clock: Clock,
        locked: Locked | None = None,
    ) -> None:
        self._store = store
        self._locked = locked
        self._opener = Opener(keys)
        self._clock = clock
        self._feeds: dict[TenantId, tuple[TenantFeed, asyncio.Task[None]]] = {}
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            await asyncio.Event().wait()

    def join(self, tenant: TenantId, who: object, changed: Callable[[tuple[Change, ...]], None]) -> TenantFeed:
        if tenant not in self._feeds:
            if self._tasks is None:
                raise DependencyUnavailable("the gateway is starting: connect again")
            feed = TenantFeed(tenant, self._store, self._opener, self._clock, self._locked)
            self._feeds[tenant] = (feed, self._tasks.create_task(feed.follow()))
        feed = self._feeds[tenant][0]
        feed.subscribe(who, changed)
        return feed

    def leave(self, tenant: TenantId, who: object) -> None:
        feed, task = self._feeds[tenant]
        if feed.unsubscribe(who):
            del self._feeds[tenant]
            task.cancel()
