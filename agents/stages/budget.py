"""Whether a probe costs its target more than it may: hits and run time in, a verdict out. No I/O.

What a hit costs is the trap (measured once by `agents.runtime.calibration`) and the program's own run time (counted by the
kernel). Bursts are what one probes for, so a budget counts as broken only when several windows in a row broke it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# A little less than a beat of `agents.supervisor.pulse` at rest, so that each of these beats closes a window.
WINDOW_NS: Final = 240_000_000
PATIENCE: Final = 4  # windows in a row over budget, a second: a burst is shorter, and what stays is gone within two


@dataclass(frozen=True)
class Spent:
    """Since the probe was armed."""

    trap_ns: int = 0  # hits times the price of their traps
    run_time_ns: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.trap_ns + other.trap_ns, self.run_time_ns + other.run_time_ns)


class CpuBudget:
    """One probe's. `share` is of one core: 0.01 is 1%."""

    def __init__(self, share: float, now_ns: int) -> None:
        self._share = share
        self._window_start = now_ns
        self._spent_at_start = 0
        self._over = 0
        self.last_share = 0.0  # of the last whole window

    def begin(self, now_ns: int) -> None:
        """Nothing fires before: the time until now does not thin the first window."""
        self._window_start = now_ns

    def due(self, now_ns: int) -> bool:
        """Whether a window is over: what was spent needs not be known before."""
        return now_ns - self._window_start >= WINDOW_NS

    def broken(self, spent: Spent, now_ns: int) -> bool:
        """Tell it what was spent; True when the probe has to go."""
        elapsed = now_ns - self._window_start
        if self.due(now_ns):
            total = spent.trap_ns + spent.run_time_ns
            self.last_share = max(0, total - self._spent_at_start) / elapsed
            self._window_start, self._spent_at_start = now_ns, total
            self._over = self._over + 1 if self.last_share > self._share else 0
        return self._over >= PATIENCE
