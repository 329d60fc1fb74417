"""What a template would do on this host, for its reviewer: where it binds, what each column is, what a call would cost.

Entered with the canonical bytes of a template that nobody has approved: nothing is armed and no value is read. The answer
goes back to the control plane as JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from agents.processes.model import NoProcess, NoProcessReason
from agents.processes.service import MAX_PROCESSES, choose
from agents.stages.binding import refuse_denied
from agents.stages.explaining import explain, microseconds_per_call
from agents.stages.order import order_from_template
from agents.stages.service import Prober
from language import canonical, parameters
from language.masking import Action
from language.masking_rules import BoundRule
from language.model import ParameterScalar, ParameterSpec, ParameterType, TargetSpec, Template
from language.narrowing import narrow

MAX_TEMPLATE: Final = 262_144  # bytes of canonical JSON; a source has at most a quarter of that
MAX_DROPPED: Final = 256  # columns


def forecast(
    prober: Prober, written: bytes, service: str | None, pids: Sequence[int], dropped: frozenset[str]
) -> dict[str, Any]:
    """Raises TemplateError, NoProcess, Refused. What does not bind is an answer, not an error."""
    template = canonical.from_bytes(written)
    target = narrow(template.target, TargetSpec(service=service, pids=tuple(sorted(set(pids)))))
    processes = choose(prober.source, target)
    for process in processes:
        refuse_denied(prober.host.now, process)
    rules = [
        BoundRule(capture.column, Action.DROP if capture.column in dropped else Action.ALLOW, "forecast")
        for capture in template.probe.captures
    ]
    order = order_from_template(template, _values(template), target, rules, template.limits)
    file = processes[0].file
    found = explain(order, file, prober.resolver, prober.compile_probe)
    captures = {capture.column: capture for capture in found.captures}
    answer: dict[str, Any] = {
        "binds": found.binds,
        "problem": "" if found.problem is None else f"{found.problem.reason}: {found.problem.detail}",
        "processes": len(processes),
        "executable": processes[0].exe,
        "captures": [
            {
                "column": column,
                "type": capture.type,
                "readable": capture.readable,
                "reason": f"{capture.reason}: {capture.detail}" if capture.reason else "",
            }
            for column, capture in captures.items()
        ],
    }
    if found.resolved is not None:
        answer["build_id"] = found.resolved.binary.build_id
    if found.program is not None:
        answer |= {
            "sites": sum(len(one.sites) for one in found.program.programs),
            "trap_classes": sorted({site.site.trap_class.value for site in found.sites if site.probed}),
            "microseconds_per_call": round(microseconds_per_call(found.program, prober.traps), 3),
            "record_bytes": found.program.layout.record_size,
        }
    return answer


def count(prober: Prober, written: bytes, service: str | None, pids: Sequence[int]) -> dict[str, int]:
    """Only how many processes it would probe now; nothing is opened. Raises TemplateError."""
    target = narrow(canonical.from_bytes(written).target, TargetSpec(service=service, pids=tuple(sorted(set(pids)))))
    try:
        return {"processes": len(choose(prober.source, target))}
    except NoProcess as error:
        return {"processes": MAX_PROCESSES + 1 if error.reason is NoProcessReason.TOO_MANY else 0}


def _values(template: Template) -> dict[str, ParameterScalar]:
    """The defaults, and for parameters without one the least value that is allowed: what they are changes no forecast."""
    given = {spec.name: _least(spec) for spec in template.parameters if spec.default is None}
    return dict(parameters.bind(template, given))


def _least(spec: ParameterSpec) -> ParameterScalar:
    match spec.type:
        case ParameterType.INT:
            return spec.min or 0
        case ParameterType.BOOL:
            return False
        case ParameterType.STRING:
            return spec.choices[0] if spec.choices else ""
