"""A template's captures and the rule sets that apply -> one rule for every column, or a refusal.

For every field that a capture reads: the rules of platform and tenant that mean it (by path, by name), or their
default for its kind; then the author's own proposal. The strictest action wins, so a template and a tenant can only
tighten. What cannot be known before a binary is seen (types, names inside a struct that is captured whole) goes along
as `BoundPath`, for the compiler (`drop`) and the agent's masking. Used by `control_plane.masking` and by
`probegate-agent try`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from language.expressions import parse
from language.masking import Action, BadAction, Treatment, parse_treatment
from language.masking_exceptions import MaskingException
from language.masking_fields import Reference, field_path, references
from language.masking_model import (
    VALUE_KINDS,
    BoundPath,
    BoundRule,
    Cases,
    HiddenPredicate,
    Kind,
    MaskingRuleError,
    Rule,
    RuleSet,
    Scope,
    UnmaskedField,
)
from language.masking_names import KIND_PREFIX, MAX_PATTERN, WordsPattern, path_matches, type_matches
from language.masking_rule_files import failing_cases, load_rules, rule_from
from language.model import Capture

__all__ = [
    "BoundPath",
    "BoundRule",
    "Cases",
    "HiddenPredicate",
    "Kind",
    "MaskingRuleError",
    "Rule",
    "RuleSet",
    "Scope",
    "UnmaskedField",
    "bind",
    "decide",
    "failing_cases",
    "load_rules",
    "path_matches",
    "rule_from",
    "type_matches",
]

Excepted = Callable[[tuple[str, ...]], MaskingException | None]
TEMPLATE: Final = "template"
LOOKED_INTO: Final = frozenset({Action.DETECT, Action.BUCKET, Action.TRUNCATE})  # by detectors; the others hide or show
CONSTANT_RULE: Final = "constant"  # a literal of the approved text shows nothing of the target


@dataclass(frozen=True)
class Decision:
    """An action and the rule that asked for it."""

    action: Action
    rule: str
    argument: str = ""

    @property
    def treatment(self) -> Treatment:
        return Treatment(self.action, self.argument)


def nothing_excepted(_path: tuple[str, ...]) -> None:
    """Without exceptions."""


def bind(
    captures: Sequence[Capture],
    masking: Iterable[tuple[str, str]],
    rulesets: Sequence[RuleSet],
    parameters: Collection[str] = (),
    excepted: Excepted = nothing_excepted,
) -> tuple[BoundRule, ...]:
    """One rule for each capture, in their order. `masking` is the template's own: column -> action.

    `excepted` says which approved exception holds for a field, if one does.

    Raises UnmaskedField for a capture without a rule and for a masking entry without a capture.
    """
    proposed = _proposals(captures, masking)
    bound = tuple(
        _bind_one(capture, proposed.get(capture.column), rulesets, parameters, excepted) for capture in captures
    )
    _refuse_two_columns(captures, bound, parameters)
    return bound


def decide(reference: Reference, rulesets: Sequence[RuleSet], names: Sequence[str] = ()) -> Decision | None:
    """The strictest rule for one field by itself, or None. `names` are further names it goes by (its column)."""
    found = [decision for ruleset in rulesets for decision in _candidates(reference, ruleset, names)]
    if any(ruleset.strict for ruleset in rulesets):
        named = [decision for decision, is_default in found if not is_default]
        return _strictest(decision for decision, _ in found) if named or reference.kind else None
    return _strictest(decision for decision, _ in found)


def _bind_one(
    capture: Capture,
    proposed: Treatment | None,
    rulesets: Sequence[RuleSet],
    parameters: Collection[str],
    excepted: Excepted,
) -> BoundRule:
    expression = parse(capture.expression, parameters)
    fields = tuple(dict.fromkeys(references(expression)))
    decisions: list[Decision] = []
    loosened = False
    for reference in fields:
        decision = decide(reference, rulesets, (capture.column,))
        if decision is None:
            raise UnmaskedField(
                f"column {capture.column!r} captures {reference.text}, and no masking rule covers it: "
                "ask for a tenant rule that names it, or leave it out"
            )
        exception = None if decision.action is Action.DROP else excepted(reference.path)
        if exception is not None:
            loosened = True
            decision = Decision(exception.treatment.action, exception.label, exception.treatment.argument)
        decisions.append(decision)
    if not fields:
        decisions.append(Decision(Action.ALLOW, CONSTANT_RULE))
    if proposed is not None:
        _refuse_second_form(capture.column, proposed, decisions)
        decisions.append(Decision(proposed.action, TEMPLATE, proposed.argument))
    strictest = _strictest(decisions)
    assert strictest is not None  # noqa: S101 -- every branch above adds one
    path = field_path(expression)
    inside = (
        () if path is None or strictest.action is Action.DROP else tuple(_inside(path, rulesets, strictest.treatment))
    )
    if loosened:  # the default of its kind is what it was excepted from
        inside = tuple(each for each in inside if not each.type.startswith(KIND_PREFIX))
    looked_into = LOOKED_INTO & {strictest.action, *(each.action for each in inside)}
    patterns = tuple(each for ruleset in rulesets for each in ruleset.patterns) if looked_into else ()
    return BoundRule(capture.column, strictest.action, strictest.rule, inside, strictest.argument, patterns)


def _refuse_second_form(column: str, proposed: Treatment, decisions: Sequence[Decision]) -> None:
    """Never a token and a part of one value: with both, a few guesses find the rest (PCI DSS 3.5.1)."""
    for decision in decisions:
        if _two_forms(proposed.action, decision.action):
            raise UnmaskedField(
                f"masking of {column!r}: {proposed} beside {decision.treatment} of {decision.rule}, which other templates "
                "show: a token and a part of one value may not both exist; change the rule for all, or leave it as it is"
            )


def _refuse_two_columns(captures: Sequence[Capture], bound: Sequence[BoundRule], parameters: Collection[str]) -> None:
    """The same, for a value that two columns show, one of them as part of what surrounds it."""
    fields = [{each.path for each in references(parse(capture.expression, parameters))} for capture in captures]
    for (one, left), (other, right) in combinations(zip(bound, fields, strict=True), 2):
        if _two_forms(one.action, other.action) and any(_overlap(a, b) for a in left for b in right):
            raise UnmaskedField(
                f"{one.column!r} ({one.treatment}) and {other.column!r} ({other.treatment}) show one value in two forms: "
                "a token and a part of it may not both exist; leave one out"
            )


def _two_forms(one: Action, other: Action) -> bool:
    return Action.TOKEN in {one, other} and bool({one, other} & {Action.PARTIAL, Action.TRUNCATE})


def _overlap(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    shared = min(len(one), len(other))
    return shared > 0 and one[:shared] == other[:shared]


def _candidates(reference: Reference, ruleset: RuleSet, names: Sequence[str]) -> Iterator[tuple[Decision, bool]]:
    """What one rule set says about a field, and whether it is only its default."""
    for rule in ruleset.rules:
        if rule.path is None or not reference.path:
            continue
        if reference.kind is Kind.LENGTH and rule.action is not Action.DROP:
            continue  # a length shows nothing of the text but its length; of what is never read, not even that
        by_column = isinstance(rule.path, WordsPattern) and reference.kind is None
        subjects = [".".join(reference.path), *(names if by_column else ())]
        if any(rule.means(subject) for subject in subjects):
            yield Decision(rule.action, ruleset.label(rule.name), rule.argument), False
    kinds = VALUE_KINDS if reference.kind is None else (reference.kind,)
    defaults = [kind for kind in kinds if kind in ruleset.defaults]
    if len(defaults) == len(kinds):  # a value of unknown kind is covered only when every kind is
        loosest = min(defaults, key=lambda kind: Treatment(ruleset.defaults[kind]).strictness)
        yield Decision(ruleset.defaults[loosest], ruleset.label(f"default.{loosest}")), True


def _inside(path: tuple[str, ...], rulesets: Sequence[RuleSet], outer: Treatment) -> Iterator[BoundPath]:
    """The rules that may find something stricter to do inside a value that is captured at `path`."""
    found: list[BoundPath] = []
    for ruleset in rulesets:
        for rule in ruleset.rules:
            label = ruleset.label(rule.name)
            if rule.regex:
                continue  # it means values, wherever they are: see BoundRule.patterns
            if rule.path is None:
                found.append(BoundPath("", rule.type, rule.action, label, rule.argument))
                continue
            for rest in rule.path.after(path):
                text = rest.text()
                if len(text) > MAX_PATTERN:
                    raise MaskingRuleError(f"rule {label} names too much: its pattern is over {MAX_PATTERN} characters")
                found.append(BoundPath(text, "", rule.action, label, rule.argument))
        found.extend(
            BoundPath("", KIND_PREFIX + kind, action, ruleset.label(f"default.{kind}"))
            for kind, action in ruleset.defaults.items()
            if kind in VALUE_KINDS
        )
    yield from dict.fromkeys(bound for bound in found if bound.treatment.strictness > outer.strictness)


def _proposals(captures: Sequence[Capture], masking: Iterable[tuple[str, str]]) -> Mapping[str, Treatment]:
    columns = {capture.column for capture in captures}
    proposed: dict[str, Treatment] = {}
    for column, action in masking:
        if column not in columns:
            raise UnmaskedField(f"masking names {column!r}, which is no captured column: {', '.join(sorted(columns))}")
        try:
            proposed[column] = parse_treatment(action)
        except BadAction as error:
            raise UnmaskedField(f"masking of {column!r}: {error}") from None
    return proposed


def _strictest(decisions: Iterable[Decision]) -> Decision | None:
    """The first of the strictest: rule sets come in the order platform, tenant, then the template."""
    return max(decisions, key=lambda decision: decision.treatment.strictness, default=None)
