"""Every capture of the template has exactly one masking rule, none looser than its author asked; or the spec is refused."""

from __future__ import annotations

from collections import Counter
from typing import Final

from wire.v1 import spec_pb2

from agents.admission.model import MIN_HASH_KEY, AdmittedRule, RefusalReason, Refused
from language.masking import Action, BadAction, Treatment, parse_treatment, treatment
from language.masking_patterns import BadRegex, ValuePattern, pattern_set
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
    masking = _treatment(came.action, came.argument, came.column)
    if proposed is not None and masking.strictness < parse_treatment(proposed).strictness:
        raise Refused(
            RefusalReason.WEAK_MASKING,
            f"column {came.column!r} is masked by {masking}, its template asks for {proposed}: the strictest must win",
        )
    if len(came.paths) > MAX_PATHS:
        raise Refused(
            RefusalReason.BAD_SPEC, f"column {came.column!r} has {len(came.paths)} rules, at most {MAX_PATHS}"
        )
    paths = tuple(_path(path, came.column) for path in came.paths)
    makes_tokens = Action.TOKEN in {masking.action, *(path.action for path in paths)}
    if makes_tokens and len(came.key) < MIN_HASH_KEY:
        raise Refused(
            RefusalReason.WEAK_MASKING,
            f"column {came.column!r} gets tokens by a key of {len(came.key)} bytes, at least {MIN_HASH_KEY} are needed",
        )
    bound = BoundRule(came.column, masking.action, came.rule, paths, masking.argument, _patterns(came))
    return AdmittedRule(bound, bytes(came.key), came.key_id)


def _patterns(came: spec_pb2.FieldRule) -> tuple[ValuePattern, ...]:
    """The tenant's own detectors, each compiled once: a spec whose values this agent could not look into is refused."""
    patterns = tuple(ValuePattern(each.rule, each.regex) for each in came.patterns)
    if patterns:
        try:
            pattern_set(patterns)
        except BadRegex as error:
            raise Refused(
                RefusalReason.UNMASKED_FIELD,
                f"column {came.column!r}: a pattern that this agent cannot look for: {error}",
            ) from error
    return patterns


def _path(came: spec_pb2.PathRule, column: str) -> BoundPath:
    if bool(came.path) == bool(came.type):
        raise Refused(RefusalReason.BAD_SPEC, f"a rule below {column!r} must name a path or a type, one of them")
    masking = _treatment(came.action, came.argument, column)
    return BoundPath(came.path, came.type, masking.action, came.rule, masking.argument)


def _treatment(word: str, argument: str, column: str) -> Treatment:
    try:
        return treatment(word, argument)
    except BadAction as error:
        raise Refused(
            RefusalReason.UNMASKED_FIELD, f"column {column!r}: masking that this agent does not know: {error}"
        ) from error
