"""What all probes of this host may cost together, and who goes when it is too much. Pure but for the ledger's port.

Enters: each probe's share of a core in the last window, ours and those of other agents on this host (one agent serves one
tenant). Leaves: the probes of ours that end. Every agent comes to the same verdict from the same numbers and ends its own.

The tenant that uses most loses first, its most expensive probe first: so a tenant within its fair share (the budget
divided by the tenants that probe) never loses one to another's greed. Equal shares are told apart by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from agents.stages.budget import PATIENCE, WINDOW_NS


@dataclass(frozen=True)
class Share:
    tenant: str
    tracepoint_id: str
    cpu: float  # of one core


class Ledger(Protocol):
    """Where the agents of one host tell each other what their probes cost."""

    def publish(self, shares: Sequence[Share]) -> None: ...

    def others(self) -> tuple[Share, ...]:
        """What the other agents published lately."""
        ...


def too_much(shares: Iterable[Share], budget: float) -> tuple[Share, ...]:
    """Who has to go, in order, until the rest fits. The order in which the shares come does not matter."""
    left = sorted(shares, key=lambda share: (share.tenant, share.tracepoint_id))
    going = []
    while left and sum(share.cpu for share in left) > budget:
        used: dict[str, float] = {}
        for share in left:
            used[share.tenant] = used.get(share.tenant, 0.0) + share.cpu
        greediest = max(sorted(used), key=lambda tenant: used[tenant])
        dearest = max((share for share in left if share.tenant == greediest), key=lambda share: share.cpu)
        left.remove(dearest)
        going.append(dearest)
    return tuple(going)


class HostBudget:
    """One agent's view. Asked at every beat, it looks once a window; several windows in a row must be over."""

    def __init__(self, budget: float, ledger: Ledger) -> None:
        self._budget = budget
        self._ledger = ledger
        self._looked = 0
        self._over = 0
        self._published = False

    def allow(self, budget: float) -> None:
        """From the next window on."""
        self._budget = budget

    def judge(self, ours: Sequence[Share], now_ns: int) -> tuple[tuple[Share, str], ...]:
        """Which of ours have to go, each with the reason that its people read."""
        if now_ns - self._looked < WINDOW_NS:
            return ()
        self._looked = now_ns
        spending = [share for share in ours if share.cpu > 0]
        if spending or self._published:  # a host at rest writes nothing
            self._ledger.publish(spending)
            self._published = bool(spending)
        if not spending:
            self._over = 0
            return ()
        shares = (*spending, *self._ledger.others())
        total = sum(share.cpu for share in shares)
        self._over = self._over + 1 if total > self._budget else 0
        if self._over < PATIENCE:
            return ()
        self._over = 0
        going = too_much(shares, self._budget)
        return tuple((share, self._reason(share, total)) for share in going if share in spending)

    def _reason(self, share: Share, total: float) -> str:
        return _REASON.format(total=total, budget=self._budget, own=share.cpu)


_REASON: Final = (
    "host budget: all probes of this host used {total:.1%} of a core, allowed {budget:.1%}; this one used {own:.1%}"
)
