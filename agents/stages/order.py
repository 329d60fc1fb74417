"""What one probe shall do, from an admitted spec or from a template that `try` was given; nothing is looked up yet.

Parameters are put into the expressions here, and what policy drops is taken out of the captures: it is never read.
Next: `binding` finds the function in the files of the target's processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.admission.model import AdmittedSpec
from agents.compiler.model import CaptureRequest, CompileRequest
from agents.masking.model import FieldRule, PathRule
from language import expressions, parameters
from language.masking import Action
from language.masking_rules import BoundRule
from language.model import Capture, LimitSpec, ParameterScalar, TargetSpec, Template
from language.syntax import Expression


@dataclass(frozen=True)
class ProbeOrder:
    """One probe to run. Proves nothing by itself: `try` makes one of any template, on this host only."""

    function: str
    line: tuple[str, int] | None
    request: CompileRequest
    target: TargetSpec
    rules: tuple[FieldRule, ...]  # one for each column, those that are dropped too

    @property
    def limits(self) -> LimitSpec:
        return self.request.limits


def order_for(spec: AdmittedSpec) -> ProbeOrder:
    rules = [_field_rule(rule.bound, rule.key, rule.key_id) for rule in spec.rules]
    return _order(spec.template, spec.parameters, spec.target, rules, spec.limits)


def order_from_template(
    template: Template,
    values: Mapping[str, ParameterScalar],
    target: TargetSpec,
    rules: Sequence[BoundRule],
    limits: LimitSpec,
) -> ProbeOrder:
    """For `try` and `explain`. `values` are bound (`language.parameters.bind`). `try` gives tokens a key of its own."""
    return _order(template, values, target, [_field_rule(rule) for rule in rules], limits)


def _order(
    template: Template,
    values: Mapping[str, ParameterScalar],
    target: TargetSpec,
    rules: Sequence[FieldRule],
    limits: LimitSpec,
) -> ProbeOrder:
    def read(text: str) -> Expression:
        return parameters.substitute(expressions.parse(text, values.keys()), values)

    by_column = {rule.column: rule for rule in rules}
    kept = [c for c in template.probe.captures if by_column[c.column].action is not Action.DROP]
    request = CompileRequest(
        at=template.probe.at,
        where=None if template.probe.where is None else read(template.probe.where),
        captures=tuple(_capture(capture, read(capture.expression), by_column[capture.column]) for capture in kept),
        limits=limits,
    )
    return ProbeOrder(template.probe.function, template.probe.line, request, target, tuple(rules))


def _capture(capture: Capture, expression: Expression, rule: FieldRule) -> CaptureRequest:
    dropped = [path for path in rule.paths if path.action is Action.DROP]
    return CaptureRequest(
        column=capture.column,
        expression=expression,
        dropped_paths=tuple(path.path for path in dropped if path.path),
        dropped_types=tuple(path.type for path in dropped if path.type),
    )


def _field_rule(bound: BoundRule, key: bytes = b"", key_id: str = "") -> FieldRule:
    paths = tuple(PathRule(path.path, path.type, path.action, path.rule, path.argument) for path in bound.paths)
    return FieldRule(bound.column, bound.action, bound.rule, key, key_id, paths, bound.argument, bound.patterns)
