"""Attach by uprobe_multi: one link for all sites of a program in one process.

Enters: loaded programs in their order, the file, the processes. Leaves: Attachment. The kernel filters by the task that
the pid named when the link was made, so another process that runs the same file never enters the program at all.
A site's cookie is its index in `Program.sites`. Needs 6.10: 6.6 to 6.9 compare threads instead of processes.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from agents.runtime import bpf_syscall
from agents.runtime.bpf_syscall import BpfError
from agents.runtime.model import ArmFailed, ArmReason
from agents.runtime.programs import LoadedProgram


class MultiAttachment:
    """The links of one probe. `programs` are attached in the order given and detached in the opposite one."""

    def __init__(self) -> None:
        self._links: list[tuple[int, int]] = []  # (pid, link descriptor), in order of attaching

    def attach(self, programs: Sequence[LoadedProgram], path: str, pids: Sequence[int]) -> frozenset[int]:
        """The pids that it is attached to; those that are missing ended meanwhile. Raises ArmFailed."""
        alive = set(pids)
        for loaded in programs:
            offsets = [site.offset for site in loaded.program.sites]
            for pid in pids:
                if pid not in alive:
                    continue
                try:
                    link = bpf_syscall.link_uprobe_multi(
                        loaded.fd,
                        path,
                        offsets,
                        list(range(len(offsets))),
                        on_return=loaded.program.on_return,
                        pid=pid,
                    )
                except BpfError as error:
                    if error.code != errno.ESRCH:
                        self.close()
                        raise _refusal(error) from error
                    alive.discard(pid)
                    self.drop(pid)
                else:
                    self._links.append((pid, link))
        return frozenset(alive)

    def drop(self, pid: int) -> None:
        """Take out the links of a process that has ended."""
        gone = [link for owner, link in self._links if owner == pid]
        self._links = [(owner, link) for owner, link in self._links if owner != pid]
        for link in gone:
            os.close(link)

    def close(self) -> None:
        """Last attached first: an entry is never taken without its return being watched."""
        while self._links:
            os.close(self._links.pop()[1])


def _refusal(error: BpfError) -> ArmFailed:
    if error.code in {errno.EPERM, errno.EACCES}:
        return ArmFailed(ArmReason.NOT_PERMITTED, str(error))
    return ArmFailed(ArmReason.ATTACH, str(error))
