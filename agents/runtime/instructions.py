"""The few BPF instructions that `features` loads to see what the verifier accepts. Encoding: RFC 9669, section 3.

They stand here as bytes and not through the compiler's assembler on purpose: what `doctor` says must not depend on it.
"""

from __future__ import annotations

import struct
from typing import Final


def _slot(opcode: int, destination: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    return struct.pack("<BBhi", opcode, source << 4 | destination, offset, immediate)


_MOV_IMM, _MOV_REG, _ADD_IMM, _CALL, _EXIT = 0xB7, 0xBF, 0x07, 0x85, 0x95
_STORE_IMM_8, _ATOMIC_8 = 0x7A, 0xDB  # BPF_ST | BPF_MEM | BPF_DW, BPF_STX | BPF_ATOMIC | BPF_DW
_FETCH_ADD: Final = 0x01  # BPF_ADD | BPF_FETCH
_FRAME: Final = 10
_COPY_FROM_USER: Final = 148  # enum bpf_func_id; sleepable programs only


def helper(number: int) -> bytes:
    """Call a helper without arguments."""
    return _slot(_CALL, immediate=number)


RETURN_ZERO: Final = _slot(_MOV_IMM, 0) + _slot(_EXIT)
STORE_ZERO: Final = _slot(_STORE_IMM_8, _FRAME, offset=-8)
ATOMIC_FETCH_ADD: Final = _slot(_MOV_IMM, 2, immediate=1) + _slot(_ATOMIC_8, _FRAME, 2, -8, _FETCH_ADD)
USER_COPY: Final = (
    _slot(_MOV_REG, 1, _FRAME)
    + _slot(_ADD_IMM, 1, immediate=-8)
    + _slot(_MOV_IMM, 2, immediate=8)
    + _slot(_MOV_IMM, 3)
    + helper(_COPY_FROM_USER)
)
