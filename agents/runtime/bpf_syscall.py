"""The bpf(2) system call by ctypes: one function a command, typed errors.

Enters: descriptors and bytes. Leaves: descriptors (all close-on-exec), bytes, or BpfError with the errno's name and a
sentence for a person. libbpf 1.1 and libbcc 0.26 know no uprobe_multi, so the call is made directly; the layouts are in
`bpf_abi`. Maps, programs and links are built on this in the modules beside it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from typing import Final

from agents.runtime.bpf_abi import (
    ATTACH_UPROBE_MULTI,
    NAME_SIZE,
    PROG_SLEEPABLE,
    PROG_TYPE_KPROBE,
    STATS_RUN_TIME,
    UPROBE_MULTI_RETURN,
    Command,
    EnableStats,
    IdRequest,
    InfoByFd,
    LinkCreateUprobeMulti,
    LinkInfo,
    MapBatch,
    MapCreate,
    MapElement,
    MapFlag,
    MapInfo,
    ProgInfo,
    ProgLoad,
)

SYSCALL_NUMBER: Final = {"x86_64": 321, "aarch64": 280}  # asm/unistd_64.h, asm-generic/unistd.h
LOAD_ATTEMPTS: Final = 5  # the verifier gives EAGAIN when a signal waits; libbpf tries as often

_ENOTSUPP: Final = 524  # the kernel's own number, unknown to libc
_NAMES: Final = {_ENOTSUPP: "ENOTSUPP"}
_SENTENCES: Final = {
    errno.EPERM: "not permitted: root is needed, or CAP_BPF and CAP_PERFMON",
    errno.EACCES: "the kernel denied access, or its verifier refused the program",
    errno.EINVAL: "an argument is wrong for this kernel, or the kernel is too old to know it",
    errno.ENOMEM: "the kernel has no memory left for it, or the cgroup's memory limit is reached",
    errno.E2BIG: "larger than this kernel allows",
    errno.ENOENT: "there is no such object, key or file",
    errno.ESRCH: "there is no process with this pid",
    errno.EBADF: "the descriptor is not one of the expected kind",
    errno.EFAULT: "an address given to the kernel cannot be read",
    errno.EBUSY: "the object is in use",
    errno.ENOSPC: "there is no room left",
    errno.EMFILE: "this process has too many open files: raise its limit (ulimit -n)",
    errno.ENFILE: "the host has too many open files",
    errno.ENOSYS: "this kernel is built without bpf(2)",
    errno.EEXIST: "it exists already",
    errno.EAGAIN: "the kernel was interrupted again and again",
    errno.EOPNOTSUPP: "this kernel does not support it",
    _ENOTSUPP: "this kernel does not support it",
}


class BpfError(Exception):
    """A refusal of the kernel: which command, `code` (errno), its `name`, and a sentence that says what to do."""

    def __init__(self, what: str, code: int) -> None:
        self.what = what
        self.code = code
        self.name = _NAMES.get(code) or errno.errorcode.get(code, str(code))
        super().__init__(f"{what}: {self.name}, {_SENTENCES.get(code) or os.strerror(code)}")


_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def call(command: Command, attribute: ctypes.Structure, what: str) -> int:
    """bpf(command, attribute). The result is a descriptor or 0. Raises BpfError(what, errno)."""
    number = SYSCALL_NUMBER.get(platform.machine())
    if number is None:
        raise BpfError(what, errno.ENOSYS)
    result = int(
        _libc.syscall(
            ctypes.c_long(number),
            ctypes.c_int(command),
            ctypes.byref(attribute),
            ctypes.c_uint(ctypes.sizeof(attribute)),
        )
    )
    if result < 0:
        raise BpfError(what, ctypes.get_errno())
    return result


def address(buffer: ctypes.Array[ctypes.c_char] | ctypes.Array[ctypes.c_uint64] | ctypes.Structure) -> int:
    """Where the kernel finds a buffer; the caller keeps the buffer alive until the call returns."""
    return ctypes.addressof(buffer)


# --- maps --------------------------------------------------------------------------------------------------------


def map_create(kind: int, key_size: int, value_size: int, max_entries: int, flags: MapFlag, name: str) -> int:
    attribute = MapCreate(
        map_type=kind,
        key_size=key_size,
        value_size=value_size,
        max_entries=max_entries,
        map_flags=flags,
        map_name=name.encode()[: NAME_SIZE - 1],
    )
    return call(Command.MAP_CREATE, attribute, f"creating the map {name}")


def map_lookup(map_fd: int, key: bytes, value_bytes: int) -> bytes | None:
    """The value under `key`, None when there is none. `value_bytes` is what the kernel writes: all CPUs of a per-CPU map."""
    key_buffer = ctypes.create_string_buffer(key, len(key))
    value = ctypes.create_string_buffer(value_bytes)
    attribute = MapElement(map_fd=map_fd, key=address(key_buffer), value_or_next_key=address(value))
    try:
        call(Command.MAP_LOOKUP_ELEM, attribute, "reading a map")
    except BpfError as error:
        if error.code == errno.ENOENT:
            return None
        raise
    return value.raw


def map_lookup_batch(map_fd: int, key_size: int, value_bytes: int, count: int) -> bytes:
    """The values of the first `count` keys of an array map in one call, one after the other."""
    position = ctypes.create_string_buffer(8)
    keys = ctypes.create_string_buffer(key_size * count)
    values = ctypes.create_string_buffer(value_bytes * count)
    attribute = MapBatch(
        out_batch=address(position), keys=address(keys), values=address(values), count=count, map_fd=map_fd
    )
    try:
        call(Command.MAP_LOOKUP_BATCH, attribute, "reading a map")
    except BpfError as error:
        if error.code != errno.ENOENT:  # ENOENT here: that was the end of the map, `count` says how many were read
            raise
    return values.raw[: int(attribute.count) * value_bytes]


def map_update(map_fd: int, key: bytes, value: bytes) -> None:
    key_buffer, value_buffer = (
        ctypes.create_string_buffer(key, len(key)),
        ctypes.create_string_buffer(value, len(value)),
    )
    attribute = MapElement(map_fd=map_fd, key=address(key_buffer), value_or_next_key=address(value_buffer))
    call(Command.MAP_UPDATE_ELEM, attribute, "writing a map")


def map_delete(map_fd: int, key: bytes) -> bool:
    """Whether the key was there."""
    key_buffer = ctypes.create_string_buffer(key, len(key))
    try:
        call(Command.MAP_DELETE_ELEM, MapElement(map_fd=map_fd, key=address(key_buffer)), "deleting from a map")
    except BpfError as error:
        if error.code == errno.ENOENT:
            return False
        raise
    return True


def map_next_key(map_fd: int, key: bytes | None, key_size: int) -> bytes | None:
    """The key after `key` (None: the first), None at the end. A key that is gone starts again at the first."""
    following = ctypes.create_string_buffer(key_size)
    attribute = MapElement(map_fd=map_fd, value_or_next_key=address(following))
    if key is not None:
        current = ctypes.create_string_buffer(key, key_size)
        attribute.key = address(current)
    try:
        call(Command.MAP_GET_NEXT_KEY, attribute, "walking a map")
    except BpfError as error:
        if error.code == errno.ENOENT:
            return None
        raise
    return following.raw


# --- programs and links ------------------------------------------------------------------------------------------


def prog_load(
    instructions: bytes,
    name: str,
    *,
    attach_type: int,
    sleepable: bool,
    log_bytes: int = 0,
    kind: int = PROG_TYPE_KPROBE,
) -> tuple[int, str]:
    """Load a program, one for uprobes by default: (descriptor, verifier's log). With `log_bytes` 0 there is no log. Raises LoadRefused."""
    text = ctypes.create_string_buffer(instructions, len(instructions))
    licence = ctypes.create_string_buffer(b"GPL")  # the tracing helpers demand it
    log = ctypes.create_string_buffer(max(log_bytes, 1))
    attribute = ProgLoad(
        prog_type=kind,
        insn_cnt=len(instructions) // 8,
        insns=address(text),
        license=address(licence),
        prog_flags=PROG_SLEEPABLE if sleepable else 0,
        prog_name=name.encode()[: NAME_SIZE - 1],
        expected_attach_type=attach_type,
    )
    if log_bytes:
        attribute.log_level, attribute.log_size, attribute.log_buf = 1, log_bytes, address(log)
    for attempt in range(LOAD_ATTEMPTS):
        try:
            return call(Command.PROG_LOAD, attribute, f"loading the program {name}"), log.value.decode(errors="replace")
        except BpfError as error:
            if error.code != errno.EAGAIN or attempt == LOAD_ATTEMPTS - 1:
                raise LoadRefused(error, log.value.decode(errors="replace")) from error
    raise AssertionError("the loop returns or raises")


class LoadRefused(BpfError):
    """PROG_LOAD failed; `log` is what the verifier wrote, empty when it was not asked to."""

    def __init__(self, error: BpfError, log: str) -> None:
        super().__init__(error.what, error.code)
        self.log = log


def link_uprobe_multi(
    prog_fd: int, path: str, offsets: list[int], cookies: list[int], *, on_return: bool, pid: int
) -> int:
    """Attach to every offset of the file in one link that fires for the threads of `pid` alone (0: for everybody)."""
    path_buffer = ctypes.create_string_buffer(os.fsencode(path))
    offset_array = (ctypes.c_uint64 * len(offsets))(*offsets)
    cookie_array = (ctypes.c_uint64 * len(cookies))(*cookies)
    attribute = LinkCreateUprobeMulti(
        prog_fd=prog_fd,
        attach_type=ATTACH_UPROBE_MULTI,
        path=address(path_buffer),
        offsets=address(offset_array),
        cookies=address(cookie_array),
        cnt=len(offsets),
        flags=UPROBE_MULTI_RETURN if on_return else 0,
        pid=pid & 0xFFFFFFFF,
    )
    return call(Command.LINK_CREATE, attribute, f"attaching at {len(offsets)} places in process {pid}")


def enable_run_time_stats() -> int:
    """A descriptor: while it is open the kernel measures every BPF program's run time."""
    return call(Command.ENABLE_STATS, EnableStats(type=STATS_RUN_TIME), "switching on BPF run-time statistics")


# --- what the kernel has -------------------------------------------------------------------------------------------


def next_id(command: Command, after: int) -> int | None:
    attribute = IdRequest(start_or_object_id=after)
    try:
        call(command, attribute, "listing what is loaded")
    except BpfError as error:
        if error.code == errno.ENOENT:
            return None
        raise
    return int(attribute.next_id)


def fd_by_id(command: Command, identifier: int) -> int | None:
    """A descriptor of the program or link; None when it has gone meanwhile."""
    try:
        return call(command, IdRequest(start_or_object_id=identifier), f"opening the object {identifier}")
    except BpfError as error:
        if error.code == errno.ENOENT:
            return None
        raise


def prog_info(prog_fd: int) -> ProgInfo:
    info = ProgInfo()
    _fill(prog_fd, info)
    return info


def map_info(map_fd: int) -> MapInfo:
    info = MapInfo()
    _fill(map_fd, info)
    return info


def link_info(link_fd: int) -> LinkInfo:
    info = LinkInfo()
    _fill(link_fd, info)
    return info


def _fill(descriptor: int, info: ctypes.Structure) -> None:
    attribute = InfoByFd(bpf_fd=descriptor, info_len=ctypes.sizeof(info), info=address(info))
    call(Command.OBJ_GET_INFO_BY_FD, attribute, "reading what the kernel knows of a descriptor")
