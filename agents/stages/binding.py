"""Find an order's function in the files of the processes it means, and compile it once for each file.

    choose     target            -> processes of this host          or NoProcess
    admit      their executables -> none that the host denies       or Refused(denied_by_host); no locked build: Refused(locked)
    resolve    file, function    -> ResolvedProbe                   or Unresolved
    compile    captures          -> BpfProgram                      or CannotCompile

Entered with a ProbeOrder, left towards `agents.stages.probe`, which arms what was bound. Reads files; no BPF yet.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from agents.admission.host_rules import HostRules
from agents.admission.model import HostPolicy, RefusalReason, Refused
from agents.binaries.model import ResolvedProbe
from agents.compiler.model import BpfProgram, CompileRequest
from agents.masking.model import FieldRule
from agents.masking.typed_rules import typed_rules
from agents.processes.model import NoProcess, NoProcessReason, Process
from agents.processes.service import ProcessSource, choose
from agents.stages.locked_builds import LockedBuilds
from agents.stages.order import ProbeOrder
from language.model import At

FileKey = tuple[int, int]  # device, inode: what the kernel attaches a uprobe to


class Resolver(Protocol):
    """`agents.binaries.service.Binaries`."""

    def resolve(self, file: str, function: str, at: At, line: tuple[str, int] | None) -> ResolvedProbe: ...


Compile = Callable[[ResolvedProbe, CompileRequest], BpfProgram]


@dataclass(frozen=True)
class BoundFile:
    """One executable file with the function in it, and the processes that run it, each with its load bias."""

    path: str
    resolved: ResolvedProbe
    program: BpfProgram
    processes: tuple[tuple[Process, int], ...]
    rules: tuple[FieldRule, ...] = ()  # the order's, with those by type bound to this file


class Binder:
    """Binds one order; files that were bound once are not read again when more of their processes start."""

    def __init__(
        self,
        order: ProbeOrder,
        source: ProcessSource,
        resolver: Resolver,
        compile_probe: Compile,
        host: HostRules,
        locked: LockedBuilds | None = None,
    ) -> None:
        self._order = order
        self._source = source
        self._resolver = resolver
        self._compile = compile_probe
        self._host = host
        self._locked = locked or LockedBuilds()
        self._known: dict[FileKey, tuple[ResolvedProbe, BpfProgram, tuple[FieldRule, ...]]] = {}

    def bind(self, running: Sequence[int] = ()) -> tuple[BoundFile, ...]:
        """What of the target is not probed yet: all its processes but those with a pid in `running`.

        Raises NoProcess when the target means none at all, Refused, Unresolved, CannotCompile.
        """
        chosen = [process for process in choose(self._source, self._order.target) if process.pid not in running]
        for process in chosen:
            refuse_denied(self._host.now, process)
        return tuple(self._bound(key, processes) for key, processes in _by_file(chosen).items())

    def _bound(self, key: FileKey, processes: Sequence[Process]) -> BoundFile:
        path = processes[0].file
        if key not in self._known:
            request = self._order.request
            resolved = self._resolver.resolve(path, self._order.function, request.at, self._order.line)
            self._locked.refuse(resolved.binary.build_id)  # before the work, and again below for files known before
            program = self._compile(resolved, request)
            rules = typed_rules(self._order.rules, resolved, request)
            self._known[key] = replace(resolved, types={}), program, rules  # the types of a big program weigh MBs
        resolved, program, rules = self._known[key]
        self._locked.refuse(resolved.binary.build_id)
        biases = tuple((each, self._bias(each, resolved)) for each in processes)
        return BoundFile(path, resolved, program, biases, rules)

    def _bias(self, process: Process, resolved: ResolvedProbe) -> int:
        if not resolved.position_independent:
            return 0
        try:
            return self._source.load_bias(process)
        except OSError as error:
            raise NoProcess(NoProcessReason.GONE, f"process {process.pid} ended while it was looked at") from error


def refuse_denied(host: HostPolicy, process: Process) -> None:
    """By the path the process itself uses and by the one the host uses: a link or a mount changes nothing."""
    for path in {process.exe, os.path.realpath(process.file)}:
        if pattern := host.denied_path(path):
            raise Refused(RefusalReason.DENIED_BY_HOST, f"this host denies executables like {pattern!r}: {path}")


def _by_file(processes: Sequence[Process]) -> Mapping[FileKey, Sequence[Process]]:
    files: dict[FileKey, list[Process]] = {}
    for process in processes:
        try:
            status = os.stat(process.file)  # noqa: PTH116 -- the file is opened by this very string later
        except OSError:
            continue  # it has just ended
        files.setdefault((status.st_dev, status.st_ino), []).append(process)
    if processes and not files:
        raise NoProcess(NoProcessReason.GONE, "the target's processes ended while they were looked at")
    return files
