"""What a probe would do, without arming it: does it bind, where, which value of each capture, at what price.

Entered with an order and an executable file, left towards `probegate-agent explain`. Each capture is compiled by itself,
so that one that cannot be had does not hide what is known of the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from agents.absence import Absent
from agents.binaries.model import ResolvedProbe, ReturnMethod, Site, Unresolved
from agents.compiler.model import BpfProgram, CannotCompile, CaptureRequest, CompileRequest, Role
from agents.compiler.service import explain_captures
from agents.runtime.calibration import TrapCosts
from agents.stages.binding import Compile, Resolver
from agents.stages.order import ProbeOrder
from language import expressions


@dataclass(frozen=True)
class ExplainedSite:
    site: Site
    role: Role
    probed: bool  # False: an inlined copy, which calls pass unseen


@dataclass(frozen=True)
class ExplainedCapture:
    column: str
    expression: str
    type: str | None  # None: it does not bind
    readable: bool
    reason: str = ""  # a stable word: agents.absence.Reason or agents.compiler.model.Refusal
    detail: str = ""
    absent_parts: tuple[tuple[str, Absent], ...] = ()  # what of a readable value will not be there, by path


@dataclass(frozen=True)
class Problem:
    """Why the probe as a whole does not bind."""

    reason: str
    detail: str
    column: str = ""


@dataclass(frozen=True)
class Explanation:
    resolved: ResolvedProbe | None
    program: BpfProgram | None
    sites: tuple[ExplainedSite, ...]
    captures: tuple[ExplainedCapture, ...]
    problem: Problem | None

    @property
    def binds(self) -> bool:
        return self.problem is None


def explain(order: ProbeOrder, file: str, resolver: Resolver, compile_probe: Compile) -> Explanation:
    """Never raises for what a template or a binary says: that is the answer."""
    try:
        resolved = resolver.resolve(file, order.function, order.request.at, order.line)
    except Unresolved as error:
        return Explanation(None, None, (), (), Problem(error.reason, error.detail))
    captures = tuple(_capture(capture, order.request, resolved) for capture in order.request.captures)
    try:
        program = compile_probe(resolved, order.request)
    except CannotCompile as error:
        problem = Problem(error.reason, error.detail, error.column)
        return Explanation(resolved, None, tuple(_resolved_sites(resolved)), captures, problem)
    return Explanation(resolved, program, tuple(_sites(resolved, program)), captures, None)


def microseconds_per_call(program: BpfProgram, traps: TrapCosts) -> float:
    """The traps alone: what the program itself takes is measured while it runs."""
    return traps.per_hit_ns(program) / 1000


def _capture(capture: CaptureRequest, request: CompileRequest, resolved: ResolvedProbe) -> ExplainedCapture:
    text = expressions.render(capture.expression)
    try:
        (said,) = explain_captures(resolved, replace(request, where=None, captures=(capture,)))
    except CannotCompile as error:
        return ExplainedCapture(capture.column, text, None, readable=False, reason=error.reason, detail=error.detail)
    if said.refused is not None:
        reason, detail = said.refused.reason.value, said.refused.detail
        return ExplainedCapture(capture.column, text, None, readable=False, reason=reason, detail=detail)
    if said.absent is not None:
        reason, detail = said.absent.reason.value, said.absent.detail
        return ExplainedCapture(capture.column, text, said.type_name, readable=False, reason=reason, detail=detail)
    return ExplainedCapture(capture.column, text, said.type_name, readable=True, absent_parts=said.parts)


def _sites(resolved: ResolvedProbe, program: BpfProgram) -> Iterator[ExplainedSite]:
    for one in program.programs:
        yield from (ExplainedSite(site, one.role, probed=True) for site in one.sites)
    yield from (ExplainedSite(site, Role.ENTRY, probed=False) for site in resolved.inlined_copies)


def _resolved_sites(resolved: ResolvedProbe) -> Iterator[ExplainedSite]:
    """Where a probe could be, when none was compiled."""
    yield ExplainedSite(resolved.entry, Role.ENTRY, probed=False)
    if resolved.return_method is ReturnMethod.RET_SITES:
        yield from (ExplainedSite(site, Role.RETURN, probed=False) for site in resolved.returns)
    yield from (ExplainedSite(site, Role.ENTRY, probed=False) for site in resolved.inlined_copies)
