"""A decision with 1,000 rules in the tenant and 1,000 tenants: its 99th percentile, beside plain pycasbin's.

Both hold the same rows of the same tenant and hear the same questions. The peer has the one tenant only, which is the
kindest way to use it; what a million rules weigh is measured on ours. The answer is measured, yes or no; the smallest
change that a no tells is worked out after it, for a person, and not by casbin at all.
"""

from __future__ import annotations

import gc
import random
import time
import tracemalloc
from datetime import UTC, datetime, timedelta
from typing import Final

from bench.figure import Figure
from control_plane.policy.casbin_decider import Reference
from control_plane.policy.conditions import Condition, Facts
from control_plane.policy.decide import decide
from control_plane.policy.index import Base, Snapshot, base_of, build_snapshot
from control_plane.policy.model import Permission
from control_plane.policy.roles import read_roles
from control_plane.policy.rules import Effect, Rule

TENANTS: Final = 1_000
RULES: Final = 1_000
MEMBERS: Final = 200
DECISIONS: Final = 50_000
PEER_DECISIONS: Final = 200
NOW: Final = Facts(datetime(2026, 11, 24, 12, tzinfo=UTC))
ACTIONS: Final = [permission.value for permission in Permission]


def measure() -> list[Figure]:
    rng = random.Random(3)
    base = base_of(read_roles())
    gc.collect()
    tracemalloc.start()
    snapshots = [_tenant(number, base, rng) for number in range(TENANTS)]
    bytes_held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    questions = [_question(rng) for _ in range(DECISIONS)]
    ours = _p99([_ours(snapshots[rng.randrange(TENANTS)], *question) for question in questions])
    reference = Reference(snapshots[0])
    peer = _p99([_peer(reference, *question) for question in questions[:PEER_DECISIONS]])
    sizes = f"{RULES:,} rules in each of {TENANTS:,} tenants; lower is better"
    gibibytes = bytes_held / 2**30
    return [
        Figure("authz_p99_us", "us", round(ours, 1), round(peer), "pycasbin, one tenant", sizes),
        Figure("authz_memory_gib", "GiB", round(gibibytes, 3), 1.0, "the bound of 1 GiB", f"a million rules; {sizes}"),
    ]


def _tenant(number: int, base: Base, rng: random.Random) -> Snapshot:
    roles = list(base.book.roles)
    rules = tuple(
        Rule(
            f"role:{rng.choice(roles)}" if rng.random() < 0.7 else _subject(rng.randrange(MEMBERS)),
            rng.choice(ACTIONS),
            f"template-{rng.randrange(300)}" if rng.random() < 0.9 else "*",
            Effect.ALLOW if rng.random() < 0.8 else Effect.DENY,
            Condition(ttl_at_most=timedelta(minutes=rng.choice([5, 30]))) if rng.random() < 0.2 else None,
            f"rule-{n}",
        )
        for n in range(RULES)
    )
    members = {_subject(n): tuple(rng.sample(roles, rng.randint(1, 3))) for n in range(MEMBERS)}
    snapshot = build_snapshot(f"tenant-{number}", 1, members, base, rules)
    _ = snapshot.index  # compiled when it is first asked, so that it is measured too
    return snapshot


def _subject(number: int) -> str:
    return f"https://issuer.example|user-{number}"


def _question(rng: random.Random) -> tuple[str, str, str]:
    return _subject(rng.randrange(MEMBERS)), rng.choice(ACTIONS), f"template-{rng.randrange(300)}"


def _ours(snapshot: Snapshot, subject: str, action: str, name: str) -> float:
    start = time.perf_counter()
    decide(snapshot, subject, action, name, NOW, explain=False)
    return time.perf_counter() - start


def _peer(reference: Reference, subject: str, action: str, name: str) -> float:
    start = time.perf_counter()
    reference.allows(subject, action, name, NOW)
    return time.perf_counter() - start


def _p99(seconds: list[float]) -> float:
    """In microseconds."""
    return sorted(seconds)[int(len(seconds) * 0.99)] * 1e6
