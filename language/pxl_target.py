"""PxL's targets -> a TargetSpec: PodProcess, LabelSelector, SharedObject, px.uint128 of a UPID."""

from __future__ import annotations

import ast
import re
from typing import Final

from language.model import TargetSpec
from language.pxl_source import SIGNATURES, Source
from language.pxl_values import Names

_TARGETS: Final = ("pxtrace.PodProcess", "pxtrace.LabelSelector", "pxtrace.SharedObject", "px.uint128")
_UPID: Final = re.compile(r"[0-9]{1,10}:([0-9]{1,10}):[0-9]{1,20}", re.ASCII)  # asid:pid:start time
_UPID_AS_UUID: Final = re.compile(
    r"[0-9a-f]{8}-([0-9a-f]{4})-([0-9a-f]{4})-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE
)
NAMESPACE_LABEL: Final = "k8s.namespace.name"  # OpenTelemetry's resource attribute for it


def target(source: Source, names: Names, node: ast.expr) -> TargetSpec:
    """Raises TemplateError, UnsupportedName for a target that Probegate does not offer."""
    if not isinstance(node, ast.Call):
        source.refuse(node, f"a target is one of {', '.join(_TARGETS)}")
    function = source.function(node)
    optional = {"container_name", "process_name"} | ({"namespace"} if function == "pxtrace.LabelSelector" else set())
    found = source.arguments(node, SIGNATURES[function], optional)
    for name in ("container_name", "process_name"):
        if name in found and names.text(found[name], name):
            source.refuse(
                found[name],
                f"{name} is not supported: every process of the pod is meant; leave it out, or narrow the request by pid",
            )
    match function:
        case "pxtrace.PodProcess":
            return TargetSpec(pod=names.text(found["pod_name"], "a pod"))
        case "pxtrace.LabelSelector":
            return TargetSpec(labels=_labels(source, names, found))
        case "pxtrace.SharedObject":
            upid = target(source, names, found["upid"])
            if not upid.pids:
                source.refuse(found["upid"], "a shared object is found through a process: px.uint128('asid:pid:start')")
            return TargetSpec(pids=upid.pids, shared_object=names.text(found["name"], "a shared object"))
        case "px.uint128":
            return TargetSpec(pids=(_pid(source, found["value"], names.text(found["value"], "a UPID")),))
        case _:
            return source.refuse(node, f"a target is one of {', '.join(_TARGETS)}; {function} came")


def _labels(source: Source, names: Names, found: dict[str, ast.expr]) -> tuple[tuple[str, str], ...]:
    written = found["labels"]
    if not isinstance(written, ast.Dict) or not written.keys:
        source.refuse(written, "labels are written {'app': 'checkout'}, at least one of them")
    labels: dict[str, str] = {}
    for key, value in zip(written.keys, written.values, strict=True):
        if key is None:
            source.refuse(written, "labels are written {'app': 'checkout'}, without **")
        labels[names.text(key, "a label")] = names.text(value, "a label's value")
    namespace = names.text(found["namespace"], "a namespace") if "namespace" in found else ""
    if namespace:
        labels[NAMESPACE_LABEL] = namespace
    return tuple(sorted(labels.items()))


def _pid(source: Source, node: ast.expr, text: str) -> int:
    if match := _UPID.fullmatch(text):
        return int(match[1])
    if match := _UPID_AS_UUID.fullmatch(text):
        return int(match[1] + match[2], 16)
    return source.refuse(node, f"a UPID is asid:pid:start or its 128 bits as a UUID, {text[:80]!r} came")
