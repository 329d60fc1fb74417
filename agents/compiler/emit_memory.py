"""The few instruction sequences that everything else is made of: counting, looking up, reading the target's memory.

Used by `emit`, `emit_limits`, `emit_reads`, `emit_predicate`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from agents.compiler import frame
from agents.compiler.asm import Assembler, Helper, Label, Reg
from agents.compiler.model import Counter, MapName

PAGE: Final = 4096
PAGE_SHIFT: Final = 12


class Writer:
    """An assembler with the choices of one program."""

    def __init__(self, *, sleepable: bool) -> None:
        self.asm = Assembler()
        self.sleepable = sleepable

    def add(self, register: Reg, value: int) -> None:
        """Any 64-bit number; loses R1 for one outside 32 bits."""
        if -(1 << 31) <= value < 1 << 31:
            if value:
                self.asm.alu(register, "+=", value)
            return
        self.asm.mov(Reg.R1, value)
        self.asm.alu(register, "+=", Reg.R1)

    def lookup(self, name: MapName, key_offset: int = frame.KEY) -> None:
        """R0 becomes the address of the value under the key on the stack, or 0."""
        self.asm.load_map(Reg.R1, name)
        self.asm.mov(Reg.R2, Reg.R10)
        self.asm.alu(Reg.R2, "+=", key_offset)
        self.asm.call(Helper.MAP_LOOKUP_ELEM)

    def lookup_index(self, name: MapName, index: int) -> None:
        self.asm.store(Reg.R10, frame.KEY, index, 4)
        self.lookup(name)

    def count(self, counter: Counter) -> None:
        """Atomic: a sleepable program can be preempted, and another thread can then count on the same CPU."""
        self.asm.store(Reg.R10, frame.KEY, counter, 4)
        self.count_key()

    def count_key(self) -> None:
        """As `count`, the counter's number being in KEY already."""
        done = self.asm.fresh("counted")
        self.lookup(MapName.COUNTERS)
        self.asm.jump_if(Reg.R0, "==", 0, done)
        self.asm.mov(Reg.R1, 1)
        self.asm.atomic_add(Reg.R0, 0, Reg.R1)
        self.asm.mark(done)

    def read_user(self) -> None:
        """R2 bytes of the target from address R3 to R1; R0 is 0, or an error and then R1's bytes are zeroed."""
        self.asm.call(Helper.COPY_FROM_USER if self.sleepable else Helper.PROBE_READ_USER)

    def read_resident(self, prepare: Callable[[], None]) -> None:
        """As `read_user`, for memory that the running code has just used itself: resident but for the rarest moments.

        Reading without faulting costs half of a read that may fault. `prepare` sets R1 to R3, for each attempt anew.
        """
        prepare()
        self.asm.call(Helper.PROBE_READ_USER)
        if self.sleepable:
            done = self.asm.fresh("read")
            self.asm.jump_if(Reg.R0, "==", 0, done)
            prepare()
            self.asm.call(Helper.COPY_FROM_USER)
            self.asm.mark(done)

    def read_to_stack(self, offset: int, size: int, failed: Label) -> None:
        """`size` bytes from address R3 to the stack."""
        self.asm.mov(Reg.R1, Reg.R10)
        self.asm.alu(Reg.R1, "+=", offset)
        self.asm.mov(Reg.R2, size)
        self.read_user()
        self.asm.jump_if(Reg.R0, "!=", 0, failed)

    def read_text(self, into: Reg, offset: int, size: int, failed: Label) -> None:
        """The string whose address is on the stack at TEXT_LEFT: at most `size` bytes of it, NUL included, to
        `into` + `offset`. R0 becomes how many those are.

        The string helper reads resident pages only, which is where strings in use are: faulting them in first would
        cost every hit a second copy. So that comes after a first attempt has failed.
        """
        done = self.asm.fresh("text_read")
        self._try_text(into, offset, size)
        if self.sleepable:
            self.asm.jump_if(Reg.R0, "s>", 0, done)
            self._fault_in(size, failed)
            self._try_text(into, offset, size)
        self.asm.jump_if(Reg.R0, "s<=", 0, failed)
        self.asm.mark(done)

    def _try_text(self, into: Reg, offset: int, size: int) -> None:
        self.asm.mov(Reg.R1, into)
        if offset:
            self.asm.alu(Reg.R1, "+=", offset)
        self.asm.mov(Reg.R2, size)
        self.asm.load(Reg.R3, Reg.R10, frame.TEXT_LEFT)
        self.asm.call(Helper.PROBE_READ_USER_STR)

    def _fault_in(self, span: int, failed: Label) -> None:
        """Make the pages of the `span` bytes at TEXT_LEFT resident.

        Only the first page must be there: the string may end in it. `span` is at most a page. One byte a page goes to
        the scratch space.
        """
        done = self.asm.fresh("resident")
        self.asm.load(Reg.R3, Reg.R10, frame.TEXT_LEFT)
        self.read_to_stack(frame.SCRATCH, 1, failed)
        self.asm.load(Reg.R3, Reg.R10, frame.TEXT_LEFT)
        self.asm.mov(Reg.R1, Reg.R3)
        self.asm.alu(Reg.R3, "+=", span - 1)
        self.asm.alu(Reg.R1, ">>=", PAGE_SHIFT)
        self.asm.mov(Reg.R2, Reg.R3)
        self.asm.alu(Reg.R2, ">>=", PAGE_SHIFT)
        self.asm.jump_if(Reg.R1, "==", Reg.R2, done)
        self.read_to_stack(frame.SCRATCH, 1, done)
        self.asm.mark(done)
