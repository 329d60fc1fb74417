"""A probe that is in the kernel: what can be asked of it.

Entered by `agents.stages` with a BpfProgram and the processes; left towards `agents.decoding` with the ring's records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from agents.compiler.model import Counter


class AttachMethod(StrEnum):
    UPROBE_MULTI = "uprobe_multi"  # one link per program and process, kernel 6.10 and later
    PERF_EVENT = "perf_event"  # one perf event per site, through bcc


@dataclass(frozen=True)
class ArmRequest:
    """How long and how much. `deadline_boot_ns` is on CLOCK_BOOTTIME."""

    deadline_boot_ns: int
    max_hits: int
    max_events_per_second: int


class ArmFailed(Exception):
    """The kernel refused. `reason` is a stable word (verifier, not_permitted, attach, process_gone); `detail` is for a person."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class ArmedProbe(Protocol):
    """One probe in the kernel. Not thread-safe: one reader."""

    @property
    def method(self) -> AttachMethod: ...

    @property
    def processes(self) -> tuple[int, ...]:
        """Pids it is still attached to; a process that ended is not here any more."""
        ...

    def drain(self, limit: int) -> npt.NDArray[np.uint8]:
        """Take up to `limit` finished records out of the ring: shape (n, record size), uint8, a copy. Never blocks."""
        ...

    def counters(self) -> Mapping[Counter, int]:
        """The sum over all CPUs, now."""
        ...

    def in_flight(self) -> int:
        """Entries whose return has not come: the number of keys in STASH; 0 for a probe without one."""
        ...

    def switch(self, enabled: bool) -> None: ...

    def extend(self, deadline_boot_ns: int) -> None:
        """A renewed TTL."""
        ...

    def program_ids(self) -> tuple[int, ...]:
        """The kernel's ids of the loaded programs, for the proof that they are gone."""
        ...

    def detach(self) -> None:
        """Close the links; records in the ring can still be drained, counters still be read. Idempotent."""
        ...

    def close(self) -> None:
        """Detach and free everything. Idempotent."""
        ...
