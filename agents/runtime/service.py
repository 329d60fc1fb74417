"""Arm a probe: all of it in the kernel, or ArmFailed and nothing.

    1. watch       the processes are still those that were meant      or process_gone
    2. maps        created; limits and PROCESSES written before anything can fire
    3. programs    map descriptors patched in, loaded                 or verifier, not_permitted
    4. attach      the file that was resolved; RETURN first, ENTRY last                           or attach
    5. watch       still the same processes                           or process_gone

Enters: a BpfProgram and processes with their load bias. Leaves: an ArmedProbe, whose records go to `agents.decoding`.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Protocol, Self

import numpy as np
import numpy.typing as npt

from agents.binaries.model import BinaryIdentity
from agents.compiler.model import BpfProgram, ControlField, Counter, MapName, Role
from agents.processes.model import Process
from agents.runtime import bpf_syscall
from agents.runtime.attach_multi import MultiAttachment
from agents.runtime.attach_perf import PerfAttachment
from agents.runtime.bpf_syscall import BpfError
from agents.runtime.maps import ProbeMaps
from agents.runtime.model import (
    ArmedProbe,
    ArmFailed,
    ArmReason,
    ArmRequest,
    AttachMethod,
    KernelFeatures,
    RunCost,
)
from agents.runtime.programs import LoadedProgram, load
from agents.runtime.ring import RingReader
from agents.runtime.watch import ProcessWatch

_EXITING_MS: Final = 200  # between the loss of its /proc/<pid>/root and the word of its pidfd that a process is gone
RELIEVE_SECONDS: Final = 1.0  # between two looks at how full the stash is: each reads all counters
_ORDER: Final = {Role.RETURN: 0, Role.ENTRY: 1}  # an entry must find its return watched


class Attachment(Protocol):
    def attach(self, programs: Sequence[LoadedProgram], path: str, pids: Sequence[int]) -> frozenset[int]: ...
    def drop(self, pid: int) -> None: ...
    def close(self) -> None: ...


def arm(
    program: BpfProgram,
    processes: Sequence[tuple[Process, int]],
    request: ArmRequest,
    file: str,
    kernel: KernelFeatures,
    identity: BinaryIdentity | None = None,
) -> ArmedProbe:
    """Put `program` into the kernel for these (process, load bias) on `file`. Raises ArmFailed.

    A process that has ended already is left out; when none is left, that is process_gone. With `identity` (the one that
    was resolved) a file that was replaced since is refused: its sites would be somewhere inside other instructions.
    Close what is returned.
    """
    if request.max_events_per_second <= 0 or request.max_hits <= 0:
        raise ValueError(f"limits must be positive, {request} came: no limit means no probe")
    probe = _Probe(_method(kernel))
    try:
        probe.enter(program, processes, request, (file, identity), stats=kernel.run_time_stats)
    except BpfError as error:
        probe.close()
        reason = ArmReason.NOT_PERMITTED if error.name == "EPERM" else ArmReason.ATTACH
        raise ArmFailed(reason, str(error)) from error
    except BaseException:
        probe.close()
        raise
    return probe


class _Probe:
    """ArmedProbe. Every resource goes onto `_resources` as it is made, so that a failure half-way frees all of them."""

    def __init__(self, method: AttachMethod) -> None:
        self._method = method
        self._resources = contextlib.ExitStack()
        self._attachment: Attachment = MultiAttachment() if method is AttachMethod.UPROBE_MULTI else PerfAttachment()
        self._loaded: list[LoadedProgram] = []
        self._relieve_at = 0.0
        self._linked = threading.Lock()  # whoever sees first that a process or the probe is over takes its links out

    def enter(
        self,
        program: BpfProgram,
        processes: Sequence[tuple[Process, int]],
        request: ArmRequest,
        file: tuple[str, BinaryIdentity | None],
        *,
        stats: bool,
    ) -> None:
        """The numbered steps of the module."""
        self._watch = ProcessWatch(process for process, _ in processes)
        self._resources.callback(self._watch.close)
        self._expect_some(processes)
        opened = self._opened(*file, processes)
        self._maps = ProbeMaps(program.maps)
        self._resources.callback(self._maps.close)
        ring = next(spec for spec in program.maps if spec.name is MapName.RING)
        self._ring = RingReader(self._maps.descriptor(MapName.RING), ring.max_entries, program.layout.record_size)
        self._resources.callback(self._ring.close)
        self._maps.control.write(request)
        alive = set(self._watch.alive)
        for process, load_bias in processes:
            if process.pid in alive:
                self._maps.admit(process.pid, load_bias)
        for one in sorted(program.programs, key=lambda each: _ORDER[each.role]):
            loaded = load(one, self._maps, self._method, sleepable=program.sleepable)
            self._resources.callback(loaded.close)
            self._loaded.append(loaded)
        self._measured = stats
        if stats:
            self._resources.callback(os.close, bpf_syscall.enable_run_time_stats())
        try:
            self._attachment.attach(self._loaded, opened, self._watch.alive)
        except ArmFailed as failed:
            raise ArmFailed(failed.reason, f"{file[0]}: {failed.detail}") from failed
        self._forget_ended()
        self._expect_some(processes)

    @property
    def method(self) -> AttachMethod:
        return self._method

    @property
    def processes(self) -> tuple[int, ...]:
        self._forget_ended()
        return self._watch.alive

    def drain(self, limit: int) -> npt.NDArray[np.uint8]:
        self._forget_ended()
        if (now := time.monotonic()) >= self._relieve_at:
            self._relieve_at = now + RELIEVE_SECONDS
            self._maps.relieve()
        return self._ring.drain(limit)

    def waiting(self) -> int:
        return self._ring.waiting()

    @property
    def room(self) -> int:
        return self._ring.room

    def counters(self) -> Mapping[Counter, int]:
        return self._maps.counters()

    def in_flight(self) -> int:
        return self._maps.in_flight()

    def switch(self, enabled: bool) -> None:
        self._maps.control[ControlField.ENABLED] = int(enabled)

    def extend(self, deadline_boot_ns: int) -> None:
        self._maps.control[ControlField.DEADLINE] = deadline_boot_ns

    def cost(self) -> RunCost:
        costs = [loaded.cost() for loaded in self._loaded]
        if not self._measured:
            return RunCost(runs=self._maps.counters()[Counter.HITS], run_time_ns=None)
        return RunCost(sum(cost.runs for cost in costs), sum(cost.run_time_ns or 0 for cost in costs))

    def program_ids(self) -> tuple[int, ...]:
        return tuple(loaded.id for loaded in self._loaded)

    def detach(self) -> None:
        with self._linked:
            self._attachment.close()

    def close(self) -> None:
        self.detach()
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self, path: str, identity: BinaryIdentity | None, processes: Sequence[tuple[Process, int]]) -> str:
        """The file under a name that cannot come to mean another one before it is attached to."""
        try:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError as error:
            if self._watch.ended(_EXITING_MS):  # the name led through a process that was ending
                self._expect_some(processes)
            raise ArmFailed(ArmReason.ATTACH, f"{path} cannot be opened: {error.strerror}") from error
        self._resources.callback(os.close, fd)
        status = os.fstat(fd)
        if identity is not None and (status.st_dev, status.st_ino) != (identity.device, identity.inode):
            raise ArmFailed(ArmReason.ATTACH, f"{path} was replaced after it was resolved: resolve it again")
        return f"/proc/self/fd/{fd}"

    def _forget_ended(self) -> None:
        for pid in self._watch.ended():
            self._maps.dismiss(pid)
            with self._linked:
                self._attachment.drop(pid)

    def _expect_some(self, processes: Sequence[tuple[Process, int]]) -> None:
        if self._watch.alive:
            return
        meant = ", ".join(f"{process.pid} ({process.service or process.exe})" for process, _ in processes) or "none"
        raise ArmFailed(
            ArmReason.PROCESS_GONE,
            f"no process is left to attach to: of {meant}, each has ended or its number belongs to another process now",
        )


def _method(kernel: KernelFeatures) -> AttachMethod:
    if kernel.uprobe_multi:
        return AttachMethod.UPROBE_MULTI
    if kernel.perf_event:
        return AttachMethod.PERF_EVENT
    reason = ArmReason.UNSUPPORTED if kernel.bpf else ArmReason.NOT_PERMITTED
    names = ("bpf", "uprobe_multi", "perf_event")
    detail = "; ".join(f"{name}: {kernel.details.get(name, 'missing')}" for name in names)
    raise ArmFailed(reason, f"this host has no way to attach a probe ({detail})")
