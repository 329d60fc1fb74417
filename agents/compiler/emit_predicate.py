"""A typed test -> instructions that jump to one label when it holds and to another when it does not.

Runs before anything is reserved; reads the target's memory onto the program's own stack only. Leaves R6 to R9 alone.
Semantics: see `predicate`. A value that cannot be read goes to `failed`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from agents.binaries.model import GoRuntime
from agents.compiler import frame
from agents.compiler.asm import Comparison, Label, Reg
from agents.compiler.emit_memory import Writer
from agents.compiler.emit_place import load_header, load_length, load_number, widen
from agents.compiler.frame import CONTEXT, PT_REGS, RECORD
from agents.compiler.model import CannotCompile, Refusal
from agents.compiler.plan import TIME
from agents.compiler.predicate import (
    MAX_COUNTED_TEXT,
    All,
    Always,
    AnyOf,
    Combined,
    Compared,
    Inverted,
    IsNil,
    Kept,
    Loaded,
    Measured,
    Number,
    Sensed,
    Stashed,
    Term,
    Test,
    TextIs,
    TextsEqual,
    may_be_negative,
    unsigned_wide,
)

WORD: Final = 8
KEPT_SIZE: Final = 16  # 8 bytes 1 when it could be read, 8 bytes value
_GREATER: Final = {"==": False, "!=": True, "<": False, "<=": False, ">": True, ">=": True}
_MIRRORED: Final = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_SIGNED: Final[dict[str, Comparison]] = {"==": "==", "!=": "!=", "<": "s<", "<=": "s<=", ">": "s>", ">=": "s>="}
_UNSIGNED: Final[dict[str, Comparison]] = {"==": "==", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


@dataclass(frozen=True)
class Outcome:
    """Where a test goes. Every path ends in a jump to one of them."""

    true: Label
    false: Label
    failed: Label


@dataclass(frozen=True)
class PredicateWriter:
    """`kept_offset`: where the stash value at R7 has what the entry kept (return programs only)."""

    w: Writer
    go: GoRuntime | None
    kept_offset: int = 0

    def test(self, test: Test, to: Outcome) -> None:
        asm = self.w.asm
        match test:
            case Always(value):
                asm.jump(to.true if value else to.false)
            case Inverted(inner):
                self.test(inner, replace(to, true=to.false, false=to.true))
            case All(tests):
                for each in tests:
                    further = asm.fresh("and")
                    self.test(each, replace(to, true=further))
                    asm.mark(further)
                asm.jump(to.true)
            case AnyOf(tests):
                for each in tests:
                    further = asm.fresh("or")
                    self.test(each, replace(to, false=further))
                    asm.mark(further)
                asm.jump(to.false)
            case Compared():
                self._compared(test, to)
            case IsNil(access):
                load_number(self.w, access, 0, WORD, to.failed, signed=False)
                asm.jump_if(Reg.R0, "==", 0, to.true)
                asm.jump(to.false)
            case Kept(index):
                self._kept(index, to.failed)
                asm.jump_if(Reg.R0, "!=", 0, to.true)
                asm.jump(to.false)
            case TextIs(terminated=True):
                self._terminated_is(test, to)
            case TextIs():
                self._counted_is(test, to)
            case TextsEqual():
                self._texts_equal(test, to)

    # --- integers -----------------------------------------------------------------------------------------------

    def term(self, term: Term, failed: Label, operand: int = 0) -> None:
        """R0 becomes the value; stack operands from number `operand` on are used."""
        asm = self.w.asm
        match term:
            case Number(value):
                asm.mov(Reg.R0, value)
            case Loaded():
                self._loaded(term, failed)
            case Measured(is_map=True):
                self._map_length(term, failed)
            case Measured(access, header=header):
                load_length(self.w, access, header, failed)
            case Sensed():
                self._sensed(term, failed)
            case Stashed(index):
                self._kept(index, failed)
            case Combined():
                self._combined(term, failed, operand)

    def _loaded(self, term: Loaded, failed: Label) -> None:
        bits = term.access.bits
        if bits is None:
            load_number(self.w, term.access, 0, term.size, failed, signed=term.signed)
            return
        first, count = bits
        low, high = first // 8, (first + count + 7) // 8
        if high - low > WORD:
            raise CannotCompile(Refusal.UNSUPPORTED, "where needs a bit-field that reaches over nine bytes")
        load_number(self.w, term.access, low, high - low, failed, signed=False)
        if first % 8:
            self.w.asm.alu(Reg.R0, ">>=", first % 8)
        widen(self.w, count, signed=term.signed)

    def _map_length(self, term: Measured, failed: Label) -> None:
        asm = self.w.asm
        nil = asm.fresh("nil")
        load_number(self.w, term.access, 0, WORD, failed, signed=False)
        asm.jump_if(Reg.R0, "==", 0, nil)
        asm.mov(Reg.R3, Reg.R0)
        self.w.read_to_stack(frame.SCRATCH, WORD, failed)
        asm.load(Reg.R0, Reg.R10, frame.SCRATCH)
        asm.mark(nil)

    def _sensed(self, term: Sensed, failed: Label) -> None:
        asm = self.w.asm
        match term.name:
            case "tid":
                asm.load(Reg.R0, Reg.R10, frame.PID_TGID)
                widen(self.w, 32, signed=False)
            case "pid":
                asm.load(Reg.R0, Reg.R10, frame.PID_TGID)
                asm.alu(Reg.R0, ">>=", 32)
            case "latency":
                asm.load(Reg.R0, Reg.R10, frame.TIME_NOW)
                asm.load(Reg.R1, RECORD, TIME)
                asm.alu(Reg.R0, "-=", Reg.R1)
            case "goid":
                if self.go is None:
                    raise CannotCompile(Refusal.UNSUPPORTED, "goid() needs a Go program")
                asm.load(Reg.R3, CONTEXT, PT_REGS[self.go.register])
                asm.alu(Reg.R3, "+=", self.go.goid_offset)
                self.w.read_to_stack(frame.SCRATCH, WORD, failed)
                asm.load(Reg.R0, Reg.R10, frame.SCRATCH)

    def _kept(self, index: int, failed: Label) -> None:
        offset = self.kept_offset + KEPT_SIZE * index
        self.w.asm.load(Reg.R0, RECORD, offset)
        self.w.asm.jump_if(Reg.R0, "==", 0, failed)
        self.w.asm.load(Reg.R0, RECORD, offset + WORD)

    def _operand(self, operand: int) -> int:
        if operand >= frame.MAX_OPERANDS:
            raise CannotCompile(Refusal.TOO_LARGE, f"where needs more than {frame.MAX_OPERANDS} intermediate results")
        return frame.OPERANDS - WORD * operand

    def _both(self, left: Term, right: Term, failed: Label, operand: int) -> None:
        """R0 is the left value, R1 the right one."""
        asm = self.w.asm
        slot = self._operand(operand)
        self.term(left, failed, operand)
        asm.store(Reg.R10, slot, Reg.R0)
        self.term(right, failed, operand + 1)
        asm.mov(Reg.R1, Reg.R0)
        asm.load(Reg.R0, Reg.R10, slot)

    def _combined(self, term: Combined, failed: Label, operand: int) -> None:
        asm = self.w.asm
        self._both(term.left, term.right, failed, operand)
        match term.op:
            case "+":
                asm.alu(Reg.R0, "+=", Reg.R1)
            case "-":
                asm.alu(Reg.R0, "-=", Reg.R1)
            case "*":
                asm.alu(Reg.R0, "*=", Reg.R1)
            case "//":
                self._floor_divide(signed=not term.unsigned)
            case "%":
                asm.mov(Reg.R2, Reg.R0)
                self._floor_divide(signed=not term.unsigned)
                asm.alu(Reg.R0, "*=", Reg.R1)
                asm.alu(Reg.R2, "-=", Reg.R0)
                asm.mov(Reg.R0, Reg.R2)

    def _floor_divide(self, *, signed: bool) -> None:
        """R0 //= R1, R1 > 0. BPF divides unsigned numbers; for n < 0: n // d == ~(~n // d)."""
        asm = self.w.asm
        if not signed:
            asm.alu(Reg.R0, "/=", Reg.R1)
            return
        done, negative = asm.fresh("divided"), asm.fresh("negative")
        asm.jump_if(Reg.R0, "s<", 0, negative)
        asm.alu(Reg.R0, "/=", Reg.R1)
        asm.jump(done)
        asm.mark(negative)
        asm.alu(Reg.R0, "^=", -1)
        asm.alu(Reg.R0, "/=", Reg.R1)
        asm.alu(Reg.R0, "^=", -1)
        asm.mark(done)

    def _compared(self, test: Compared, to: Outcome) -> None:
        asm = self.w.asm
        left_wide, right_wide = unsigned_wide(test.left), unsigned_wide(test.right)
        self._both(test.left, test.right, to.failed, 0)
        if left_wide and may_be_negative(test.right):
            asm.jump_if(Reg.R1, "s<", 0, to.true if _GREATER[test.op] else to.false)
        if right_wide and may_be_negative(test.left):
            asm.jump_if(Reg.R0, "s<", 0, to.true if _GREATER[_MIRRORED[test.op]] else to.false)
        spelled = _UNSIGNED if left_wide or right_wide else _SIGNED
        asm.jump_if(Reg.R0, spelled[test.op], Reg.R1, to.true)
        asm.jump(to.false)

    # --- text ---------------------------------------------------------------------------------------------------

    def _counted_is(self, test: TextIs, to: Outcome) -> None:
        asm = self.w.asm
        size = len(test.constant)
        load_header(self.w, test.text, test.header, frame.TEXT_LEFT, to.failed)
        asm.load(Reg.R1, Reg.R10, frame.TEXT_LEFT + WORD)
        asm.jump_if(Reg.R1, "s<" if test.prefix else "!=", size, to.false)
        for start in range(0, size, frame.CHUNK):
            piece = test.constant[start : start + frame.CHUNK]
            asm.load(Reg.R3, Reg.R10, frame.TEXT_LEFT)
            if start:
                asm.alu(Reg.R3, "+=", start)
            self.w.read_to_stack(frame.CHUNK_LEFT, len(piece), to.failed)
            self._expect(piece, frame.CHUNK_LEFT, to.false)
        asm.jump(to.true)

    def _terminated_is(self, test: TextIs, to: Outcome) -> None:
        """Two bytes more than the constant are read, so that a longer text is seen to be longer."""
        asm = self.w.asm
        size = len(test.constant)
        load_number(self.w, test.text, 0, WORD, to.failed, signed=False)
        asm.jump_if(Reg.R0, "==", 0, to.failed)
        asm.store(Reg.R10, frame.TEXT_LEFT, Reg.R0)
        self.w.read_text(Reg.R10, frame.CHUNK_LEFT, size + 2, to.failed)
        asm.jump_if(Reg.R0, "s<" if test.prefix else "!=", size + 1, to.false)
        self._expect(test.constant, frame.CHUNK_LEFT, to.false)
        asm.jump(to.true)

    def _expect(self, constant: bytes, slot: int, otherwise: Label) -> None:
        """The stack at `slot` has these bytes."""
        asm = self.w.asm
        at = 0
        for width in (8, 4, 2, 1):
            while len(constant) - at >= width:
                asm.load(Reg.R1, Reg.R10, slot + at, width)
                asm.mov(Reg.R2, int.from_bytes(constant[at : at + width], "little"))
                asm.jump_if(Reg.R1, "!=", Reg.R2, otherwise)
                at += width

    def _texts_equal(self, test: TextsEqual, to: Outcome) -> None:
        """Piece by piece; two equally long texts of more than MAX_COUNTED_TEXT bytes count as unreadable."""
        asm = self.w.asm
        load_header(self.w, test.left, test.headers[0], frame.TEXT_LEFT, to.failed)
        load_header(self.w, test.right, test.headers[1], frame.TEXT_RIGHT, to.failed)
        asm.load(Reg.R1, Reg.R10, frame.TEXT_LEFT + WORD)
        asm.load(Reg.R2, Reg.R10, frame.TEXT_RIGHT + WORD)
        asm.jump_if(Reg.R1, "!=", Reg.R2, to.false)
        asm.jump_if(Reg.R1, ">", MAX_COUNTED_TEXT, to.failed)
        for start in range(0, MAX_COUNTED_TEXT, frame.CHUNK):
            asm.load(Reg.R1, Reg.R10, frame.TEXT_LEFT + WORD)
            asm.jump_if(Reg.R1, "<=", start, to.true)
            for offset in range(0, 2 * frame.CHUNK, WORD):
                asm.store(Reg.R10, frame.SCRATCH + offset, 0)
            self._piece(start, frame.TEXT_LEFT, frame.CHUNK_LEFT, to.failed)
            self._piece(start, frame.TEXT_RIGHT, frame.CHUNK_RIGHT, to.failed)
            for offset in range(0, frame.CHUNK, WORD):
                asm.load(Reg.R1, Reg.R10, frame.CHUNK_LEFT + offset)
                asm.load(Reg.R2, Reg.R10, frame.CHUNK_RIGHT + offset)
                asm.jump_if(Reg.R1, "!=", Reg.R2, to.false)
        asm.jump(to.true)

    def _piece(self, start: int, header: int, slot: int, failed: Label) -> None:
        """Up to CHUNK bytes of the text behind a header on the stack, from byte `start` on."""
        asm = self.w.asm
        short = asm.fresh("short")
        asm.load(Reg.R2, Reg.R10, frame.TEXT_LEFT + WORD)
        if start:
            asm.alu(Reg.R2, "-=", start)
        asm.jump_if(Reg.R2, "<=", frame.CHUNK, short)
        asm.mov(Reg.R2, frame.CHUNK)
        asm.mark(short)
        asm.load(Reg.R3, Reg.R10, header)
        if start:
            asm.alu(Reg.R3, "+=", start)
        asm.mov(Reg.R1, Reg.R10)
        asm.alu(Reg.R1, "+=", slot)
        self.w.read_user()
        asm.jump_if(Reg.R0, "!=", 0, failed)
