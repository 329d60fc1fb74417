"""What a life is made of, and what it leaves: the parts that all lives of an agent share, and the end of one.

`agents.supervisor.service` makes Shared once; each `agents.supervisor.life` returns its Ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from wire.v1 import gateway_pb2

from agents.masking.model import MaskedBatch
from agents.stages.accounting import Accounting
from agents.stages.service import Prober
from agents.supervisor.lifecycle import EndReason
from agents.supervisor.loading import Loading
from agents.supervisor.workers import Workers
from agents.uplink.model import BatchHead


class Reports(Protocol):
    """The uplink, as far as a life uses it."""

    def report(self, status: gateway_pb2.Status) -> None: ...
    def send(self, batch: MaskedBatch, head: BatchHead) -> None: ...


@dataclass(frozen=True)
class Shared:
    """What all lives of an agent have in common."""

    prober: Prober
    reports: Reports
    leased_until: Callable[[], int]
    loading: Loading
    workers: Workers
    retire: Callable[[str, int, EndReason], Awaitable[None]]  # returns when the end of this version is written down


@dataclass(frozen=True)
class Ended:
    """How a life came to its end; an empty reason means that it shall go on later (replaced, or the agent stops)."""

    reason: EndReason | None
    accounting: Accounting
