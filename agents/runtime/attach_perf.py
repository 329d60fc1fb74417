"""Attach by perf events, one per site: what kernels before 6.10 can do without mixing up processes.

Enters: loaded programs in their order and the file. Leaves: Attachment. A uprobe belongs to the file, so the event fires
in every process that runs it and the program's own PROCESSES check keeps the others out. It costs about 0.1 s a site to
attach and detach, hence MAX_SITES.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agents.runtime import bcc_perf_events
from agents.runtime.model import ArmFailed, ArmReason
from agents.runtime.programs import LoadedProgram

MAX_SITES: Final = 128  # 1,001 perf-event uprobes took 118 s to come and go: a probe must be gone within seconds


class PerfAttachment:
    """The perf events of one probe, attached in the order of `programs` and closed in the opposite one."""

    def __init__(self) -> None:
        self._events: list[int] = []

    def attach(self, programs: Sequence[LoadedProgram], path: str, pids: Sequence[int]) -> frozenset[int]:
        """Every pid: the program decides at each hit. Raises ArmFailed."""
        sites = sum(len(loaded.program.sites) for loaded in programs)
        if sites > MAX_SITES:
            raise ArmFailed(
                ArmReason.UNSUPPORTED,
                f"{sites} sites need uprobe_multi (kernel 6.10 and later): this kernel attaches one at a time, "
                f"which is allowed up to {MAX_SITES}",
            )
        try:
            for loaded in programs:
                for site in loaded.program.sites:
                    on_return = loaded.program.on_return
                    self._events.append(bcc_perf_events.open_uprobe(loaded.fd, path, site.offset, on_return=on_return))
        except bcc_perf_events.BccMissing as missing:
            self.close()
            raise ArmFailed(ArmReason.UNSUPPORTED, str(missing)) from missing
        except ArmFailed:
            self.close()
            raise
        return frozenset(pids)

    def drop(self, pid: int) -> None:
        """Nothing to do: the events are everybody's, and PROCESSES has let go of this pid."""

    def close(self) -> None:
        while self._events:
            bcc_perf_events.close_uprobe(self._events.pop())
