"""The maps of one probe: made from their specs, read and written while the program runs.

Enters: MapSpecs and, for `write_control`, the limits. Leaves: descriptors for `programs` to put into the instructions,
counters, the number of calls in flight. The control value is mapped into the agent, so a switch or a new deadline is one
aligned 8-byte store that the next hit already sees. The ring is `ring`'s business.
"""

from __future__ import annotations

import errno
import mmap
import os
import resource
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from agents.compiler.model import CONTROL_SIZE, ControlField, Counter, MapKind, MapName, MapSpec
from agents.runtime import bpf_syscall
from agents.runtime.bpf_abi import MapFlag
from agents.runtime.bpf_syscall import BpfError
from agents.runtime.model import ArmRequest

NAME_PREFIX: Final = "pg_"  # how our maps and programs are known in the kernel's lists
POSSIBLE_CPUS: Final = Path("/sys/devices/system/cpu/possible")
BURST_NS: Final = 1_000_000_000  # a second's worth may come at once: what "N a second" means to a person
NS_PER_SECOND: Final = 1_000_000_000
STASH_FILLED: Final = 0.75  # of STASH: from here on its oldest entries expire, before a call finds no room
ENTERED: Final = 8  # bytes at the start of a stash value: the record's own time, CLOCK_BOOTTIME ns


class ProbeMaps:
    """All maps of one probe. Close it; a map that a loaded program uses lives on until that program goes."""

    def __init__(self, specs: Sequence[MapSpec]) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._fds: dict[MapName, int] = {}
        self._control: Control | None = None
        self._expired = 0  # entries of STASH that were taken out
        try:
            for spec in specs:
                self._fds[spec.name] = _create(spec)
            self._control = Control(self._fds[MapName.CONTROL])
        except BaseException:
            self.close()
            raise

    def descriptor(self, name: MapName) -> int:
        """Raises KeyError when the program has no such map."""
        return self._fds[name]

    @property
    def control(self) -> Control:
        if self._control is None:
            raise ValueError("the probe is closed: its control value is gone")
        return self._control

    def admit(self, pid: int, load_bias: int) -> None:
        bpf_syscall.map_update(self._fds[MapName.PROCESSES], _U32.pack(pid), _U64.pack(load_bias))

    def dismiss(self, pid: int) -> None:
        bpf_syscall.map_delete(self._fds[MapName.PROCESSES], _U32.pack(pid))

    def counters(self) -> Mapping[Counter, int]:
        """Summed over all CPUs that this machine may ever have."""
        spec, fd = self._specs[MapName.COUNTERS], self._fds[MapName.COUNTERS]
        cpus = possible_cpus()
        stride = spec.value_size * cpus
        try:
            raw = bpf_syscall.map_lookup_batch(fd, spec.key_size, stride, spec.max_entries)
        except BpfError as error:
            if error.code not in {errno.EINVAL, errno.EOPNOTSUPP, 524}:  # batches of per-CPU arrays came with 5.13
                raise
            keys = (_U32.pack(index) for index in range(spec.max_entries))
            raw = b"".join(bpf_syscall.map_lookup(fd, key, stride) or bytes(stride) for key in keys)
        sums = np.frombuffer(raw, dtype="<u8").reshape(-1, cpus).sum(axis=1)
        found = {counter: int(sums[counter]) for counter in Counter if counter < len(sums)}
        if self._expired:
            found[Counter.LOST_NO_RETURN] += self._expired
        return found

    def relieve(self) -> None:
        """Before STASH is full its oldest quarter expires: calls that will not return (panics, exceptions, threads that
        ended) would leave no room for those that do. Each counts as a call without a return.
        """
        spec = self._specs.get(MapName.STASH)
        if spec is None:
            return
        counted = dict(self.counters())
        under_way = counted.pop(Counter.HITS) - sum(counted.values()) + counted[Counter.UNPAIRED_RETURN]
        if under_way < spec.max_entries * STASH_FILLED:
            return
        fd = self._fds[MapName.STASH]
        entries = [(bpf_syscall.map_lookup(fd, key, spec.value_size), key) for key in self._stashed(spec)]
        entered = sorted((value[:ENTERED], key) for value, key in entries if value is not None)
        oldest = sorted(entered, key=lambda each: int.from_bytes(each[0], "little"))[: spec.max_entries // 4]
        self._expired += sum(bpf_syscall.map_delete(fd, key) for _, key in oldest)

    def in_flight(self) -> int:
        """Keys in STASH. Bounded: a walk is begun again by the kernel whenever the key it stands on is deleted."""
        spec = self._specs.get(MapName.STASH)
        if spec is None:
            return 0
        return len(self._stashed(spec))

    def _stashed(self, spec: MapSpec) -> set[bytes]:
        seen: set[bytes] = set()
        key: bytes | None = None
        for _ in range(2 * spec.max_entries):
            key = bpf_syscall.map_next_key(self._fds[MapName.STASH], key, spec.key_size)
            if key is None:
                break
            seen.add(key)
        return seen

    def close(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()


class Control:
    """The one value of CONTROL, shared with the program: see ControlField for its layout."""

    def __init__(self, map_fd: int) -> None:
        self._memory = mmap.mmap(map_fd, mmap.PAGESIZE, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        self._fields: npt.NDArray[np.uint64] | None = np.frombuffer(self._memory, dtype="<u8", count=CONTROL_SIZE // 8)

    def __getitem__(self, field: ControlField) -> int:
        return int(self._open()[field // 8])

    def __setitem__(self, field: ControlField, value: int) -> None:
        self._open()[field // 8] = value

    def write(self, request: ArmRequest) -> None:
        """All limits, the switch last: a program that runs already sees no half-written ones as on."""
        self[ControlField.DEADLINE] = request.deadline_boot_ns
        self[ControlField.MAX_HITS] = request.max_hits
        self[ControlField.INTERVAL] = NS_PER_SECOND // request.max_events_per_second
        self[ControlField.BURST] = BURST_NS
        self[ControlField.ENABLED] = 1

    def close(self) -> None:
        self._fields = None  # the array holds the mapping open
        self._memory.close()

    def _open(self) -> npt.NDArray[np.uint64]:
        if self._fields is None:
            raise ValueError("the probe is closed: its control value is gone")
        return self._fields


@lru_cache(maxsize=1)
def possible_cpus() -> int:
    """How many values a per-CPU map has for a key: the kernel's num_possible_cpus(), offline ones included."""
    last = POSSIBLE_CPUS.read_text().strip().split(",")[-1].split("-")[-1]
    return int(last) + 1


def _create(spec: MapSpec) -> int:
    flags = MapFlag.MMAPABLE if spec.name is MapName.CONTROL else MapFlag.NONE
    sizes = (0, 0) if spec.kind is MapKind.RINGBUF else (spec.key_size, spec.value_size)
    name = NAME_PREFIX + spec.name.value
    try:
        return bpf_syscall.map_create(spec.kind, *sizes, spec.max_entries, flags, name)
    except BpfError as error:
        if error.code != errno.EPERM:
            raise
    # Before 5.11 maps count as locked memory and the default limit is 64 KiB; later kernels ask the cgroup instead.
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return bpf_syscall.map_create(spec.kind, *sizes, spec.max_entries, flags, name)


_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")
