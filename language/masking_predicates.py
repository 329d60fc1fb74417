"""Refuse conditions that would show what masking hides: a probe that fires or stays silent answers a question.

Enters a template with its bound rules; leaves quietly, or with HiddenPredicate. What is decided here, and why:

    token, partial, redact ...  no condition at all: everything but allow and detect
    detect                      the value may be clear, so it can be asked about, but only with what a reviewer has
                                read: literals that hide nothing themselves, numbers and closed choices the requester
                                picks from. A text, or a number of card length, that the requester may type is a guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from language.expressions import And, Compare, Constant, Expression, Not, Or, Param, children, parse, walk
from language.masking import Action
from language.masking_fields import Reference, references
from language.masking_model import VALUE_KINDS, BoundRule, HiddenPredicate, Kind, RuleSet
from language.masking_rules import decide
from language.model import ParameterSpec, ParameterType, Template

NUMBER_GATE: Final = 10**11  # from 12 digits on, the agent looks for card numbers in integers

_LOOKS_PERSONAL: Final = re.compile(r"\w@\w|(?:\d[ ().\-/]?){7}")  # an e-mail address, or digits enough for a phone
_VISIBLE: Final = frozenset({Action.ALLOW, Action.DETECT})


def refuse_hidden_predicate(template: Template, bound: Sequence[BoundRule], rulesets: Sequence[RuleSet]) -> None:
    """Raises HiddenPredicate when `where`, or a capture that is itself a comparison, asks about a hidden value."""
    parameters = {parameter.name: parameter for parameter in template.parameters}
    expressions = [parse(capture.expression, parameters) for capture in template.probe.captures]
    columns = [
        (reference.path, rule.action)
        for rule, expression in zip(bound, expressions, strict=True)
        for reference in references(expression)
    ]
    asked = [parse(template.probe.where, parameters)] if template.probe.where is not None else []
    for condition in (*asked, *(part for expression in expressions for part in _conditions(expression))):
        for question in _questions(condition):
            _refuse(question, columns, rulesets, parameters)


def _conditions(expression: Expression) -> Iterator[Expression]:
    return (node for node in walk(expression) if isinstance(node, Compare | And | Or | Not))


def _questions(condition: Expression) -> Iterator[Expression]:
    """The single tests that a condition is made of."""
    match condition:
        case And() | Or() | Not():
            for child in children(condition):
                yield from _questions(child)
        case _:
            yield condition


def _refuse(
    question: Expression,
    columns: Sequence[tuple[tuple[str, ...], Action]],
    rulesets: Sequence[RuleSet],
    parameters: Mapping[str, ParameterSpec],
) -> None:
    kind = _kind(question, parameters)
    for reference in references(question):
        action, rule = _decided(reference, kind, columns, rulesets)
        if action not in _VISIBLE:
            raise HiddenPredicate(
                f"the condition on {reference.text} is refused: masking does {action} on it ({rule}), and a probe "
                "that fires or not would show it; ask about another field"
            )
        if action is Action.DETECT and (guess := _guess(question, parameters)):
            raise HiddenPredicate(
                f"the condition on {reference.text} is refused: {guess}, and the value may hold personal data that "
                "masking hides (detect); compare with a literal, or with a parameter that has choices or a small max"
            )


def _decided(
    reference: Reference,
    kind: Kind | None,
    columns: Sequence[tuple[tuple[str, ...], Action]],
    rulesets: Sequence[RuleSet],
) -> tuple[Action, str]:
    decision = decide(reference, rulesets)
    if decision is None:
        return Action.DROP, "no rule covers it"
    found = [(decision.action, decision.rule)]
    if reference.kind is None:
        found.extend(
            (ruleset.defaults[one], ruleset.label(f"default.{one}"))
            for ruleset in rulesets
            for one in ((kind,) if kind else VALUE_KINDS)
            if one in ruleset.defaults
        )
    for path, action in columns:
        # Only DROP reaches a length; the other actions hide a column's value and what lies inside it.
        if path and path == reference.path[: len(path)] and (reference.kind is None or action is Action.DROP):
            found.append((action, "the rule of a column that captures it"))
    order = list(Action)
    return max(found, key=lambda one: order.index(one[0]))


def _kind(question: Expression, parameters: Mapping[str, ParameterSpec]) -> Kind | None:
    """What kind the field must be to be compared so; None when the question does not tell."""
    for node in walk(question):
        if isinstance(node, Param):
            of = {ParameterType.STRING: Kind.STRING, ParameterType.INT: Kind.INTEGER, ParameterType.BOOL: Kind.BOOLEAN}
            return of[parameters[node.name].type]
        if isinstance(node, Constant):
            if isinstance(node.value, bool):
                return Kind.BOOLEAN
            if isinstance(node.value, str):
                return Kind.STRING
            if isinstance(node.value, int):
                return Kind.INTEGER
    return None


def _guess(question: Expression, parameters: Mapping[str, ParameterSpec]) -> str:
    """Why the question could confirm a guess at personal data, or ""."""
    for node in walk(question):
        if isinstance(node, Constant) and isinstance(node.value, str) and _LOOKS_PERSONAL.search(node.value):
            return f"{node.value!r} looks like personal data itself"
        if isinstance(node, Constant) and _is_long_number(node.value):
            return f"{node.value} is as long as a card number"
        if isinstance(node, Param):
            parameter = parameters[node.name]
            if parameter.type is ParameterType.STRING and not parameter.choices:
                return f"params.{node.name} lets the requester type any text"
            if parameter.type is ParameterType.INT and not _is_bounded(parameter):
                return f"params.{node.name} lets the requester choose numbers as long as a card's"
    return ""


def _is_long_number(value: object) -> bool:
    return isinstance(value, int) and abs(value) >= NUMBER_GATE


def _is_bounded(parameter: ParameterSpec) -> bool:
    return all(bound is not None and abs(bound) < NUMBER_GATE for bound in (parameter.min, parameter.max))
