"""A kernel, processes and binaries for tests of what runs above them: fakes of the ports that `agents.stages` uses.

A FakeHost holds everything: start processes on it, fire hits, look at what is armed. Records are one number each; the
number comes out as the column `n`, unmasked, so that a test can say which hits arrived.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from agents.admission.host_rules import HostRules
from agents.admission.model import HostPolicy
from agents.binaries.model import (
    BinaryIdentity,
    Language,
    Register,
    ResolvedProbe,
    ReturnMethod,
    Site,
    TrapClass,
    Unresolved,
    UnresolvedReason,
)
from agents.compiler.layout import RecordLayout
from agents.compiler.model import BpfProgram, CompileRequest, Counter, Program, Role
from agents.decoding.model import RecordBatch
from agents.masking.model import FieldRule, MaskedBatch
from agents.processes.model import Process
from agents.runtime.calibration import TrapCosts
from agents.runtime.model import ArmedProbe, ArmFailed, ArmReason, ArmRequest, AttachMethod, RunCost
from agents.stages.binding import BoundFile
from agents.stages.probe import Stages
from agents.stages.service import Prober
from language.model import At, TargetSpec

MASKING_SECONDS: Final = 20.0  # a test that forgot to let masking go on
SITE = Site(0x1000, 0x1000, TrapClass.EMULATED, "push rbp", Register.RSP, 8)
LAYOUT = RecordLayout(record_size=8, function="shop/money.Sum", columns=())


@dataclass
class FakeArmed:
    """ArmedProbe. `fire` is a hit."""

    request: ArmRequest
    pids: list[int]
    host: FakeHost
    ring: list[int] = field(default_factory=list)
    tally: Tally[Counter] = field(default_factory=Tally)
    flying: int = 0
    run_time_ns: int = 0
    deadline: int = 0
    detached: bool = False
    closed: bool = False

    method = AttachMethod.UPROBE_MULTI

    @property
    def processes(self) -> tuple[int, ...]:
        return tuple(pid for pid in self.pids if pid in self.host.running)

    def fire(self, *numbers: int) -> None:
        for number in numbers:
            self.tally[Counter.HITS] += 1
            if (
                self.detached
                or self.host.boot >= self.deadline
                or self.tally[Counter.DELIVERED] >= self.request.max_hits
            ):
                self.tally[Counter.EXPIRED] += 1
            else:
                self.tally[Counter.DELIVERED] += 1
                self.ring.append(number)

    def count(self, counter: Counter, hits: int) -> None:
        self.tally[Counter.HITS] += hits
        self.tally[counter] += hits

    def enter(self) -> None:
        """A call that does not return."""
        self.tally[Counter.HITS] += 1
        self.flying += 1

    def drain(self, limit: int) -> npt.NDArray[np.uint8]:
        taken, self.ring = self.ring[:limit], self.ring[limit:]
        return np.array(taken, dtype="<u8").view(np.uint8).reshape(len(taken), 8)

    def waiting(self) -> int:
        return len(self.ring)

    room = 1000

    def counters(self) -> Mapping[Counter, int]:
        return {counter: self.tally[counter] for counter in Counter}

    def in_flight(self) -> int:
        return self.flying

    def switch(self, enabled: bool) -> None:
        raise NotImplementedError

    def extend(self, deadline_boot_ns: int) -> None:
        self.deadline = deadline_boot_ns

    def cost(self) -> RunCost:
        return RunCost(self.tally[Counter.HITS], self.run_time_ns)

    def program_ids(self) -> tuple[int, ...]:
        return (1,)

    def detach(self) -> None:
        self.detached = True

    def close(self) -> None:
        self.detached = self.closed = True


class FakeHost:
    """Processes, their files, a clock, and what is in the kernel."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: dict[int, Process] = {}
        self.boot = 1_000_000_000_000
        self.armed: list[FakeArmed] = []
        self.resolutions = 0
        self.compilations = 0
        self.resolve_problem: Exception | None = None
        self.arm_problem: ArmReason | None = None
        self.undecodable = False
        self.texts = False  # whether records have a text too, which masking hides
        self.lets_texts_out = False
        self.masks = Event()  # masking a batch waits for it
        self.masks.set()
        self.changed = 0

    def pass_time(self, span: timedelta) -> None:
        self.boot += int(span.total_seconds() * 1e9)

    def start(self, pid: int, service: str = "shop", file: str = "shop") -> None:
        path = self.folder / file
        path.touch()
        self.changed += 1
        self.running[pid] = Process(pid, 1, f"/srv/{file}", str(path), service, "")

    def stop(self, pid: int) -> None:
        self.changed += 1
        del self.running[pid]

    @property
    def in_kernel(self) -> list[FakeArmed]:
        return [armed for armed in self.armed if not armed.detached]

    def prober(self, policy: HostPolicy | None = None) -> Prober:
        return Prober(
            source=self,
            resolver=self,
            compile_probe=self._compile,
            stages=Stages(arm=self._arm, decode=self._decode, mask=self._mask, boot_ns=lambda: self.boot),
            host=HostRules(policy),
            traps=TrapCosts(),
        )

    # --- ProcessSource ---------------------------------------------------------------------------------------

    def all(self) -> Iterable[Process]:
        return list(self.running.values())

    def changes(self) -> int:
        return self.changed

    def find(self, pid: int) -> Process | None:
        return self.running.get(pid)

    def is_alive(self, process: Process) -> bool:
        return process.pid in self.running

    def load_bias(self, process: Process) -> int:
        return 0

    # --- Resolver and the rest ---------------------------------------------------------------------------------

    def resolve(self, file: str, function: str, at: At, line: tuple[str, int] | None) -> ResolvedProbe:
        self.resolutions += 1
        if self.resolve_problem is not None:
            raise self.resolve_problem
        if function == "shop/none.Such":
            raise Unresolved(UnresolvedReason.NO_FUNCTION, "shop/none.Such is not in this binary")
        return ResolvedProbe(
            binary=BinaryIdentity(file, "ab", 1, 1),
            function=function,
            language=Language.GO,
            file="money.go",
            line=1,
            low_pc=0x1000,
            high_pc=0x2000,
            arguments=(),
            results=(),
            entry=SITE,
            returns=(),
            return_method=ReturnMethod.RET_SITES,
            inlined_copies=(),
            go=None,
            types={},
        )

    def _compile(self, resolved: ResolvedProbe, request: CompileRequest) -> BpfProgram:
        self.compilations += 1
        return BpfProgram((Program(Role.ENTRY, b"", (), (SITE,), on_return=False),), (), LAYOUT, sleepable=True)

    def _arm(
        self,
        program: BpfProgram,
        processes: Sequence[tuple[Process, int]],
        request: ArmRequest,
        file: str,
        identity: BinaryIdentity,
    ) -> ArmedProbe:
        assert identity.path == file
        if self.arm_problem is not None:
            raise ArmFailed(self.arm_problem, "the kernel said no")
        armed = FakeArmed(request, [process.pid for process, _ in processes], self, deadline=request.deadline_boot_ns)
        self.armed.append(armed)
        return armed

    def _decode(self, layout: RecordLayout, records: npt.NDArray[np.uint8], file: BoundFile) -> RecordBatch:
        if self.undecodable and len(records):
            raise ValueError("secret-value cannot be decoded")
        numbers = records.reshape(-1).view("<u8") if len(records) else np.zeros(0, dtype="<u8")
        columns: dict[str, pa.Array] = {"n": pa.array(numbers, pa.uint64())}
        if self.texts:
            columns["text"] = pa.array(["anything"] * len(numbers), pa.string())
        return RecordBatch(pa.record_batch(columns))

    def _mask(self, batch: RecordBatch, rules: Sequence[FieldRule]) -> MaskedBatch:
        assert self.masks.wait(MASKING_SECONDS)
        columns = batch.columns
        if self.texts and not self.lets_texts_out:
            place = columns.schema.get_field_index("text")
            columns = columns.set_column(place, "text", pa.array(["<HIDDEN>"] * columns.num_rows, pa.string()))
        return MaskedBatch(columns, ())


def numbers(batches: Iterable[MaskedBatch]) -> list[int]:
    return [value for batch in batches for value in cast("list[Any]", batch.columns.column("n").to_pylist())]


def on_service(service: str = "shop") -> TargetSpec:
    return TargetSpec(service=service)
