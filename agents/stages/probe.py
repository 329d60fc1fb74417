"""One probe that runs: arm it in every file it was bound to, take masked rows out, and say at the end what became of each hit.

    arm       BoundFile      -> ArmedProbe       or ArmFailed
    drain     ring           -> records
    decode    records        -> RecordBatch
    mask      RecordBatch    -> MaskedBatch      nothing else leaves this module
    account   counters       -> Accounting

Every call belongs to one thread at a time and blocks for milliseconds, or for as long as a batch takes to mask. What keeps
the target safe does not wait for that: `over_budget` and `detach` may be called at any time, beside any other call. A batch
that cannot be decoded or masked is dropped and counted, never passed on. `agents.supervisor` and `probegate-agent try`
drive it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, Self

import numpy as np
import numpy.typing as npt

from agents.binaries.model import BinaryIdentity
from agents.compiler.layout import RecordLayout
from agents.compiler.model import BpfProgram, Counter
from agents.decoding.model import RecordBatch
from agents.masking.model import FieldRule, MaskedBatch
from agents.masking.service import types_and_lengths
from agents.processes.model import NoProcess, Process
from agents.runtime.calibration import TrapCosts
from agents.runtime.model import ArmedProbe, ArmRequest
from agents.stages.accounting import Accounting, account, account_so_far
from agents.stages.binding import Binder, BoundFile
from agents.stages.budget import CpuBudget, Spent
from agents.stages.canary import plant
from agents.stages.order import ProbeOrder

DRAIN: Final = 8192  # records at once: some MiB, and a few ms of decoding before anybody else gets a turn
GATHER_ROWS: Final = DRAIN // 2  # so many are worth a batch of their own, however soon they came
UNDECODED: Final = "undecoded"  # lost: records that decoding or masking failed on
SURPLUS: Final = "surplus"  # lost: more than max_hits, when several executables counted each for itself

_FOREVER: Final = 1 << 63  # `probegate-agent try` has no lease: its rules are the platform's own

_LOG: Final = logging.getLogger(__name__)


class Arm(Protocol):
    """`agents.runtime.service.arm` with the kernel's features bound."""

    def __call__(
        self,
        program: BpfProgram,
        processes: Sequence[tuple[Process, int]],
        request: ArmRequest,
        file: str,
        identity: BinaryIdentity,
    ) -> ArmedProbe: ...


Decode = Callable[[RecordLayout, npt.NDArray[np.uint8], BoundFile], RecordBatch]
Mask = Callable[[RecordBatch, Sequence[FieldRule]], MaskedBatch]


@dataclass(frozen=True)
class Stages:
    """The steps that follow binding, as `agents.bootstrap` built them."""

    arm: Arm
    decode: Decode
    mask: Mask
    types_and_lengths: Mask = types_and_lengths  # in place of `mask`, once the policy is over
    boot_ns: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass
class _Part:
    """One executable file's share of the probe."""

    file: BoundFile
    armed: ArmedProbe
    drained: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    hits: int = 0  # as of the last look at the cost
    spent: Spent = field(default_factory=Spent)

    def drop(self, reason: str, count: int) -> None:
        if count:
            self.dropped[reason] = self.dropped.get(reason, 0) + count


class RunningProbe:
    """Armed from the moment it is made until `close`; a context manager, so that nothing is left in the kernel."""

    def __init__(
        self, order: ProbeOrder, binder: Binder, stages: Stages, deadline_boot_ns: int, traps: TrapCosts
    ) -> None:
        self._order = order
        self._binder = binder
        self._stages = stages
        self._deadline = deadline_boot_ns
        self._parts: list[_Part] = []
        self._over = Accounting()  # of parts whose processes have all ended
        self._taken = 0
        self._traps = traps
        self._budget = CpuBudget(order.limits.cpu, stages.boot_ns())
        self._spent_over = Spent()  # by parts that have ended
        self._empty: MaskedBatch | None = None
        self._counting = threading.Lock()  # held while counters are read, and while a part comes or goes: no masking
        self._detached = False
        self.policy_until: Callable[[], int] = lambda: _FOREVER  # boot ns; the supervisor's lease

    # --- life ------------------------------------------------------------------------------------------------

    def adopt(self) -> int:
        """Find and arm what of the target is not probed yet; returns how many processes were added.

        Raises what `find` and `arm` raise.
        """
        return self.arm(self.find(self.processes))

    def find(self, running: Sequence[int]) -> tuple[BoundFile, ...]:
        """What of the target to arm, all but the processes in `running`. Reads files and may take seconds: other calls
        may run beside it. Raises NoProcess (only while nothing is armed), Refused, Unresolved, CannotCompile.
        """
        try:
            return self._binder.bind(running)
        except NoProcess:
            if self._parts:
                return ()
            raise

    def arm(self, found: Sequence[BoundFile]) -> int:
        """Raises ArmFailed."""
        before = len(self.processes)
        if not self._parts:
            self._budget.begin(self._stages.boot_ns())
        for file in found:
            part = _Part(file, self._armed(file, len(found)))
            with self._counting:
                self._parts.append(part)
            if self._detached:  # meanwhile: `detach` did not see this one
                part.armed.detach()
        return len(self.processes) - before

    def extend(self, deadline_boot_ns: int) -> None:
        """A renewed TTL, without a moment in which the probe is not there."""
        self._deadline = deadline_boot_ns
        for part in self._parts:
            part.armed.extend(deadline_boot_ns)

    def detach(self) -> None:
        """Out of the target now, for good; rows and counters can still be taken. Beside any other call."""
        with self._counting:
            self._detached, parts = True, tuple(self._parts)
        for part in parts:
            part.armed.detach()

    def end(self) -> tuple[tuple[MaskedBatch, ...], Accounting]:
        """Detach everywhere, take what is left in the rings, count for the last time, and free it all."""
        batches = [batch for part in list(self._parts) for batch in self._ended(part)]
        return tuple(batches), self._over

    def close(self) -> None:
        """Without a last count. Idempotent."""
        with self._counting:
            parts, self._parts = self._parts, []
        for part in parts:
            part.armed.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- rows ------------------------------------------------------------------------------------------------

    def take(self) -> tuple[MaskedBatch, ...]:
        """What has come since the last call, at most DRAIN records a file; an empty tuple when nothing has."""
        batches: list[MaskedBatch] = []
        for part in list(self._parts):
            alive = bool(part.armed.processes)
            batches += self._drain(part) if alive else self._ended(part)
        return tuple(batches)

    def no_rows(self) -> MaskedBatch | None:
        """A batch without rows, in the schema of this probe: carries the last accounting when nothing else is left."""
        if self._empty is None:
            for part in self._parts[:1]:
                self._empty = self._masked(part, self._no_records(part))
        return self._empty

    def planted(self, card: str, time_ns: int) -> MaskedBatch | None:
        """A row with this card in place of a program's texts, masked by this probe's rules; None when none can hold it."""
        for part in self._parts[:1]:
            empty = self._stages.decode(part.file.program.layout, self._no_records(part), part.file)
            row = plant(empty, part.file.rules, card, time_ns)
            return self._stages.mask(row, part.file.rules) if row is not None else None
        return None

    def waiting(self) -> int:
        """Records that `take` would find. Cheap, and may be asked from another thread while no other call runs."""
        return sum(part.armed.waiting() for part in self._parts)

    def pressed(self) -> bool:
        """Whether so much waits that a ring would soon be full."""
        return any(part.armed.waiting() >= min(GATHER_ROWS, part.armed.room // 4) for part in self._parts)

    @property
    def hits(self) -> int:
        """Of the programs that are armed now, as of the last `over_budget`."""
        return sum(part.hits for part in self._parts)

    # --- what is known of it ---------------------------------------------------------------------------------

    @property
    def processes(self) -> tuple[int, ...]:
        """Pids it is attached to now."""
        return tuple(pid for part in self._parts for pid in part.armed.processes)

    @property
    def sites(self) -> int:
        """Addresses that are probed, all files together."""
        return sum(len(program.sites) for part in self._parts for program in part.file.program.programs)

    @property
    def files(self) -> tuple[BoundFile, ...]:
        return tuple(part.file for part in self._parts)

    @property
    def program_ids(self) -> tuple[int, ...]:
        return tuple(number for part in self._parts for number in part.armed.program_ids())

    @property
    def full(self) -> bool:
        """Whether max_hits records have been taken."""
        return self._taken >= self._order.limits.max_hits

    @property
    def expired(self) -> bool:
        return self._stages.boot_ns() >= self._deadline

    def over_budget(self) -> bool:
        """Whether it has cost more CPU than its limit for some windows on end (`budget.PATIENCE`). Ask more often than that:
        it looks once a window. Beside any other call.
        """
        now = self._stages.boot_ns()
        if not self._budget.due(now):
            return False
        with self._counting:
            spent = sum((self._spent(part) for part in self._parts), self._spent_over)
        return self._budget.broken(spent, now)

    @property
    def cpu_share(self) -> float:
        """Of one core, in the last whole window that `over_budget` looked at."""
        return self._budget.last_share

    def accounting(self) -> Accounting:
        """Up to now. Calls in flight and records in the ring have no outcome yet and are not in it."""
        running = (account_so_far(part.armed.counters(), part.drained, part.dropped) for part in self._parts)
        return sum(running, self._over)

    # --- inside ----------------------------------------------------------------------------------------------

    def _armed(self, file: BoundFile, files: int) -> ArmedProbe:
        """Several files share the rate between them; each may fill max_hits, since nobody knows which will."""
        limits = self._order.limits
        request = ArmRequest(
            deadline_boot_ns=self._deadline,
            max_hits=max(1, limits.max_hits - self._taken),
            max_events_per_second=max(1, limits.max_events_per_second // files),
        )
        return self._stages.arm(file.program, file.processes, request, file.path, file.resolved.binary)

    def _ended(self, part: _Part) -> Iterator[MaskedBatch]:
        """The rest of one part, which is freed; its accounting is final then."""
        part.armed.detach()
        rest = list(self._drain(part, everything=True))
        self.no_rows()
        self._over += account(part.armed.counters(), part.drained, part.dropped, part.armed.in_flight())
        with self._counting:
            self._spent_over += self._spent(part)
            self._parts.remove(part)
        part.armed.close()
        return iter(rest)

    def _drain(self, part: _Part, *, everything: bool = False) -> Iterator[MaskedBatch]:
        while True:
            records = part.armed.drain(DRAIN)
            part.drained += len(records)
            wanted = records[: max(0, self._order.limits.max_hits - self._taken)]
            part.drop(SURPLUS, len(records) - len(wanted))
            self._taken += len(wanted)
            if len(wanted) and (batch := self._masked(part, wanted)) is not None:
                yield batch
            if not everything or len(records) < DRAIN:
                return

    def _masked(self, part: _Part, records: npt.NDArray[np.uint8]) -> MaskedBatch | None:
        try:
            decoded = self._stages.decode(part.file.program.layout, records, part.file)
            over = len(records) > 0 and self._stages.boot_ns() >= self.policy_until()
            return (self._stages.types_and_lengths if over else self._stages.mask)(decoded, part.file.rules)
        except Exception as error:  # noqa: BLE001 -- whatever a hostile target wrote: its rows are lost and counted, the probe goes on
            # The error's text may quote a captured value; its type and place do not.
            _LOG.error("%d records of %s dropped: %s", len(records), self._order.function, place_of(error))
            part.drop(UNDECODED, len(records))
            return None

    def _spent(self, part: _Part) -> Spent:
        hits = part.armed.counters()[Counter.HITS]
        if hits != part.hits:  # nothing more was spent otherwise, and most probes rest most of the time
            part.hits = hits
            part.spent = Spent(hits * self._traps.per_hit_ns(part.file.program), part.armed.cost().run_time_ns or 0)
        return part.spent

    @staticmethod
    def _no_records(part: _Part) -> npt.NDArray[np.uint8]:
        return np.zeros((0, part.file.program.layout.record_size), dtype=np.uint8)


def place_of(error: BaseException) -> str:
    """What went wrong and where, without the error's text."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "?"
    return f"{type(error).__name__} at {where}"
