"""Instructions into the kernel: map descriptors patched in, loaded, or refused with the verifier's last words.

Enters: a compiled Program and the probe's maps. Leaves: LoadedProgram for an attach module. The log is asked for only
after a refusal: producing it makes every load several times slower.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from agents.compiler.model import MapName, Program
from agents.runtime import bpf_syscall
from agents.runtime.bpf_abi import ATTACH_UPROBE_MULTI
from agents.runtime.bpf_syscall import BpfError, LoadRefused
from agents.runtime.maps import NAME_PREFIX, ProbeMaps
from agents.runtime.model import ArmFailed, ArmReason, AttachMethod, RunCost

LOG_BYTES: Final = 4 << 20  # from 6.4 the kernel keeps the end of a longer log; older ones need it whole
LOG_LINES: Final = 12  # the refused instruction, its registers, the verdict: what a person reads
_LD_IMM64: Final = 0x18  # BPF_LD | BPF_IMM | BPF_DW, two slots
_PSEUDO_MAP_FD: Final = 1  # BPF_PSEUDO_MAP_FD in src_reg: imm is a map's descriptor


@dataclass(frozen=True)
class LoadedProgram:
    program: Program
    fd: int
    id: int

    def cost(self) -> RunCost:
        info = bpf_syscall.prog_info(self.fd)
        return RunCost(runs=int(info.run_cnt), run_time_ns=int(info.run_time_ns))

    def close(self) -> None:
        os.close(self.fd)


def load(program: Program, maps: ProbeMaps, method: AttachMethod, *, sleepable: bool) -> LoadedProgram:
    """Raises ArmFailed: verifier (with the log's end), not_permitted, attach."""
    text = with_maps(program, maps.descriptor)
    name = NAME_PREFIX + program.role.value
    attach_type = ATTACH_UPROBE_MULTI if method is AttachMethod.UPROBE_MULTI else 0
    try:
        fd, _ = bpf_syscall.prog_load(text, name, attach_type=attach_type, sleepable=sleepable)
    except LoadRefused as refused:
        raise _explained(text, name, refused, attach_type=attach_type, sleepable=sleepable) from refused
    try:
        return LoadedProgram(program, fd, int(bpf_syscall.prog_info(fd).id))
    except BpfError:
        os.close(fd)
        raise


def with_maps(program: Program, descriptor: Callable[[MapName], int]) -> bytes:
    """The text with each LD_IMM64 of `program.maps` naming its map's descriptor."""
    text = bytearray(program.instructions)
    for reference in program.maps:
        at = reference.instruction * 8
        if at + 16 > len(text) or text[at] != _LD_IMM64:
            raise ArmFailed(
                ArmReason.ATTACH,
                f"instruction {reference.instruction} of the {program.role} program should load the map "
                f"{reference.map}, but it is no two-slot LD_IMM64: the compiler and the runtime disagree",
            )
        text[at + 1] = (text[at + 1] & 0x0F) | (_PSEUDO_MAP_FD << 4)  # low nibble dst, high nibble src
        struct.pack_into("<i", text, at + 4, descriptor(reference.map))
    return bytes(text)


def _explained(text: bytes, name: str, refused: LoadRefused, *, attach_type: int, sleepable: bool) -> ArmFailed:
    """Load once more for the log. If it should go through this time, the first answer still stands."""
    if refused.code == errno.EPERM:
        return ArmFailed(ArmReason.NOT_PERMITTED, str(refused))
    log = ""
    try:
        fd, _ = bpf_syscall.prog_load(text, name, attach_type=attach_type, sleepable=sleepable, log_bytes=LOG_BYTES)
    except LoadRefused as again:
        log = again.log
    else:
        os.close(fd)
    lines = [line for line in log.splitlines() if line.strip()]
    if not lines:
        return ArmFailed(ArmReason.ATTACH, str(refused))
    last = "\n".join(lines[-LOG_LINES:])
    return ArmFailed(
        ArmReason.VERIFIER, f"the kernel's verifier refused {name} ({refused.name}); its log ends:\n{last}"
    )
