"""One process as the agent knows it: named by pid *and* start time, since pids are used again."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class Process:
    pid: int  # in the agent's pid namespace
    start_ticks: int  # field 22 of /proc/PID/stat: clock ticks after boot
    exe: str  # as the process's own mount namespace spells it
    file: str  # as the agent can open it: /proc/PID/root + exe, or /proc/PID/exe when that is gone
    service: str
    namespace: str
    labels: tuple[tuple[str, str], ...] = ()


class NoProcessReason(StrEnum):
    EMPTY_TARGET = "empty_target"
    NOT_FOUND = "not_found"
    GONE = "gone"
    TOO_MANY = "too_many"


class NoProcess(Exception):
    """No process of this host is meant. `detail` says what was looked for and what is there instead."""

    def __init__(self, reason: NoProcessReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
