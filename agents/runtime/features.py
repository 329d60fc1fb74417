"""What this kernel lets this process do, found by trying and not by its version: distributions carry fixes back.

Enters: nothing. Leaves: KernelFeatures for `service.arm` and the compiler, findings for `probegate-agent doctor`.
What is tried leaves no trace: programs are loaded and never run, links point at an anonymous file that nobody maps.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agents.compiler.model import MapKind
from agents.runtime import bcc_perf_events, bpf_syscall
from agents.runtime.bpf_abi import ATTACH_UPROBE_MULTI, PROG_TYPE_SOCKET_FILTER, MapFlag
from agents.runtime.bpf_syscall import BpfError
from agents.runtime.instructions import ATOMIC_FETCH_ADD, RETURN_ZERO, STORE_ZERO, USER_COPY, helper
from agents.runtime.model import ArmFailed, KernelFeatures

WANTED_CAPABILITIES: Final = {  # bit numbers: include/uapi/linux/capability.h
    "CAP_BPF": 39,
    "CAP_PERFMON": 38,
    "CAP_SYS_PTRACE": 19,
    "CAP_DAC_READ_SEARCH": 2,
}
INITIAL_PID_NAMESPACE: Final = 0xEFFFFFFC  # PROC_PID_INIT_INO, include/linux/proc_ns.h
UPROBE_PMU: Final = Path("/sys/bus/event_source/devices/uprobe/type")
KERNEL_TYPES: Final = Path("/sys/kernel/btf/vmlinux")
_PAGE: Final = resource.getpagesize()
_KTIME_GET_BOOT_NS: Final = 125  # enum bpf_func_id
_KTIME_GET_COARSE_NS: Final = 160  # came with 5.11, as did memory accounting by cgroup: libbpf's own test for it

COSTS: Final = {
    "bpf": "nothing can be traced: run the agent as root, or with CAP_BPF and CAP_PERFMON",
    "uprobe_multi": "probes are attached one site at a time (about 0.1 s each, 128 at most) and fire in every process "
    "of the file before the program filters: kernel 6.10 or later has it",
    "perf_event": "no way back for kernels without uprobe_multi; otherwise nothing",
    "sleepable": "values on pages that are not resident are absent (not_resident): kernel 6.0 or later has it",
    "ring_buffer": "nothing can be traced: kernel 5.8 or later has it",
    "atomics": "hit limits and rate limits cannot be kept in the kernel, so no probe loads: kernel 5.12 or later has it",
    "boot_clock": "the deadline cannot be kept in the kernel, so no probe loads: kernel 5.8 or later has it",
    "run_time_stats": "the CPU budget is judged by hits times the price of a trap alone",
    "host_pid_namespace": "pids seen here are not those that a program sees: no hit matches. "
    "Run the agent in the host's pid namespace (hostPID: true, --pid=host)",
    "btf": "nothing: probes are compiled without the kernel's types",
    "memlock": "maps count as locked memory and may be refused: raise RLIMIT_MEMLOCK (LimitMEMLOCK=infinity)",
    "CAP_BPF": "programs cannot be loaded without root",
    "CAP_PERFMON": "programs cannot be attached to user code without root",
    "CAP_SYS_PTRACE": "other users' processes cannot be looked into (/proc/PID/root, maps, exe)",
    "CAP_DAC_READ_SEARCH": "executables that are not world-readable cannot be resolved",
}


@dataclass(frozen=True)
class Finding:
    """One line of `doctor`. `cost` is what is lost while it is not `ok`; empty when it is."""

    name: str
    ok: bool
    detail: str
    cost: str


def probe_kernel(*, thorough: bool = False) -> KernelFeatures:
    """Try everything a probe needs. `thorough` also opens a perf event (0.1 s) where uprobe_multi makes it needless."""
    details: dict[str, str] = {}

    def has(name: str, attempt: Callable[[], str]) -> bool:
        try:
            details[name] = attempt()
        except (BpfError, ArmFailed, bcc_perf_events.BccMissing, OSError, _Lacking) as missing:
            details[name] = str(missing)
            return False
        return True

    bpf = has("bpf", _bpf)
    multi = has("uprobe_multi", _uprobe_multi)
    held = _capabilities()
    return KernelFeatures(
        bpf=bpf,
        uprobe_multi=multi,
        perf_event=has("perf_event", _perf_event if thorough or not multi else _perf_event_prerequisites),
        sleepable=has(
            "sleepable", lambda: _loads(USER_COPY + RETURN_ZERO, "programs may fault pages in", sleepable=True)
        ),
        ring_buffer=has("ring_buffer", _ring_buffer),
        atomics=has(
            "atomics", lambda: _loads(STORE_ZERO + ATOMIC_FETCH_ADD + RETURN_ZERO, "programs may fetch and add")
        ),
        boot_clock=has(
            "boot_clock", lambda: _loads(helper(_KTIME_GET_BOOT_NS) + RETURN_ZERO, "programs may read the boot clock")
        ),
        run_time_stats=has("run_time_stats", _run_time_stats),
        host_pid_namespace=has("host_pid_namespace", _host_pid_namespace),
        btf=has("btf", _btf),
        memlock=has("memlock", _memlock),
        capabilities=held,
        details=details,
    )


def doctor_report(features: KernelFeatures) -> list[Finding]:
    """Every feature and capability, with what each missing one costs."""
    found = [
        (name, bool(getattr(features, name)), features.details[name]) for name in COSTS if name in features.details
    ]
    found += [
        (name, name in features.capabilities, "held" if name in features.capabilities else "not held")
        for name in WANTED_CAPABILITIES
    ]
    return [Finding(name, ok, detail, "" if ok else COSTS[name]) for name, ok, detail in found]


class _Lacking(Exception):
    """A prerequisite is not there; the text says which."""


def _bpf() -> str:
    os.close(bpf_syscall.map_create(MapKind.ARRAY, 4, 8, 1, MapFlag.NONE, "pg_doctor"))
    return "bpf(2) makes maps"


def _ring_buffer() -> str:
    os.close(bpf_syscall.map_create(MapKind.RINGBUF, 0, 0, _PAGE, MapFlag.NONE, "pg_doctor"))
    return "ring buffers can be made"


def _run_time_stats() -> str:
    os.close(bpf_syscall.enable_run_time_stats())
    return "run time and runs are counted while a probe is armed"


def _uprobe_multi() -> str:
    """By behaviour, as libbpf finds out: the fix that made the filter mean processes also refuses the pid -1 first.

    A directory gives EBADF on every kernel that knows the link type. With pid -1 as well, a kernel with the fix
    (46ba0e49b642, 6.10 and some stable ones) answers EINVAL before it looks at the path.
    """
    with _loaded(RETURN_ZERO, attach_type=ATTACH_UPROBE_MULTI) as program:
        if (code := _refused_link(program, pid=0)) != errno.EBADF:
            raise _Lacking(f"the kernel knows no uprobe_multi links ({errno.errorcode.get(code, code)})")
        if (code := _refused_link(program, pid=-1)) != errno.EINVAL:
            raise _Lacking("uprobe_multi links filter by thread and not by process here (kernels 6.6 to 6.9)")
    return "one link attaches any number of sites, filtered by process in the kernel"


def _refused_link(program: int, pid: int) -> int:
    try:
        link = bpf_syscall.link_uprobe_multi(program, "/", [0], [0], on_return=False, pid=pid)
    except BpfError as error:
        return error.code
    os.close(link)
    return 0


def _perf_event_prerequisites() -> str:
    if not UPROBE_PMU.exists():
        raise _Lacking("the kernel has no uprobe PMU")
    bcc_perf_events.expect_installed()
    return "uprobe PMU and bcc are there (not tried: uprobe_multi is used)"


def _perf_event() -> str:
    _perf_event_prerequisites()
    with _loaded(RETURN_ZERO, attach_type=0) as program, _file_nobody_maps() as path:
        event = bcc_perf_events.open_uprobe(program, path, 0, on_return=False)
        bcc_perf_events.close_uprobe(event)
    return "uprobes attach as perf events through bcc"


def _host_pid_namespace() -> str:
    if Path("/proc/self/ns/pid").stat().st_ino != INITIAL_PID_NAMESPACE:
        raise _Lacking("the agent is in a pid namespace of its own")
    return "pids are those of the host"


def _btf() -> str:
    if not KERNEL_TYPES.exists():
        raise _Lacking(f"{KERNEL_TYPES} is not there")
    return "the kernel publishes its types"


def _memlock() -> str:
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    if limit == resource.RLIM_INFINITY:
        return "RLIMIT_MEMLOCK is unlimited"
    text = helper(_KTIME_GET_COARSE_NS) + RETURN_ZERO
    try:
        program, _ = bpf_syscall.prog_load(
            text, "pg_doctor", attach_type=0, sleepable=False, kind=PROG_TYPE_SOCKET_FILTER
        )
    except BpfError as error:
        raise _Lacking(f"RLIMIT_MEMLOCK is {limit} bytes and this kernel counts maps against it") from error
    os.close(program)
    return "the memory of maps is accounted by cgroup"


def _capabilities() -> frozenset[str]:
    status = Path("/proc/self/status").read_text()
    effective = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:"))
    return frozenset(name for name, bit in WANTED_CAPABILITIES.items() if effective >> bit & 1)


def _loads(instructions: bytes, what: str, *, sleepable: bool = False) -> str:
    with _loaded(instructions, attach_type=0, sleepable=sleepable):
        return what


@contextmanager
def _loaded(instructions: bytes, *, attach_type: int, sleepable: bool = False) -> Iterator[int]:
    program, _ = bpf_syscall.prog_load(instructions, "pg_doctor", attach_type=attach_type, sleepable=sleepable)
    try:
        yield program
    finally:
        os.close(program)


@contextmanager
def _file_nobody_maps() -> Iterator[str]:
    """A uprobe in it can never fire."""
    file = os.memfd_create("pg_doctor", os.MFD_CLOEXEC)
    try:
        os.truncate(file, _PAGE)
        yield f"/proc/self/fd/{file}"
    finally:
        os.close(file)
