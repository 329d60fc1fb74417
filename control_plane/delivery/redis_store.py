"""The SpecStore on Redis: each spec under a key that expires with it, each change in its tenant's stream.

    pg:{<tenant>}:spec:<id>   envelope, SET EX               gone when the spec is over, without anybody's help
    pg:{<tenant>}:specs       sorted set id -> not_after     which keys to read
    pg:{<tenant>}:changes     stream, bounded                a hint what to read; who falls behind reads everything
    pg:complete               set by `restored`              absent: Redis came up empty, the rest must be published again

The braces are Redis Cluster's hash tag: one tenant's keys stand on one node, so that one transaction reaches them.
Only this module knows redis-py; `embedded_redis` starts a server where none is given.
"""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionFailed
from redis.exceptions import RedisError
from wire.dsse import MAX_ENVELOPE

from control_plane.delivery.ports import Change, ChangeKind, RetractReason
from control_plane.foundation.clock import Clock
from control_plane.foundation.errors import DependencyUnavailable
from control_plane.foundation.identifiers import TenantId
from control_plane.signing.model import SealedSpec

CONNECT_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 3.0  # a heartbeat waits for an answer; the lease is twenty times as long
STREAM_LENGTH: Final = 1000  # changes kept a tenant; a gateway further behind than that reads everything again
STREAM_LIFE: Final = timedelta(days=2)  # longer than any spec lives; a tenant that left leaves nothing behind
MAX_SPECS: Final = 10_000  # desired at once in one tenant; far above any quota, and what one answer may hold
MAX_CONNECTIONS: Final = 256
_CHUNK: Final = 64  # envelopes in one MGET: at most 64 MiB of the largest, some 300 KiB of usual ones
_POSITION: Final = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")
_COMPLETE: Final = "pg:complete"
_START: Final = "0-0"


class RedisStore:
    """On `redis://…`, `rediss://…` or `unix://…`. Nothing is sent before it is asked to."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._clock = clock
        self._redis: Any = redis.Redis.from_url(  # its annotations cover both protocols and both decodings
            url,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=ANSWER_SECONDS,
            max_connections=MAX_CONNECTIONS,
            # A connection that died while idle is opened once more; a slow answer is not asked for twice.
            retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionFailed,)),
        )

    async def publish(self, spec: SealedSpec) -> None:
        left = math.ceil((spec.not_after - self._clock.now()).total_seconds())
        if left <= 0:
            return
        keys = _Keys(spec.tenant)
        async with self._answering(), self._redis.pipeline(transaction=True) as batch:
            batch.set(keys.spec(spec.tracepoint_id), spec.envelope, ex=left)
            batch.zadd(keys.specs, {spec.tracepoint_id: spec.not_after.timestamp()})
            self._note(batch, keys, ChangeKind.PUBLISHED, spec.tracepoint_id, "")
            await batch.execute()

    async def retract(self, tenant: TenantId, tracepoint_id: str, reason: RetractReason) -> None:
        keys = _Keys(tenant)
        async with self._answering(), self._redis.pipeline(transaction=True) as batch:
            batch.delete(keys.spec(tracepoint_id))
            batch.zrem(keys.specs, tracepoint_id)
            self._note(batch, keys, ChangeKind.RETRACTED, tracepoint_id, reason.value)
            await batch.execute()

    async def desired(self, tenant: TenantId) -> tuple[bytes, ...]:
        keys, now = _Keys(tenant), self._clock.now().timestamp()
        found: list[bytes] = []
        async with self._answering():
            ids = await self._redis.zrangebyscore(keys.specs, f"({now}", "+inf", start=0, num=MAX_SPECS)
            for at in range(0, len(ids), _CHUNK):
                values = await self._redis.mget([keys.spec(name.decode()) for name in ids[at : at + _CHUNK]])
                found += [value for value in values if value is not None and len(value) <= MAX_ENVELOPE]
        return tuple(found)

    async def envelope(self, tenant: TenantId, tracepoint_id: str) -> bytes | None:
        async with self._answering():
            value: bytes | None = await self._redis.get(_Keys(tenant).spec(tracepoint_id))
        return value if value is not None and len(value) <= MAX_ENVELOPE else None

    async def position(self, tenant: TenantId) -> str:
        async with self._answering():
            newest: list[tuple[bytes, dict[bytes, bytes]]] = await self._redis.xrevrange(_Keys(tenant).changes, count=1)
        return newest[0][0].decode() if newest else _START

    async def changes(self, tenant: TenantId, after: str, wait: timedelta) -> tuple[Change, ...]:
        """`wait` is cut to less than the time in which Redis must answer anything."""
        if not _POSITION.fullmatch(after):
            raise ValueError(f"{after[:60]!r} is no position in a stream")
        keys = _Keys(tenant)
        milliseconds = max(1, min(int(wait.total_seconds() * 1000), int(ANSWER_SECONDS * 500)))
        async with self._answering():
            answer: Any = await self._redis.xread({keys.changes: after}, count=STREAM_LENGTH, block=milliseconds)
        entries = [entry for _, stream in _streams(answer) for entry in stream]
        return tuple(_change(position, fields) for position, fields in entries)

    async def alive(self) -> None:
        async with self._answering():
            await self._redis.ping()

    async def lost(self) -> bool:
        async with self._answering():
            return not await self._redis.exists(_COMPLETE)

    async def restored(self) -> None:
        async with self._answering():
            await self._redis.set(_COMPLETE, b"1")

    async def close(self) -> None:
        await self._redis.aclose()

    def _note(self, batch: Any, keys: _Keys, kind: ChangeKind, tracepoint_id: str, reason: str) -> None:
        fields = {"kind": kind.value, "id": tracepoint_id, "reason": reason}
        batch.xadd(keys.changes, fields, maxlen=STREAM_LENGTH, approximate=True)
        batch.expire(keys.changes, STREAM_LIFE)
        batch.zremrangebyscore(keys.specs, "-inf", self._clock.now().timestamp())
        batch.expire(keys.specs, STREAM_LIFE)

    @asynccontextmanager
    async def _answering(self) -> AsyncIterator[None]:
        try:
            yield
        except (RedisError, OSError, TimeoutError) as error:
            raise DependencyUnavailable(
                "Redis does not answer: probes are neither started nor renewed until it does; "
                "those that run end with their lease"
            ) from error


class _Keys:
    def __init__(self, tenant: TenantId) -> None:
        self._prefix = f"pg:{{{tenant}}}"
        self.specs = f"{self._prefix}:specs"
        self.changes = f"{self._prefix}:changes"

    def spec(self, tracepoint_id: str) -> str:
        return f"{self._prefix}:spec:{tracepoint_id}"


def _streams(answer: Any) -> list[tuple[Any, list[Any]]]:
    """XREAD's answer in either protocol: a list of pairs (RESP2), a mapping (RESP3), nothing when the wait ended."""
    if not answer:
        return []
    if isinstance(answer, dict):
        return [(name, [entry for part in parts for entry in part]) for name, parts in answer.items()]
    return list(answer)


def _change(position: bytes, fields: dict[bytes, bytes]) -> Change:
    """An entry of another version of this module is UNKNOWN: something changed."""
    words = {name: fields.get(name, b"").decode("utf-8", "replace") for name in (b"kind", b"id", b"reason")}
    known = words[b"kind"] in set(ChangeKind)
    kind = ChangeKind(words[b"kind"]) if known else ChangeKind.UNKNOWN
    return Change(position.decode(), kind, words[b"id"], words[b"reason"])
