"""A template in words, line by line: what a reviewer says yes to. Every field of the model that can matter stands here."""

from __future__ import annotations

from collections.abc import Iterator

from language.durations import render
from language.model import At, LimitSpec, ParameterSpec, ParameterType, TargetSpec, Template

_WHERE = {
    At.ENTRY: "at every call",
    At.RETURN: "at every return",
    At.ENTRY_AND_RETURN: "from every call to its return",
}


def plan(template: Template) -> tuple[str, ...]:
    """The lines of the plan."""
    return tuple(_lines(template))


def _lines(template: Template) -> Iterator[str]:
    probe = template.probe
    if template.description:
        yield f"means      {' '.join(template.description.split())}"
    yield f"probes     {probe.function}"
    yield f"           {_WHERE[probe.at] if probe.line is None else f'at line {probe.line[1]} of {probe.line[0]}'}"
    if probe.where is not None:
        yield f"only when  {probe.where}"
    yield f"on         {_target(template.target)}"
    proposed = dict(template.masking)
    wide = max(len(capture.column) for capture in probe.captures)
    for number, capture in enumerate(probe.captures):
        head = "captures   " if number == 0 else "           "
        asked = f"   [author proposes masking: {proposed[capture.column]}]" if capture.column in proposed else ""
        yield f"{head}{capture.column:<{wide}} = {capture.expression}{asked}"
    yield f"into       table {template.table}"
    for number, parameter in enumerate(template.parameters):
        yield f"{'asks for   ' if number == 0 else '           '}{_parameter(parameter)}"
    yield from _limits(template.limits)


def _target(target: TargetSpec) -> str:
    named = {
        "service": target.service,
        "executable": target.exe,
        "pod": target.pod,
        "shared object": target.shared_object,
        "language": target.language,
    }
    words = [f"{word} {value}" for word, value in named.items() if value]
    words += [f"label {key}={value}" for key, value in target.labels] + [f"pid {pid}" for pid in target.pids]
    return ", ".join(words) or "any process of the tenant: the request has to name one"


def _parameter(parameter: ParameterSpec) -> str:
    match parameter.type:
        case ParameterType.INT:
            bounds = f"a whole number from {parameter.min} to {parameter.max}"
        case ParameterType.STRING if parameter.choices:
            bounds = f"one of {', '.join(parameter.choices)}"
        case ParameterType.STRING:
            bounds = f"a string of at most {parameter.max_length} bytes"
        case ParameterType.BOOL:
            bounds = "true or false"
    chosen = "no default" if parameter.default is None else f"default {parameter.default}"
    return f"{parameter.name}: {bounds}, {chosen}"


def _limits(limits: LimitSpec) -> Iterator[str]:
    sampled = "every call" if limits.sample == 1 else f"one call in {limits.sample.denominator}"
    yield f"ends       after {render(limits.ttl)} at the latest, or {limits.max_hits} hits"
    yield f"takes      {sampled}, at most {limits.max_events_per_second} events a second"
    yield (
        f"cuts       strings at {limits.max_string} bytes, lists at {limits.max_items} items, "
        f"follows pointers {limits.max_depth} deep"
    )
    yield f"detaches   above {limits.cpu * 100:g}% of one core"
