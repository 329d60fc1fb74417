"""What a hit must pass before anything is captured: switch, deadline, sample, rate, number. Instructions for each.

CONTROL's value is at R8, the time of this hit in R9. Each step jumps to the label of its own outcome. Part of the
program that `emit` writes.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from agents.compiler.asm import Helper, Label, Reg
from agents.compiler.emit_memory import Writer
from agents.compiler.frame import CONTROL, NOW
from agents.compiler.model import ControlField, MapName

# Threads that hit at the same moment race for the next place in the rate; who loses this often is throttled: the place
# it wanted is taken each time, so the rate is being used up.
RATE_ATTEMPTS: Final = 4
RANDOM_RANGE: Final = 1 << 32  # bpf_get_prandom_u32


def switch_and_deadline(w: Writer, expired: Label) -> None:
    """Loads R8 and R9, too."""
    asm = w.asm
    w.lookup_index(MapName.CONTROL, 0)
    asm.jump_if(Reg.R0, "==", 0, expired)
    asm.mov(CONTROL, Reg.R0)
    asm.call(Helper.KTIME_GET_BOOT_NS)
    asm.mov(NOW, Reg.R0)
    asm.load(Reg.R1, CONTROL, ControlField.ENABLED)
    asm.jump_if(Reg.R1, "==", 0, expired)
    asm.load(Reg.R1, CONTROL, ControlField.DEADLINE)
    asm.jump_if(NOW, ">", Reg.R1, expired)


def sample(w: Writer, share: Fraction, sampled_out: Label) -> None:
    if share >= 1:
        return
    w.asm.call(Helper.GET_PRANDOM_U32)
    w.asm.mov(Reg.R1, int(share * RANDOM_RANGE))
    w.asm.jump_if(Reg.R0, ">=", Reg.R1, sampled_out)


def rate(w: Writer, throttled: Label) -> None:
    """Generic cell rate algorithm (ITU-T I.371): a hit passes when its theoretical arrival is at most BURST ahead."""
    asm = w.asm
    passed = asm.fresh("within_rate")
    asm.load(Reg.R3, CONTROL, ControlField.INTERVAL)
    asm.jump_if(Reg.R3, "==", 0, passed)
    for _ in range(RATE_ATTEMPTS):
        late = asm.fresh("arrival")
        asm.load(Reg.R0, CONTROL, ControlField.ARRIVAL)
        asm.mov(Reg.R1, Reg.R0)
        asm.jump_if(Reg.R1, ">=", NOW, late)
        asm.mov(Reg.R1, NOW)
        asm.mark(late)
        asm.mov(Reg.R2, Reg.R1)
        asm.alu(Reg.R2, "-=", NOW)
        asm.load(Reg.R4, CONTROL, ControlField.BURST)
        asm.jump_if(Reg.R2, ">", Reg.R4, throttled)
        asm.alu(Reg.R1, "+=", Reg.R3)
        asm.mov(Reg.R5, Reg.R0)
        asm.compare_exchange(CONTROL, ControlField.ARRIVAL, Reg.R1)
        asm.jump_if(Reg.R0, "==", Reg.R5, passed)
    asm.jump(throttled)
    asm.mark(passed)


def number(w: Writer, expired: Label) -> None:
    """Take one of MAX_HITS. Looked at first without taking, so that a probe which is over stays at its number."""
    asm = w.asm
    asm.load(Reg.R2, CONTROL, ControlField.MAX_HITS)
    asm.load(Reg.R1, CONTROL, ControlField.TAKEN)
    asm.jump_if(Reg.R1, ">=", Reg.R2, expired)
    asm.mov(Reg.R1, 1)
    asm.atomic_add(CONTROL, ControlField.TAKEN, Reg.R1, fetch=True)
    asm.jump_if(Reg.R1, ">=", Reg.R2, expired)
