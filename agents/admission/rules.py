"""Every capture of the template has exactly one masking rule, none looser than its author asked; or the spec is refused."""

from __future__ import annotations

from collections import Counter
from typing import Final

from wire.v1 import spec_pb2

from agents.admission.model import MIN_HASH_KEY, AdmittedRule, RefusalReason, Refused
from language.masking import Action, strictest
from language.masking_rules import BoundPath, BoundRule
from language.model import Template

MAX_PATHS: Final = 256  # rules below one column; each is matched against every member of its type


def admitted_rules(spec: spec_pb2.ProbeSpec, template: Template) -> tuple[AdmittedRule, ...]:
    """In the order of the captures."""
    by_column = {rule.column: rule for rule in spec.masking}
    repeated = [column for column, count in Counter(rule.column for rule in spec.masking).items() if count > 1]
    if repeated:
        raise Refused(RefusalReason.BAD_SPEC, f"column {repeated[0]!r} has more than one masking rule")
    columns = [capture.column for capture in template.probe.captures]
    for column in columns:
        if column not in by_column:
            raise Refused(
                RefusalReason.UNMASKED_FIELD, f"no masking rule for column {column!r}: nothing unmasked leaves"
            )
    for column in by_column:
        if column not in columns:
            raise Refused(RefusalReason.BAD_SPEC, f"a masking rule for {column!r}, which the template does not capture")
    proposed = dict(template.masking)
    return tuple(_rule(by_column[column], proposed.get(column)) for column in columns)


def _rule(came: spec_pb2.FieldRule, proposed: str | None) -> AdmittedRule:
    action = _action(came.action, came.column)
    if proposed is not None and strictest([action, Action(proposed)]) is not action:
        raise Refused(
            RefusalReason.WEAK_MASKING,
            f"column {came.column!r} is masked by {action}, its template asks for {proposed}: the strictest must win",
        )
    if len(came.paths) > MAX_PATHS:
        raise Refused(
            RefusalReason.BAD_SPEC, f"column {came.column!r} has {len(came.paths)} rules, at most {MAX_PATHS}"
        )
    paths = tuple(_path(path, came.column) for path in came.paths)
    hashes = Action.HASH in {action, *(path.action for path in paths)}
    if hashes and len(came.key) < MIN_HASH_KEY:
        raise Refused(
            RefusalReason.WEAK_MASKING,
            f"column {came.column!r} is hashed with a key of {len(came.key)} bytes, at least {MIN_HASH_KEY} are needed",
        )
    return AdmittedRule(BoundRule(came.column, action, came.rule, paths), bytes(came.key), came.key_id)


def _path(came: spec_pb2.PathRule, column: str) -> BoundPath:
    if bool(came.path) == bool(came.type):
        raise Refused(RefusalReason.BAD_SPEC, f"a rule below {column!r} must name a path or a type, one of them")
    return BoundPath(came.path, came.type, _action(came.action, column), came.rule)


def _action(word: str, column: str) -> Action:
    try:
        return Action(word)
    except ValueError as error:
        raise Refused(
            RefusalReason.UNMASKED_FIELD, f"column {column!r}: {word[:40]!r} is no masking action of this agent"
        ) from error
