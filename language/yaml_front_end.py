"""A YAML template -> the model, every default filled in.

Strict: what is not known is refused with the nearest word that is, and every error has its line and column. The order
of `capture` is kept, since it is the order of the table's columns. Next: `rules.checked`, then review.
"""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final

from language import durations, expressions, rules
from language.errors import TemplateError
from language.model import (
    At,
    Capture,
    LimitSpec,
    ParameterScalar,
    ParameterSpec,
    ParameterType,
    Position,
    ProbeSpec,
    TargetSpec,
    Template,
)
from language.yaml_nodes import Mapping, Value, tree

API_VERSION: Final = "probegate/v1"
KIND: Final = "ProbeTemplate"
DEFAULT_MAX_LENGTH: Final = 256  # bytes of a string parameter: what the kernel program can compare with
_LINE: Final = re.compile(r"line:(.+):([1-9][0-9]{0,7})", re.ASCII)
_SAMPLE: Final = re.compile(r"1/([1-9][0-9]{0,6})", re.ASCII)
_PERCENT: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,4})?)%", re.ASCII)
_NAMED_BY_AUTHOR: Final = frozenset({"capture", "masking", "parameters", "labels"})  # there the key is the thing
_COUNTS: Final = ("maxEventsPerSecond", "maxHits", "maxString", "maxItems", "maxDepth")


def load(text: str) -> Template:
    """Read one template. Raises TemplateError with line and column."""
    document = tree(text).only("apiVersion", "kind", "metadata", "spec")
    for key, expected in (("apiVersion", API_VERSION), ("kind", KIND)):
        value = document.required(key)
        if value.text() != expected:
            value.refuse(f"{key} is {expected}, {value.text()[:80]!r} came")
    metadata = document.required("metadata").mapping().only("name", "description", "labels")
    spec = document.required("spec").mapping()
    spec.only("parameters", "target", "probe", "table", "masking", "limits")
    parameters = _parameters(spec.optional("parameters"))
    name = metadata.required("name").text()
    table = spec.optional("table")
    template = Template(
        name=name,
        description=_text(metadata, "description") or "",
        labels=_pairs(metadata.optional("labels")),
        parameters=parameters,
        target=_target(spec.optional("target")),
        probe=_probe(spec.required("probe").mapping(), [parameter.name for parameter in parameters]),
        table=name.replace("-", "_") if table is None else table.text(),
        masking=_pairs(spec.optional("masking")),
        limits=_limits(spec.optional("limits")),
    )
    return rules.checked(template, lambda path: _locate(document, path))


def _parameters(value: Value | None) -> tuple[ParameterSpec, ...]:
    if value is None:
        return ()
    return tuple(_parameter(name, spec.mapping()) for name, spec in value.mapping().entries.items())


def _parameter(name: str, spec: Mapping) -> ParameterSpec:
    kind = spec.required("type")
    try:
        type_ = ParameterType(kind.text())
    except ValueError:
        kind.refuse(f"the type of a parameter is one of {', '.join(ParameterType)}; {kind.text()[:40]!r} came")
    default = spec.optional("default")
    match type_:
        case ParameterType.INT:
            spec.only("type", "default", "min", "max")
            low, high = spec.optional("min"), spec.optional("max")
            return ParameterSpec(
                name,
                type_,
                default=None if default is None else default.integer(),
                min=rules.INT_MIN if low is None else low.integer(),
                max=rules.INT_MAX if high is None else high.integer(),
            )
        case ParameterType.STRING:
            spec.only("type", "default", "maxLength", "choices")
            return _string_parameter(name, spec, default)
        case ParameterType.BOOL:
            spec.only("type", "default")
            chosen: ParameterScalar | None = None if default is None else default.boolean()
            return ParameterSpec(name, type_, default=chosen)


def _string_parameter(name: str, spec: Mapping, default: Value | None) -> ParameterSpec:
    length, choices = spec.optional("maxLength"), spec.optional("choices")
    return ParameterSpec(
        name,
        ParameterType.STRING,
        default=None if default is None else default.text(),
        max_length=DEFAULT_MAX_LENGTH if length is None else length.integer(),
        choices=() if choices is None else tuple(choice.text() for choice in choices.items()),
    )


def _target(value: Value | None) -> TargetSpec:
    if value is None:
        return TargetSpec()
    target = value.mapping().only("service", "exe", "pids", "language", "pod", "labels", "sharedObject")
    pids = target.optional("pids")
    return TargetSpec(
        service=_text(target, "service"),
        exe=_text(target, "exe"),
        pids=() if pids is None else tuple(sorted(pid.integer() for pid in pids.items())),
        language=_text(target, "language"),
        pod=_text(target, "pod"),
        labels=_pairs(target.optional("labels")),
        shared_object=_text(target, "sharedObject"),
    )


def _probe(probe: Mapping, parameters: list[str]) -> ProbeSpec:
    probe.only("function", "at", "where", "capture")
    captures = tuple(
        Capture(column, expression.expression(parameters))
        for column, expression in probe.required("capture").mapping().entries.items()
    )
    where = probe.optional("where")
    predicate = None if where is None else where.expression(parameters)
    at_value = probe.optional("at")
    if at_value is None:
        texts = [capture.expression for capture in captures] + ([predicate] if predicate else [])
        at, line = rules.needed_at(expressions.parse(text, parameters) for text in texts), None
    else:
        at, line = _at(at_value)
    return ProbeSpec(probe.required("function").text(), at, line, predicate, captures)


def _at(value: Value) -> tuple[At, tuple[str, int] | None]:
    text = value.text()
    if match := _LINE.fullmatch(text):
        return At.LINE, (match[1], int(match[2]))
    if text in {At.ENTRY, At.RETURN, At.ENTRY_AND_RETURN}:
        return At(text), None
    return value.refuse(f"at is entry, return, entry+return or line:file.go:42; {text[:80]!r} came")


def _limits(value: Value | None) -> LimitSpec:
    if value is None:
        return LimitSpec()
    spec = value.mapping().only("ttl", "sample", "cpu", *_COUNTS)
    default = LimitSpec()
    counts = {key: None if (found := spec.optional(key)) is None else found.integer() for key in _COUNTS}
    return LimitSpec(
        ttl=_ttl(spec.optional("ttl"), default.ttl),
        max_events_per_second=_or(counts["maxEventsPerSecond"], default.max_events_per_second),
        sample=_sample(spec.optional("sample"), default.sample),
        max_hits=_or(counts["maxHits"], default.max_hits),
        max_string=_or(counts["maxString"], default.max_string),
        max_items=_or(counts["maxItems"], default.max_items),
        max_depth=_or(counts["maxDepth"], default.max_depth),
        cpu=_cpu(spec.optional("cpu"), default.cpu),
    )


def _ttl(value: Value | None, default: timedelta) -> timedelta:
    if value is None:
        return default
    try:
        return durations.parse(value.plain())
    except TemplateError as error:
        value.refuse(f"ttl: {error.problem}")


def _sample(value: Value | None, default: Fraction) -> Fraction:
    if value is None:
        return default
    match = _SAMPLE.fullmatch(value.plain())
    if match is None:
        value.refuse(f"sample is 1/N, every N-th call, like 1/10; {value.plain()[:40]!r} came")
    return Fraction(1, int(match[1]))


def _cpu(value: Value | None, default: float) -> float:
    if value is None:
        return default
    match = _PERCENT.fullmatch(value.plain())
    if match is None:
        value.refuse(f"cpu is a share of one core in per cent, like 1% or 0.5%; {value.plain()[:40]!r} came")
    return int(Decimal(match[1]) / 100 * rules.CPU_STEPS) / rules.CPU_STEPS


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _text(mapping: Mapping, key: str) -> str | None:
    value = mapping.optional(key)
    return None if value is None else value.text()


def _pairs(value: Value | None) -> tuple[tuple[str, str], ...]:
    if value is None:
        return ()
    return tuple(sorted((key, item.text()) for key, item in value.mapping().entries.items()))


def _locate(document: Mapping, path: rules.Path) -> Position | None:
    """The place of a rule's path, or of the nearest thing around it that is written down."""
    here = document if path[0] == "metadata" else document.required("spec").mapping()
    place = here.position
    for word in path:
        spelled = [key for key in here.entries if key.lower() == word.replace("_", "").lower()]
        if not (word in here.entries or spelled):
            return place
        key = word if word in here.entries else spelled[-1]
        value = here.entries[key]
        place = here.key_position(key) if here.name in _NAMED_BY_AUTHOR else value.position
        if not value.is_mapping:
            return place
        here = value.mapping()
    return place
