"""Log lines as machines write them, full of identifiers that must survive masking: made up, the same for a seed.

Each line comes with the identifiers in it; nothing in them is anybody's.
"""

from __future__ import annotations

import gzip
import random
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

_SERVICES: Final = ("checkout", "cart", "frontend", "payment-gateway", "recommendation", "shipping", "ad-server")
_WORDS: Final = [
    "reconciling",
    "started",
    "stopped",
    "retrying",
    "flushed",
    "compacted",
    "elected",
    "leader",
    "follower",
    "lease",
    "queue",
    "worker",
    "shard",
]
_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"  # of Kubernetes' generated names


def generated(count: int, seed: int = 1) -> Iterator[tuple[str, tuple[str, ...]]]:
    """`count` lines, each with the identifiers that it carries."""
    chance = random.Random(seed)
    for number in range(count):
        yield chance.choice(_FORMS)(chance, number)


def of_this_machine(limit: int) -> Iterator[str]:
    """Real lines, read where they lie and kept nowhere: package logs and changelogs, the kernel's messages."""
    found = [*_tail("/var/log/dpkg.log"), *_tail("/var/log/alternatives.log"), *_tail("/var/log/apt/term.log")]
    if dmesg := shutil.which("dmesg"):
        shown = subprocess.run([dmesg], capture_output=True, text=True, check=False, errors="replace")
        found += shown.stdout.splitlines()
    for path in sorted(Path("/usr/share/doc").glob("*/changelog.Debian.gz"))[:200]:
        with gzip.open(path, "rt", errors="replace") as file:
            found += [line.rstrip("\n") for line, _ in zip(file, range(40), strict=False)]
    step = max(1, len(found) // limit)
    return iter(found[::step][:limit])


def _tail(path: str) -> list[str]:
    try:
        return Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return []


def _hex(chance: random.Random, length: int) -> str:
    return f"{chance.getrandbits(4 * length):0{length}x}"


def _uuid(chance: random.Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))


def _pod(chance: random.Random) -> str:
    def name(length: int) -> str:
        return "".join(chance.choice(_LETTERS) for _ in range(length))

    return f"{chance.choice(_SERVICES)}-{name(chance.choice((9, 10)))}-{name(5)}"


def _moment(chance: random.Random) -> str:
    return (
        f"2026-{chance.randrange(1, 13):02d}-{chance.randrange(1, 29):02d}T{chance.randrange(24):02d}:"
        f"{chance.randrange(60):02d}:{chance.randrange(60):02d}.{chance.randrange(10**9):09d}Z"
    )


Line = tuple[str, tuple[str, ...]]


def _span(chance: random.Random, _: int) -> Line:
    trace, span = _hex(chance, 32), _hex(chance, 16)
    return f"{_moment(chance)} INFO trace_id={trace} span_id={span} took {chance.randrange(9000)} ms", (trace, span)


def _traceparent(chance: random.Random, _: int) -> Line:
    header = f"00-{_hex(chance, 32)}-{_hex(chance, 16)}-01"
    return f"GET /v1/items traceparent: {header}", (header,)


def _commit(chance: random.Random, number: int) -> Line:
    commit = _hex(chance, 40)
    return f"deploying {chance.choice(_SERVICES)} at commit {commit} (build {number})", (commit,)


def _image(chance: random.Random, _: int) -> Line:
    digest = f"sha256:{_hex(chance, 64)}"
    return f'Successfully pulled image "registry.local/{chance.choice(_SERVICES)}@{digest}" in 1.2s', (digest,)


def _event(chance: random.Random, _: int) -> Line:
    pod, uid = _pod(chance), _uuid(chance)
    return f'Event(Pod "prod/{pod}" UID:"{uid}"): reason Scheduled, node {chance.choice(_SERVICES)}-pool-7', (pod, uid)


def _nginx(chance: random.Random, number: int) -> Line:
    request = _hex(chance, 32)
    when = f"{chance.randrange(1, 29):02d}/Nov/2026:{chance.randrange(24):02d}:{chance.randrange(60):02d}:07 +0000"
    return (
        f'- - [{when}] "GET /api/items/{number} HTTP/1.1" 200 {chance.randrange(10**6)} "-" rid={request} rt=0.{number:03d}',
        (request,),
    )


def _clock(chance: random.Random, number: int) -> Line:
    ns, ms, flake = (str(chance.randrange(low, high)) for low, high in _CLOCKS)
    return f"offset={number} ts={ns} ms={ms} id={flake}", (ns, ms, flake)


# Nanoseconds and milliseconds since 1970 in this decade; snowflakes of the last years.
_CLOCKS: Final = ((17 * 10**17, 19 * 10**17), (17 * 10**11, 19 * 10**11), (10**18, 2 * 10**18))


def _kernel(chance: random.Random, number: int) -> Line:
    address = f"0000000000000000-{chance.getrandbits(36):016x}"
    return f"[{chance.randrange(10**5)}.{chance.randrange(10**6):06d}] BIOS-e820: [mem 0x{address}] usable #{number}", (
        address,
    )


def _consensus(chance: random.Random, number: int) -> Line:
    member = _hex(chance, 16)
    return (
        f"raft: {member} became {chance.choice(_WORDS)} at term {number} [logterm: 2, index: {chance.randrange(10**9)}]",
        (member,),
    )


def _unit(chance: random.Random, number: int) -> Line:
    unit = f"{chance.choice(_SERVICES)}@{number}.service"
    return f"Nov 24 06:25:01 node7 systemd[1]: {unit}: Deactivated successfully.", (unit,)


def _go(chance: random.Random, number: int) -> Line:
    frame = f"github.com/acme/{chance.choice(_SERVICES)}/store.(*Server).Get(0xc{chance.getrandbits(36):09x})"
    return f"\t{frame} +0x{number:x}", (frame,)


_FORMS: Final[tuple[Callable[[random.Random, int], Line], ...]] = (
    _span, _traceparent, _commit, _image, _event, _nginx, _clock, _kernel, _consensus, _unit, _go,
)  # fmt: skip
