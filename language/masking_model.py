"""Masking rules and what they become: the rule that decided for a column, and those for what lies inside it.

`masking_rule_files` reads them, `masking_rules` binds them to a template's captures. The bound form goes into the
signed spec as `FieldRule`, where `agents.masking` follows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from language.errors import TemplateError
from language.masking import Action, Treatment
from language.masking_names import PathPattern, type_matches
from language.masking_patterns import ValuePattern, found_in


class MaskingRuleError(TemplateError):
    """A rule file that cannot be used as it stands."""


class UnmaskedField(TemplateError):
    """A capture that no rule covers, or a masking entry that covers no capture."""


class HiddenPredicate(TemplateError):
    """A condition on a value that masking hides: firing or not firing would show it."""


class Scope(StrEnum):
    """Whose rules they are. Order of deciding among equally strict ones."""

    PLATFORM = "platform"
    TENANT = "tenant"


class Kind(StrEnum):
    """What a captured value is, for those that no rule names. The first four are known on the agent only."""

    STRING = "string"
    INTEGER = "integer"
    FLOAT = "float"
    BOOLEAN = "boolean"
    LATENCY = "latency"
    LENGTH = "length"
    STACK = "stack"
    IDENTIFIER = "identifier"  # pid(), tid(), goid()
    COMM = "comm"


VALUE_KINDS = (Kind.STRING, Kind.INTEGER, Kind.FLOAT, Kind.BOOLEAN)


@dataclass(frozen=True)
class Cases:
    """What the rule must and must not match: field paths, type names or values. A file whose cases fail is refused."""

    matches: tuple[str, ...] = ()
    ignores: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rule:
    """Fields that match get `action`; of values, what matches `regex` is replaced by the rule's name.

    Exactly one of `path` (a pattern of names), `type` (DWARF) and `regex` (a tenant's own detector) is set.
    """

    name: str
    action: Action
    path: PathPattern | None = None
    type: str = ""
    cases: Cases = field(default_factory=Cases)
    argument: str = ""
    regex: str = ""

    @property
    def treatment(self) -> Treatment:
        return Treatment(self.action, self.argument)

    def means(self, subject: str) -> bool:
        """Whether a field path ("o.Card.Number") or, for a type rule, a type name, for a regex, a value is matched."""
        if self.regex:
            return found_in(self.regex, subject)
        if self.path is None:
            return type_matches(self.type, subject)
        segments = tuple(subject.split("."))
        return any(self.path.matches(segments[:end]) for end in range(1, len(segments) + 1))


@dataclass(frozen=True)
class RuleSet:
    """The rules of one scope. `strict` leaves no default: a field that no rule names refuses the plan."""

    scope: Scope
    rules: tuple[Rule, ...] = ()
    defaults: Mapping[Kind, Action] = field(default_factory=dict)
    strict: bool = False

    def label(self, rule: str) -> str:
        return f"{self.scope}:{rule}"

    @property
    def patterns(self) -> tuple[ValuePattern, ...]:
        """Its own detectors."""
        return tuple(ValuePattern(self.label(rule.name), rule.regex) for rule in self.rules if rule.regex)


@dataclass(frozen=True)
class BoundPath:
    """A stricter rule for a part of a composite value.

    Either `path` (a pattern of `language.masking_names`, relative to the captured value) or `type` is set: a DWARF
    type pattern, or "kind:string" (integer, float, boolean) for every value of that kind.
    """

    path: str
    type: str
    action: Action
    rule: str
    argument: str = ""

    @property
    def treatment(self) -> Treatment:
        return Treatment(self.action, self.argument)


@dataclass(frozen=True)
class BoundRule:
    """What happens to one column, which rule decided ("platform:default.string"), and what is stricter inside.

    `patterns` are the tenant's own detectors, where the column's values are looked into.
    """

    column: str
    action: Action
    rule: str
    paths: tuple[BoundPath, ...] = ()
    argument: str = ""
    patterns: tuple[ValuePattern, ...] = ()

    @property
    def treatment(self) -> Treatment:
        return Treatment(self.action, self.argument)
