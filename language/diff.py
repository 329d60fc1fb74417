"""Two templates -> what changed, field by field, for a reviewer.

Columns and parameters are compared by name, so that a moved line is not a removed and an added one. Columns that changed
places are a change of their own, `order.capture`, since it is the order of the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from language import canonical
from language.durations import render
from language.model import Template


@dataclass(frozen=True)
class Change:
    """One field. `before` or `after` is None where the field was not there or is not set."""

    path: str  # "probe.capture.lUnits", "limits.ttl"
    before: Any
    after: Any


def diff(before: Template, after: Template) -> tuple[Change, ...]:
    """Every field in which the two differ, by path. Empty exactly when their canonical bytes are equal."""
    old, new = _flat("", _readable(before)), _flat("", _readable(after))
    for kind in ("order.capture", "order.parameters"):
        kept = set(old[kind]) & set(new[kind])
        if [name for name in old[kind] if name in kept] == [name for name in new[kind] if name in kept]:
            del old[kind], new[kind]  # nothing moved: what came and went is told by name
    return tuple(
        Change(path, old.get(path), new.get(path))
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
    )


def _readable(template: Template) -> dict[str, Any]:
    """The canonical document in the words of the YAML, lists that have names as mappings."""
    document = canonical.document(template)
    limits = document["limits"]
    del limits["ttlMilliseconds"], document["format"]
    limits["ttl"] = render(template.limits.ttl)
    limits["cpu"] = f"{limits.pop('cpuMillionths') / 10_000:g}%"
    parameters = document["parameters"]
    document["parameters"] = {parameter.pop("name"): parameter for parameter in parameters}
    document["probe"]["capture"] = dict(document["probe"]["capture"])
    names = list(document["parameters"])
    document["order"] = {"parameters": names, "capture": list(document["probe"]["capture"])}
    return document


def _flat(prefix: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flat(f"{prefix}.{key}" if prefix else key, item)
    return flat
