"""The program's own 512 bytes of stack, and where the kernel keeps the target's registers: names for offsets.

Used by all of `emit*`. R6 is the context (pt_regs), R7 the record or the stash value, R8 the control value until the
hit is accepted, R9 the time; R0 to R5 are lost in every call.
"""

from __future__ import annotations

from typing import Final

from agents.binaries.model import Register
from agents.compiler.asm import Reg

CONTEXT: Final = Reg.R6
RECORD: Final = Reg.R7
CONTROL: Final = Reg.R8
NOW: Final = Reg.R9

# Offsets from R10, all 8-byte aligned.
PID_TGID: Final = -8
KEY: Final = -16  # 4 bytes: the key of whatever array is looked up next
BIAS: Final = -24  # the process's load bias
OUTCOME: Final = -32  # which counter a refused hit goes to
GOID: Final = -40
TIME_NOW: Final = -48  # of the return, for the latency
TEXT_LEFT: Final = -64  # a string header: pointer, length
TEXT_RIGHT: Final = -80
STASH_KEY: Final = -104  # 24 bytes: (tgid, g, stack.hi - CFA) or (pid_tgid, CFA, 0)
COUNT: Final = -112  # of a bounded loop
OPERANDS: Final = -120  # the predicate's intermediate results, growing down
MAX_OPERANDS: Final = 17
SCRATCH: Final = -512  # 256 bytes for what is read and looked at once
SCRATCH_SIZE: Final = 256
CHUNK_LEFT: Final = SCRATCH  # two texts are compared by pieces of this size
CHUNK_RIGHT: Final = SCRATCH + 64
CHUNK: Final = 64

# struct pt_regs, arch/x86/include/asm/ptrace.h
PT_REGS: Final[dict[Register, int]] = {
    Register.R15: 0,
    Register.R14: 8,
    Register.R13: 16,
    Register.R12: 24,
    Register.RBP: 32,
    Register.RBX: 40,
    Register.R11: 48,
    Register.R10: 56,
    Register.R9: 64,
    Register.R8: 72,
    Register.RAX: 80,
    Register.RCX: 88,
    Register.RDX: 96,
    Register.RSI: 104,
    Register.RDI: 112,
    Register.RSP: 152,
    # struct user_pt_regs, arch/arm64/include/uapi/asm/ptrace.h
    **{Register(f"x{number}"): 8 * number for number in range(31)},
    Register.SP: 248,
}
