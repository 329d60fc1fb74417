"""What the uplink asks of the agent that it connects: the supervisor answers, a test's fake does too."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

from wire.v1 import gateway_pb2, records_pb2

from agents.masking.model import MaskedBatch

MAX_LEASE: Final = timedelta(minutes=10)  # a gateway cannot promise away the agent's own dead-man switch
MIN_LEASE: Final = timedelta(seconds=1)


@dataclass(frozen=True)
class BatchHead:
    """What a batch is about. `accounting` is the tracepoint's up to now; with `end_reason` it is the last one.

    `canary`: not 0 for the one row that was planted (`agents.stages.canary`), with its minute.
    """

    tracepoint_id: str
    table: str
    table_version: int
    accounting: records_pb2.Accounting
    end_reason: str = ""
    canary: int = 0


class Handler(Protocol):
    """Called from the uplink's event loop; quick ones are plain functions."""

    def running(self) -> Mapping[str, int]:
        """Tracepoints that run now, with the version."""
        ...

    def connected(self) -> None:
        """A new stream is open: whatever was reported on the last one may not have arrived."""
        ...

    def leased(self, until_boot_ns: int) -> None:
        """Until then (CLOCK_BOOTTIME) probes may run without further word."""
        ...

    async def desired(self, envelope: bytes, nonce: str) -> None: ...

    async def retracted(self, tracepoint_id: str, reason: str) -> None: ...

    async def reconciled(self, desired: Mapping[str, int]) -> None:
        """Everything that should run; what runs beyond it ends."""
        ...

    async def functions(self, service: str, pattern: str, limit: int) -> str:
        """JSON for the person who asked. Raises QuestionRefused."""
        ...

    async def explain(self, question: gateway_pb2.ExplainQuestion) -> str:
        """JSON for a reviewer: what a template would do here. Raises QuestionRefused."""
        ...

    async def dry_run(self, envelope: bytes) -> DryRunRows:
        """A few masked rows for a reviewer, where everybody allows it. Raises QuestionRefused."""
        ...

    def locked(self, build_ids: Collection[str]) -> None:
        """All builds that are not to be probed from now on."""
        ...


@dataclass(frozen=True)
class DryRunRows:
    """What a reviewer's look found: masked rows, which go back to whoever asked and are kept nowhere."""

    batch: MaskedBatch | None  # None: no call came
    accounting: records_pb2.Accounting


class QuestionRefused(Exception):
    """A question that this host cannot answer; the text goes to the person who asked."""
