"""Choose the processes that a target means; refuse rather than guess.

Every field that is set must match, and an empty target means nothing. What is chosen goes to `agents.binaries` (which
executable) and `agents.runtime` (which processes the program may look at).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from agents.processes.model import NoProcess, NoProcessReason, Process
from language.model import TargetSpec

MAX_PROCESSES: Final = 64  # one link each: beyond it a fleet decision is needed, not one probe
SHOWN_SERVICES: Final = 8  # names in an error text that a person still reads


class ProcessSource(Protocol):
    def all(self) -> Iterable[Process]: ...
    def find(self, pid: int) -> Process | None: ...
    def is_alive(self, process: Process) -> bool: ...
    def load_bias(self, process: Process) -> int: ...


class ProcessesWatched(ProcessSource, Protocol):
    """`agents.processes.table.ProcessTable`."""

    def changes(self) -> int:
        """Another number than before when there are other processes than before."""
        ...


def choose(source: ProcessSource, target: TargetSpec) -> tuple[Process, ...]:
    """All processes of this host that the target names, by pid. Raises NoProcess; never returns an empty tuple."""
    if not (target.pids or target.exe or target.service or target.pod or target.labels):
        raise NoProcess(
            NoProcessReason.EMPTY_TARGET,
            "the target names no process: give a service, an executable or a pid (an empty target means nobody)",
        )
    pids = {pid: source.find(pid) for pid in target.pids}
    for pid, found in pids.items():
        if found is None:
            raise NoProcess(NoProcessReason.GONE, f"there is no process {pid} on this host, or it has no executable")
    candidates = [process for process in pids.values() if process is not None] if pids else list(source.all())
    chosen = tuple(sorted((p for p in candidates if _matches(p, target)), key=lambda process: process.pid))
    if not chosen:
        raise NoProcess(NoProcessReason.NOT_FOUND, _nothing(target, candidates))
    if len(chosen) > MAX_PROCESSES:
        raise NoProcess(
            NoProcessReason.TOO_MANY,
            f"{len(chosen)} processes match {_words(target)}, at most {MAX_PROCESSES} are probed at once: narrow the target",
        )
    return chosen


def _matches(process: Process, target: TargetSpec) -> bool:
    labels = dict(process.labels)
    return all(
        (
            target.exe is None or process.exe == target.exe,
            target.service is None or process.service == target.service,
            target.pod is None or _pod_matches(process, target.pod),
            all(labels.get(key) == value for key, value in target.labels),
        )
    )


def _pod_matches(process: Process, pod: str) -> bool:
    """`namespace/prefix`. Outside Kubernetes a process has no namespace unless PROBEGATE_NAMESPACE says one."""
    namespace, _, prefix = pod.rpartition("/")
    if namespace and process.namespace and process.namespace != namespace:
        return False
    return process.service == prefix or process.service.startswith(prefix + "-")


def _words(target: TargetSpec) -> str:
    named = {"service": target.service, "exe": target.exe, "pod": target.pod}
    words = [f"{key} {value!r}" for key, value in named.items() if value]
    words += [f"pid {pid}" for pid in target.pids] + [f"label {key}={value}" for key, value in target.labels]
    return " and ".join(words)


def _nothing(target: TargetSpec, candidates: list[Process]) -> str:
    if target.pids:
        came = ", ".join(f"pid {p.pid} is {p.service!r} running {p.exe}" for p in candidates)
        return f"no process matches {_words(target)}: {came}"
    services = sorted({process.service for process in candidates})
    shown = ", ".join(services[:SHOWN_SERVICES]) + (", …" if len(services) > SHOWN_SERVICES else "")
    return f"no process of this host matches {_words(target)}; services running here: {shown or 'none'}"
