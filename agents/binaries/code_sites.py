"""Choose where to probe a function: the cheapest instruction that every call executes once, and each RET.

In come the function's bytes, out come candidates for the entry and the list of returns. Every candidate lies on the straight
line from the function's first instruction up to the first branch or call, and before anything that is jumped to: behind a
loop's head an instruction runs once a round. Which of them a probe may use depends on what it reads: `function_entry` keeps
one that leaves all arguments alone, `agents.compiler.sites` may take a cheaper one.

A breakpoint on `push`, `jcc`, `jmp` or `call` is emulated, on anything else single-stepped at 12 to 30 times the price.
In Go `push rbp` stands behind the stack check: the first instruction runs again after `runtime.morestack`, the push does
not. A five byte NOP is never chosen: the kernel's optimised breakpoint writes below rsp, into a leaf's red zone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from agents.binaries.capstone_decoder import decode, sweep
from agents.binaries.instructions import Branch, Flow, Instruction
from agents.binaries.machine import X86_64, Machine
from agents.binaries.model import Register, Site, TrapClass, Unresolved, UnresolvedReason

MAX_STRAIGHT_LINE: Final = 32  # instructions looked at from the start; prologues have fewer than ten
MAX_MORESTACK: Final = 64  # instructions of Go's stack growing block: a spill and a reload per argument register
MAX_FUNCTION: Final = 16 << 20  # bytes of one function that are decoded; the largest known are some MB
PUSHED: Final = 8  # bytes, by a push of a register

SymbolName = Callable[[int], str | None]


@dataclass(frozen=True)
class Candidate:
    """An instruction of the entry's straight line, and what has changed when it is about to run.

    `written`: registers other than the stack pointer, which has come down by `moved`: CFA = rsp + 8 + moved on x86-64.
    `memory_written`: other memory than the function's own frame, which nobody else can see yet.
    """

    instruction: Instruction
    written: frozenset[Register]
    memory_written: bool
    moved: int = 0


@dataclass(frozen=True)
class Body:
    """A function's code, swept once."""

    low: int
    high: int
    code: bytes
    branches: tuple[Branch, ...]
    complete: bool  # every byte decoded
    jumped_to: frozenset[int] = frozenset()  # from its other parts (hot and cold ones), and through jump tables
    tables_known: bool = True  # False: an indirect jump could not be followed
    machine: Machine = X86_64

    def jumps_to(self, address: int) -> bool:
        return address in self.jumped_to or any(
            b.target == address and b.flow in {Flow.JUMP, Flow.CONDITIONAL} for b in self.branches
        )

    def returns(self) -> tuple[Branch, ...]:
        return tuple(branch for branch in self.branches if branch.flow is Flow.RETURN)

    def tail_calls(self) -> int:
        return sum(
            1
            for branch in self.branches
            if branch.flow in {Flow.JUMP, Flow.CONDITIONAL}
            and branch.target is not None
            and not self.low <= branch.target < self.high
        )


def body(code: bytes, low: int, high: int, machine: Machine = X86_64) -> Body:
    branches, complete = sweep(code, low, machine)
    return Body(low, high, code, branches, complete, machine=machine)


def entry_candidates(function: Body, symbol_name: SymbolName) -> tuple[Candidate, ...]:
    """Candidates for the entry's site, best first. Empty: no instruction runs exactly once a call."""
    found: list[Candidate] = []
    written: set[Register] = set()
    memory_written, moved = False, 0
    stack = function.machine.stack
    for instruction in decode(function.code, function.low, MAX_STRAIGHT_LINE, function.machine):
        if _is_loop_head(function, instruction.address, symbol_name):
            break
        if moved or function.tables_known or instruction.address == function.low:
            found.append(Candidate(instruction, frozenset(written), memory_written, moved))
        if _grows_the_stack(function, instruction, symbol_name):
            found.clear()  # all up to here runs again once the stack has grown
            continue
        if instruction.flow is not Flow.NEXT:
            break
        if instruction.pushes is not None:
            moved += PUSHED
        elif instruction.stack_adjustment is not None:
            moved -= instruction.stack_adjustment
        elif stack in instruction.writes:
            break
        written |= instruction.writes - {stack}
        memory_written |= instruction.writes_memory and not _in_own_frame(instruction, moved, stack)
    usable = [
        c
        for c in found
        if c.instruction.trap_class is not TrapClass.NOP5
        and c.instruction.flow is not Flow.STOP
        and c.instruction.probeable
    ]
    return tuple(sorted(usable, key=lambda c: c.instruction.trap_class is not TrapClass.EMULATED))


def _in_own_frame(instruction: Instruction, moved: int, stack: Register) -> bool:
    """Below the return address: neither an argument on the stack nor anything that a pointer leads to."""
    if instruction.store is None:
        return False
    memory, size = instruction.store
    return memory.plain and memory.base is stack and memory.displacement + size <= moved


def return_sites(function: Body, site: Callable[[int, TrapClass, str], Site]) -> tuple[Site, ...]:
    """Every RET. The stack pointer is back where it was: CFA = rsp + 8. Raises Unresolved when some code is unreadable."""
    if not function.complete:
        raise Unresolved(
            UnresolvedReason.NO_SITE,
            f"some instructions of the function at {function.low:#x} are unknown to the decoder, so its returns cannot all"
            " be found; probe its entry only (at: entry)",
        )
    return tuple(site(branch.address, branch.trap_class, branch.text) for branch in function.returns())


def instruction_at(code: bytes, address: int, machine: Machine = X86_64) -> Instruction | None:
    return next(iter(decode(code, address, 1, machine)), None)


def _is_loop_head(function: Body, address: int, symbol_name: SymbolName) -> bool:
    """Is it jumped to from within, other than after growing the stack?"""
    if not function.jumps_to(address):
        return False
    if address != function.low:
        return True
    back = [b for b in function.branches if b.target == address and b.flow in {Flow.JUMP, Flow.CONDITIONAL}]
    return not all(_follows_morestack(function, branch, symbol_name) for branch in back)


def _follows_morestack(function: Body, branch: Branch, symbol_name: SymbolName) -> bool:
    calls = [b for b in function.branches if b.flow is Flow.CALL and b.address < branch.address]
    return bool(calls) and _is_morestack(calls[-1].target, symbol_name)


def _grows_the_stack(function: Body, instruction: Instruction, symbol_name: SymbolName) -> bool:
    """Go: a jump to the block that spills the arguments, calls runtime.morestack and starts the function again."""
    target = instruction.target
    if instruction.flow is not Flow.CONDITIONAL or target is None or not function.low <= target < function.high:
        return False
    called = False
    for each in decode(function.code[target - function.low :], target, MAX_MORESTACK, function.machine):
        if each.flow is Flow.CALL:
            if called or not _is_morestack(each.target, symbol_name):
                return False
            called = True
        elif each.flow is not Flow.NEXT:
            return called and each.flow is Flow.JUMP and each.target == function.low
    return False


def _is_morestack(target: int | None, symbol_name: SymbolName) -> bool:
    name = None if target is None else symbol_name(target)
    return name is not None and name.startswith("runtime.morestack")
