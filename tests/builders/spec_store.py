"""A SpecStore in memory that can be told to fail, and sealed specs for tests of the steps after signing."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import datetime, timedelta

from control_plane.delivery.ports import Change, ChangeKind, RetractReason
from control_plane.foundation.clock import Clock
from control_plane.foundation.errors import DependencyUnavailable
from control_plane.foundation.identifiers import TenantId
from control_plane.signing.model import SealedSpec


def sealed(
    tracepoint_id: str,
    not_after: datetime,
    *,
    tenant: str = "acme",
    version: int = 1,
    audience: tuple[str, ...] = (),
    envelope: bytes | None = None,
) -> SealedSpec:
    body = envelope if envelope is not None else f"{tenant}/{tracepoint_id}@{version}".encode()
    digest = "sha256:" + hashlib.sha256(body).hexdigest()
    return SealedSpec(body, tracepoint_id, version, TenantId(tenant), audience, not_after, digest)


class FakeSpecStore:
    """`away = True` makes everything fail as a dead Redis does; `forget()` is its restart without its contents."""

    def __init__(self, clock: Clock) -> None:
        self.away = False
        self._clock = clock
        self._changed = asyncio.Event()
        self.forget()

    def forget(self) -> None:
        self._specs: dict[tuple[str, str], SealedSpec] = {}
        self._changes: dict[str, list[Change]] = {}
        self._complete = False

    async def publish(self, spec: SealedSpec) -> None:
        self._check()
        if spec.not_after > self._clock.now():
            self._specs[spec.tenant, spec.tracepoint_id] = spec
            self._note(spec.tenant, ChangeKind.PUBLISHED, spec.tracepoint_id, "")

    async def retract(self, tenant: TenantId, tracepoint_id: str, reason: RetractReason) -> None:
        self._check()
        self._specs.pop((tenant, tracepoint_id), None)
        self._note(tenant, ChangeKind.RETRACTED, tracepoint_id, reason.value)

    async def desired(self, tenant: TenantId) -> tuple[bytes, ...]:
        self._check()
        now = self._clock.now()
        return tuple(s.envelope for (of, _), s in self._specs.items() if of == tenant and s.not_after > now)

    async def envelope(self, tenant: TenantId, tracepoint_id: str) -> bytes | None:
        self._check()
        found = self._specs.get((tenant, tracepoint_id))
        return found.envelope if found and found.not_after > self._clock.now() else None

    async def position(self, tenant: TenantId) -> str:
        self._check()
        return f"{len(self._changes.get(tenant, []))}-0"

    async def changes(self, tenant: TenantId, after: str, wait: timedelta) -> tuple[Change, ...]:
        self._check()
        start = int(after.partition("-")[0])
        deadline = asyncio.get_running_loop().time() + wait.total_seconds()
        while not (found := self._changes.get(tenant, [])[start:]):
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return ()
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                return ()
            self._check()
        return tuple(found)

    async def alive(self) -> None:
        self._check()

    async def lost(self) -> bool:
        self._check()
        return not self._complete

    async def restored(self) -> None:
        self._check()
        self._complete = True

    def _note(self, tenant: str, kind: ChangeKind, tracepoint_id: str, reason: str) -> None:
        changes = self._changes.setdefault(tenant, [])
        changes.append(Change(f"{len(changes) + 1}-0", kind, tracepoint_id, reason))
        self._changed.set()

    def _check(self) -> None:
        if self.away:
            raise DependencyUnavailable("Redis does not answer")
