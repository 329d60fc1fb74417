"""The target that was approved and the one that is asked for -> the one that is used: their intersection.

A request may name one process of an approved service, never another service. What would widen the target, or leave it
naming nobody, is refused: empty means no.
"""

from __future__ import annotations

from language.errors import TemplateError
from language.model import TargetSpec


def narrow(approved: TargetSpec, asked: TargetSpec) -> TargetSpec:
    """Both at once. Raises TemplateError when `asked` contradicts `approved` or nothing selects a process."""
    target = TargetSpec(
        service=_same("service", approved.service, asked.service),
        exe=_same("exe", approved.exe, asked.exe),
        pids=_pids(approved.pids, asked.pids),
        language=_same("language", approved.language, asked.language),
        pod=_pod(approved.pod, asked.pod),
        labels=_labels(approved.labels, asked.labels),
        shared_object=_same("sharedObject", approved.shared_object, asked.shared_object),
    )
    if not (target.service or target.exe or target.pids or target.pod or target.labels):
        raise TemplateError(
            "the target names no process: give a service, an executable, a pod, labels or a pid "
            "(an empty target means nobody)"
        )
    return target


def _same(field: str, approved: str | None, asked: str | None) -> str | None:
    if approved is not None and asked is not None and approved != asked:
        raise _wider(field, approved, asked)
    return asked if approved is None else approved


def _pids(approved: tuple[int, ...], asked: tuple[int, ...]) -> tuple[int, ...]:
    if approved and not set(asked) <= set(approved):
        raise _wider("pids", ", ".join(map(str, approved)), ", ".join(map(str, asked)))
    return tuple(sorted(set(asked or approved)))


def _pod(approved: str | None, asked: str | None) -> str | None:
    """`namespace/prefix`: a prefix stands for itself and for everything that continues it after a hyphen."""
    if approved is None or asked is None:
        return asked if approved is None else approved
    namespace, _, prefix = approved.rpartition("/")
    asked_namespace, _, asked_prefix = asked.rpartition("/")
    inside = asked_prefix == prefix or asked_prefix.startswith(f"{prefix}-")
    if not inside or (namespace and asked_namespace != namespace):
        raise _wider("pod", approved, asked)
    return asked


def _labels(approved: tuple[tuple[str, str], ...], asked: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    merged = dict(approved)
    for key, value in asked:
        if merged.setdefault(key, value) != value:
            raise _wider(f"labels.{key}", merged[key], value)
    return tuple(sorted(merged.items()))


def _wider(field: str, approved: str, asked: str) -> TemplateError:
    return TemplateError(
        f"the template was approved for {field} {approved!r}, {asked!r} was asked for: "
        "a request narrows the target, another one needs a template of its own"
    )
