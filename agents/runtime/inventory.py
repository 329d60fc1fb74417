"""What the kernel itself says is loaded: the proof that a probe is there, or gone.

Enters: nothing; the kernel's own lists of program and link ids are walked. Leaves: programs, maps and links that carry
our name prefix. Used by tests, by `doctor` and by whoever must show that nothing was left behind.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from agents.runtime import bpf_syscall
from agents.runtime.bpf_abi import LINK_TYPE_UPROBE_MULTI, Command
from agents.runtime.maps import NAME_PREFIX

_POLL_SECONDS: Final = 0.01


@dataclass(frozen=True)
class KernelProgram:
    id: int
    name: str
    runs: int
    run_time_ns: int


@dataclass(frozen=True)
class KernelLink:
    """`sites` and `pid` are those of a uprobe_multi link; 0 for another kind, or where the kernel does not tell."""

    id: int
    program_id: int
    sites: int
    pid: int


def programs() -> tuple[KernelProgram, ...]:
    """Loaded programs of ours, of every agent on this host."""
    infos = (bpf_syscall.prog_info(fd) for fd in _open_all(Command.PROG_GET_NEXT_ID, Command.PROG_GET_FD_BY_ID))
    return tuple(
        KernelProgram(int(info.id), info.name.decode(), int(info.run_cnt), int(info.run_time_ns))
        for info in infos
        if info.name.startswith(NAME_PREFIX.encode())
    )


def maps() -> frozenset[int]:
    """Ids of maps of ours, of every agent on this host."""
    infos = (bpf_syscall.map_info(fd) for fd in _open_all(Command.MAP_GET_NEXT_ID, Command.MAP_GET_FD_BY_ID))
    return frozenset(int(info.id) for info in infos if info.name.startswith(NAME_PREFIX.encode()))


def links(program_ids: Iterable[int]) -> tuple[KernelLink, ...]:
    """Links that hold one of these programs at its sites."""
    wanted = frozenset(program_ids)
    infos = (bpf_syscall.link_info(fd) for fd in _open_all(Command.LINK_GET_NEXT_ID, Command.LINK_GET_FD_BY_ID))
    return tuple(
        KernelLink(int(info.id), int(info.prog_id), int(info.count) if multi else 0, int(info.pid) if multi else 0)
        for info in infos
        if info.prog_id in wanted
        for multi in (info.type == LINK_TYPE_UPROBE_MULTI,)
    )


def remaining(program_ids: Iterable[int]) -> tuple[KernelProgram, ...]:
    """Those of these programs that the kernel still holds. Ids are not used again before 2^31 have gone by."""
    wanted = frozenset(program_ids)
    return tuple(program for program in programs() if program.id in wanted)


def wait_until_gone(program_ids: Iterable[int], seconds: float) -> tuple[KernelProgram, ...]:
    """Programs are freed a moment after their last descriptor is closed: what remains after waiting; empty is good."""
    wanted = tuple(program_ids)
    end = time.monotonic() + seconds
    while (left := remaining(wanted)) and time.monotonic() < end:
        time.sleep(_POLL_SECONDS)
    return left


def _open_all(following: Command, opening: Command) -> Iterator[int]:
    """A descriptor of every object in turn, closed when the next one is asked for."""
    identifier = bpf_syscall.next_id(following, 0)
    while identifier is not None:
        fd = bpf_syscall.fd_by_id(opening, identifier)
        if fd is not None:  # None: it went between the two calls
            try:
                yield fd
            finally:
                os.close(fd)
        identifier = bpf_syscall.next_id(following, identifier)
