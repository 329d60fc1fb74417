"""A template <-> the bytes that an approval binds and an agent is sent.

Canonical JSON: UTF-8, keys sorted, no spaces, every field present, no floating point (cpu is written in millionths of a
core, ttl in milliseconds, sample as text). `from_bytes` accepts only what `to_bytes` writes: two templates are equal
exactly when their bytes are, and bytes that were edited by hand are refused rather than interpreted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta
from fractions import Fraction
from typing import Any, Final

from language.errors import TemplateError
from language.model import (
    At,
    Capture,
    LimitSpec,
    ParameterSpec,
    ParameterType,
    ProbeSpec,
    TargetSpec,
    Template,
)
from language.rules import CPU_STEPS, checked

FORMAT: Final = 1  # rises when a field is added; older agents then refuse instead of ignoring it
MAX_BYTES: Final = 262_144  # a template at every bound of `rules` fits; far below a gRPC message


def to_bytes(template: Template) -> bytes:
    """The one spelling of this template."""
    return json.dumps(document(template), ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def digest(canonical: bytes) -> str:
    """`sha256:<64 hex>` of the bytes."""
    return "sha256:" + hashlib.sha256(canonical).hexdigest()


def from_bytes(canonical: bytes) -> Template:
    """The template of these bytes, checked by every rule again. Raises TemplateError unless `to_bytes` wrote them."""
    if len(canonical) > MAX_BYTES:
        raise TemplateError(f"a canonical template has at most {MAX_BYTES} bytes, {len(canonical)} came")
    try:
        template = _template(json.loads(canonical.decode(), parse_float=_no_float, parse_constant=_no_float))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TemplateError(f"not a canonical template of format {FORMAT}: {type(error).__name__} {error}") from error
    checked(template)
    if to_bytes(template) != canonical:
        raise TemplateError("not a canonical template: spelled otherwise, or with keys that are not known")
    return template


def document(template: Template) -> dict[str, Any]:
    """The template as JSON values; what `to_bytes` writes and `diff` compares."""
    probe, limits = template.probe, template.limits
    return {
        "format": FORMAT,
        "name": template.name,
        "description": template.description,
        "labels": dict(template.labels),
        "parameters": [
            {
                "name": parameter.name,
                "type": parameter.type.value,
                "default": parameter.default,
                "min": parameter.min,
                "max": parameter.max,
                "maxLength": parameter.max_length,
                "choices": list(parameter.choices),
            }
            for parameter in template.parameters
        ],
        "target": {
            "service": template.target.service,
            "exe": template.target.exe,
            "pids": list(template.target.pids),
            "language": template.target.language,
            "pod": template.target.pod,
            "labels": dict(template.target.labels),
            "sharedObject": template.target.shared_object,
        },
        "probe": {
            "function": probe.function,
            "at": probe.at.value,
            "line": list(probe.line) if probe.line else None,
            "where": probe.where,
            "capture": [[capture.column, capture.expression] for capture in probe.captures],
        },
        "table": template.table,
        "masking": dict(template.masking),
        "limits": {
            "ttlMilliseconds": limits.ttl // timedelta(milliseconds=1),
            "maxEventsPerSecond": limits.max_events_per_second,
            "sample": f"{limits.sample.numerator}/{limits.sample.denominator}",
            "maxHits": limits.max_hits,
            "maxString": limits.max_string,
            "maxItems": limits.max_items,
            "maxDepth": limits.max_depth,
            "cpuMillionths": round(limits.cpu * CPU_STEPS),
        },
    }


def _template(value: Mapping[str, Any]) -> Template:
    if value["format"] != FORMAT:
        raise ValueError(f"format {value['format']!r}")
    target = value["target"]
    return Template(
        name=_text(value["name"]),
        description=_text(value["description"]),
        labels=_pairs(value["labels"]),
        parameters=tuple(_parameter(parameter) for parameter in value["parameters"]),
        target=TargetSpec(
            service=_optional_text(target["service"]),
            exe=_optional_text(target["exe"]),
            pids=tuple(_number(pid) for pid in target["pids"]),
            language=_optional_text(target["language"]),
            pod=_optional_text(target["pod"]),
            labels=_pairs(target["labels"]),
            shared_object=_optional_text(target["sharedObject"]),
        ),
        probe=_probe(value["probe"]),
        table=_text(value["table"]),
        masking=_pairs(value["masking"]),
        limits=_limits(value["limits"]),
    )


def _parameter(value: Mapping[str, Any]) -> ParameterSpec:
    default = value["default"]
    if default is not None and not isinstance(default, int | str | bool):
        raise TypeError("default")
    return ParameterSpec(
        name=_text(value["name"]),
        type=ParameterType(value["type"]),
        default=default,
        min=_optional_number(value["min"]),
        max=_optional_number(value["max"]),
        max_length=_optional_number(value["maxLength"]),
        choices=tuple(_text(choice) for choice in value["choices"]),
    )


def _probe(value: Mapping[str, Any]) -> ProbeSpec:
    line = value["line"]
    return ProbeSpec(
        function=_text(value["function"]),
        at=At(value["at"]),
        line=None if line is None else (_text(line[0]), _number(line[1])),
        where=_optional_text(value["where"]),
        captures=tuple(Capture(_text(column), _text(expression)) for column, expression in value["capture"]),
    )


def _limits(value: Mapping[str, Any]) -> LimitSpec:
    numerator, _, denominator = _text(value["sample"]).partition("/")
    return LimitSpec(
        ttl=timedelta(milliseconds=_number(value["ttlMilliseconds"])),
        max_events_per_second=_number(value["maxEventsPerSecond"]),
        sample=Fraction(int(numerator), int(denominator)) if int(denominator) > 0 else Fraction(0),
        max_hits=_number(value["maxHits"]),
        max_string=_number(value["maxString"]),
        max_items=_number(value["maxItems"]),
        max_depth=_number(value["maxDepth"]),
        cpu=_number(value["cpuMillionths"]) / CPU_STEPS,
    )


def _pairs(value: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, _text(item)) for key, item in value.items()))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text was expected, {value!r:.80} came")
    return value


def _optional_text(value: Any) -> str | None:
    return None if value is None else _text(value)


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"a whole number was expected, {value!r:.80} came")
    return value


def _optional_number(value: Any) -> int | None:
    return None if value is None else _number(value)


def _no_float(text: str) -> Any:
    raise ValueError(f"{text[:40]} is not a whole number")
