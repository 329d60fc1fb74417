"""A probe that is in the kernel: what can be asked of it.

Entered by `agents.stages` with a BpfProgram and the processes; left towards `agents.decoding` with the ring's records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Protocol, Self

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


class ArmReason(StrEnum):
    """Stable words; they reach the control plane."""

    VERIFIER = "verifier"  # the kernel's verifier refused the program
    NOT_PERMITTED = "not_permitted"  # a capability is missing, or a security module said no
    UNSUPPORTED = "unsupported"  # this kernel has no way to attach it
    ATTACH = "attach"  # maps or links could not be made
    PROCESS_GONE = "process_gone"  # none of the processes is the one that was meant any more


class ArmFailed(Exception):
    """The kernel refused, and nothing was left in it. `detail` is for a person."""

    def __init__(self, reason: ArmReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class RunCost:
    """What the programs of one probe did since they were loaded. The trap itself is not in it: see `calibration`."""

    runs: int
    run_time_ns: int | None  # None: this kernel gives no BPF run-time statistics, which is not the same as no time


@dataclass(frozen=True)
class KernelFeatures:
    """What this kernel lets this process do, found by trying. `details` has a sentence for each field's name."""

    bpf: bool  # bpf(2) is permitted: without it nothing works
    uprobe_multi: bool  # with a pid filter that filters by process
    perf_event: bool  # uprobes as perf events, through bcc
    sleepable: bool  # programs may fault pages in
    ring_buffer: bool
    atomics: bool  # fetch-and-add that returns the old value
    boot_clock: bool  # bpf_ktime_get_boot_ns: what the deadline is compared with
    run_time_stats: bool
    host_pid_namespace: bool  # pids here are those that a program sees
    btf: bool  # the kernel's own types: not needed, said for completeness
    memlock: bool  # maps are not limited by RLIMIT_MEMLOCK
    capabilities: frozenset[str]  # those of WANTED_CAPABILITIES that are held
    details: Mapping[str, str]


class ArmedProbe(Protocol):
    """One probe in the kernel. One reader; `counters`, `cost` and `detach` may be called beside it until `close`. As a
    context it closes itself.
    """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def method(self) -> AttachMethod: ...

    @property
    def processes(self) -> tuple[int, ...]:
        """Pids it is still attached to; a process that ended is not here any more."""
        ...

    def drain(self, limit: int) -> npt.NDArray[np.uint8]:
        """Take up to `limit` finished records out of the ring: shape (n, record size), uint8, a copy. Never blocks."""
        ...

    def waiting(self) -> int:
        """Records that `drain` would find, roughly. So cheap that one may ask all the time."""
        ...

    @property
    def room(self) -> int:
        """Records the ring holds; more are lost and counted."""
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

    def cost(self) -> RunCost:
        """What its programs have used up to now; still answers after `detach`, not after `close`."""
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
