"""How the returns of a C, C++ or Rust function are seen: by a uretprobe where that is harmless, else at each RET.

A uretprobe replaces the return address. Whoever unwinds the stack through such a frame (a C++ exception, a Rust panic,
pthread_exit, the cancellation of a thread) finds no caller behind it, and the program is aborted. So it is used only where
no unwinding can pass: in a function that calls nobody, and in a C program that has nothing to unwind with. Everywhere else
a probe at each RET costs more, and touches nothing. Leaving by an exception is then a call without a return: it is counted.
"""

from __future__ import annotations

from typing import Final

from agents.binaries.elf_image import ElfImage
from agents.binaries.instructions import Flow
from agents.binaries.model import Language, ReturnMethod, Site
from agents.binaries.probed_function import ProbedFunction

# Libraries and functions that a program needs for unwinding a stack, as its string table names them.
UNWINDERS: Final = (
    b"libstdc++.so", b"libc++.so", b"libc++abi.so", b"libgcc_s.so", b"libunwind.so", b"_Unwind_",
    b"pthread_exit", b"pthread_cancel", b"thrd_exit",
)  # fmt: skip


def returns(function: ProbedFunction, language: Language) -> tuple[ReturnMethod, tuple[Site, ...], tuple[str, ...]]:
    """The method, the sites for RET_SITES, and what a person should know."""
    if _calls_nobody(function) or (language is Language.C and not _may_unwind(function.image)):
        return ReturnMethod.URETPROBE, (), ()
    notes = ["returns are probed at each RET: a uretprobe would abort the program when its stack is unwound"]
    if not function.body.complete:
        notes.append("some of its instructions are unknown to the decoder, so its returns are not probed")
        return ReturnMethod.RET_SITES, (), tuple(notes)
    if tails := function.body.tail_calls():
        notes.append(
            f"{tails} tail call{'s' * (tails > 1)} leave without a return of their own: those calls have no return event"
        )
    return ReturnMethod.RET_SITES, tuple(_sites(function)), tuple(notes)


def _sites(function: ProbedFunction) -> list[Site]:
    found = []
    for branch in (*function.body.branches, *function.elsewhere):
        offset = function.image.offset_of(branch.address)
        if branch.flow is Flow.RETURN and offset is not None:
            line = function.line_of(branch.address)
            cfa = function.machine.stack, function.machine.pushed
            found.append(Site(branch.address, offset, branch.trap_class, branch.text, *cfa, line=line))
    return found


def _calls_nobody(function: ProbedFunction) -> bool:
    """A tail call counts: who is called that way returns, or unwinds, through the same frame."""
    within = range(function.low, function.high)
    return function.body.complete and not any(
        branch.flow is Flow.CALL
        or (branch.flow in {Flow.JUMP, Flow.CONDITIONAL} and (branch.target is None or branch.target not in within))
        for branch in (*function.body.branches, *function.elsewhere)
    )


def _may_unwind(image: ElfImage) -> bool:
    """A library may be loaded into any program; of a program its own names tell."""
    if image.position_independent and not image.has_section(".interp"):
        return True
    names = image.section(".dynstr") + image.section(".strtab")
    return any(name in names for name in UNWINDERS)
