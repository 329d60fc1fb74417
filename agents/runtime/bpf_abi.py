"""The constants and argument structs of bpf(2), as the kernel's include/uapi/linux/bpf.h lays them out.

Each `_Attribute` is one arm of `union bpf_attr`. The kernel wants every byte that it does not know to be zero, which a
fresh ctypes structure is. `bpf_syscall` fills them and makes the calls.
"""

from __future__ import annotations

import ctypes
from enum import IntEnum, IntFlag
from typing import Final

NAME_SIZE: Final = 16  # BPF_OBJ_NAME_LEN, with its final zero


class Command(IntEnum):
    """`enum bpf_cmd`."""

    MAP_CREATE = 0
    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    MAP_GET_NEXT_KEY = 4
    PROG_LOAD = 5
    PROG_GET_NEXT_ID = 11
    MAP_GET_NEXT_ID = 12
    PROG_GET_FD_BY_ID = 13
    MAP_GET_FD_BY_ID = 14
    OBJ_GET_INFO_BY_FD = 15
    MAP_LOOKUP_BATCH = 24
    LINK_CREATE = 28
    LINK_GET_FD_BY_ID = 30
    LINK_GET_NEXT_ID = 31
    ENABLE_STATS = 32


class MapFlag(IntFlag):
    NONE = 0
    MMAPABLE = 1 << 10  # BPF_F_MMAPABLE


PROG_TYPE_SOCKET_FILTER: Final = 1  # BPF_PROG_TYPE_SOCKET_FILTER: may call every helper that is not for tracing
PROG_TYPE_KPROBE: Final = 2  # BPF_PROG_TYPE_KPROBE: uprobes are of this type too
PROG_SLEEPABLE: Final = 1 << 4  # BPF_F_SLEEPABLE
ATTACH_UPROBE_MULTI: Final = 48  # BPF_TRACE_UPROBE_MULTI, since 6.6
UPROBE_MULTI_RETURN: Final = 1 << 0  # BPF_F_UPROBE_MULTI_RETURN
LINK_TYPE_UPROBE_MULTI: Final = 12  # BPF_LINK_TYPE_UPROBE_MULTI
STATS_RUN_TIME: Final = 0  # BPF_STATS_RUN_TIME


class _Attribute(ctypes.Structure):
    """One arm of `union bpf_attr`."""


class MapCreate(_Attribute):
    _fields_ = (
        ("map_type", ctypes.c_uint32),
        ("key_size", ctypes.c_uint32),
        ("value_size", ctypes.c_uint32),
        ("max_entries", ctypes.c_uint32),
        ("map_flags", ctypes.c_uint32),
        ("inner_map_fd", ctypes.c_uint32),
        ("numa_node", ctypes.c_uint32),
        ("map_name", ctypes.c_char * NAME_SIZE),
    )


class MapElement(_Attribute):
    _fields_ = (
        ("map_fd", ctypes.c_uint32),
        ("padding", ctypes.c_uint32),
        ("key", ctypes.c_uint64),
        ("value_or_next_key", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    )


class MapBatch(_Attribute):
    _fields_ = (
        ("in_batch", ctypes.c_uint64),
        ("out_batch", ctypes.c_uint64),
        ("keys", ctypes.c_uint64),
        ("values", ctypes.c_uint64),
        ("count", ctypes.c_uint32),
        ("map_fd", ctypes.c_uint32),
        ("elem_flags", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    )


class ProgLoad(_Attribute):
    _fields_ = (
        ("prog_type", ctypes.c_uint32),
        ("insn_cnt", ctypes.c_uint32),
        ("insns", ctypes.c_uint64),
        ("license", ctypes.c_uint64),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_uint64),
        ("kern_version", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
        ("prog_name", ctypes.c_char * NAME_SIZE),
        ("prog_ifindex", ctypes.c_uint32),
        ("expected_attach_type", ctypes.c_uint32),
    )


class LinkCreateUprobeMulti(_Attribute):
    """`link_create.uprobe_multi`. Arrays are u64 each; `pid` 0 means every process."""

    _fields_ = (
        ("prog_fd", ctypes.c_uint32),
        ("target_fd", ctypes.c_uint32),
        ("attach_type", ctypes.c_uint32),
        ("link_flags", ctypes.c_uint32),
        ("path", ctypes.c_uint64),
        ("offsets", ctypes.c_uint64),
        ("ref_ctr_offsets", ctypes.c_uint64),
        ("cookies", ctypes.c_uint64),
        ("cnt", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("pid", ctypes.c_uint32),
        ("path_fd", ctypes.c_uint32),  # padding up to now: zero
    )


class IdRequest(_Attribute):
    """*_GET_NEXT_ID and *_GET_FD_BY_ID."""

    _fields_ = (
        ("start_or_object_id", ctypes.c_uint32),
        ("next_id", ctypes.c_uint32),
        ("open_flags", ctypes.c_uint32),
    )


class InfoByFd(_Attribute):
    _fields_ = (("bpf_fd", ctypes.c_uint32), ("info_len", ctypes.c_uint32), ("info", ctypes.c_uint64))


class EnableStats(_Attribute):
    _fields_ = (("type", ctypes.c_uint32),)


class ProgInfo(ctypes.Structure):
    """`struct bpf_prog_info`, up to verified_insns (5.16); an older kernel fills less and leaves zeros."""

    _fields_ = (
        ("type", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
        ("tag", ctypes.c_uint8 * 8),
        ("jited_prog_len", ctypes.c_uint32),
        ("xlated_prog_len", ctypes.c_uint32),
        ("jited_prog_insns", ctypes.c_uint64),
        ("xlated_prog_insns", ctypes.c_uint64),
        ("load_time", ctypes.c_uint64),  # ns on CLOCK_BOOTTIME
        ("created_by_uid", ctypes.c_uint32),
        ("nr_map_ids", ctypes.c_uint32),
        ("map_ids", ctypes.c_uint64),
        ("name", ctypes.c_char * NAME_SIZE),
        ("ifindex", ctypes.c_uint32),
        ("gpl_compatible", ctypes.c_uint32),
        ("netns_dev", ctypes.c_uint64),
        ("netns_ino", ctypes.c_uint64),
        ("nr_jited_ksyms", ctypes.c_uint32),
        ("nr_jited_func_lens", ctypes.c_uint32),
        ("jited_ksyms", ctypes.c_uint64),
        ("jited_func_lens", ctypes.c_uint64),
        ("btf_id", ctypes.c_uint32),
        ("func_info_rec_size", ctypes.c_uint32),
        ("func_info", ctypes.c_uint64),
        ("nr_func_info", ctypes.c_uint32),
        ("nr_line_info", ctypes.c_uint32),
        ("line_info", ctypes.c_uint64),
        ("jited_line_info", ctypes.c_uint64),
        ("nr_jited_line_info", ctypes.c_uint32),
        ("line_info_rec_size", ctypes.c_uint32),
        ("jited_line_info_rec_size", ctypes.c_uint32),
        ("nr_prog_tags", ctypes.c_uint32),
        ("prog_tags", ctypes.c_uint64),
        ("run_time_ns", ctypes.c_uint64),
        ("run_cnt", ctypes.c_uint64),
        ("recursion_misses", ctypes.c_uint64),
        ("verified_insns", ctypes.c_uint32),
    )


class MapInfo(ctypes.Structure):
    """The beginning of `struct bpf_map_info`, which is all that is asked for."""

    _fields_ = (
        ("type", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
        ("key_size", ctypes.c_uint32),
        ("value_size", ctypes.c_uint32),
        ("max_entries", ctypes.c_uint32),
        ("map_flags", ctypes.c_uint32),
        ("name", ctypes.c_char * NAME_SIZE),
    )


class LinkInfo(ctypes.Structure):
    """`struct bpf_link_info` with its uprobe_multi arm (6.8 and later fill it)."""

    _fields_ = (
        ("type", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
        ("prog_id", ctypes.c_uint32),
        ("padding", ctypes.c_uint32),
        ("path", ctypes.c_uint64),
        ("offsets", ctypes.c_uint64),
        ("ref_ctr_offsets", ctypes.c_uint64),
        ("cookies", ctypes.c_uint64),
        ("path_size", ctypes.c_uint32),
        ("count", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("pid", ctypes.c_uint32),
    )
