"""Which rule holds at a place inside a column: the column's own, or a stricter one by path, type or kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agents.masking.actions import Tokens
from agents.masking.model import FieldRule
from language.masking import Action, Treatment
from language.masking_names import KIND_PREFIX, PathPattern, parse_pattern, type_matches

DYNAMIC_ONLY: Final = "**"  # path of a type rule that `typed_rules` has bound: left are interface values, by row
DYNAMIC: Final = "(interface value)"  # type of a value whose own rule was chosen by its type at run time


@dataclass(frozen=True)
class Decision:
    action: Action
    rule: str
    argument: str = ""

    @property
    def treatment(self) -> Treatment:
        return Treatment(self.action, self.argument)


class ColumnRules:
    """One column's rules, ready to be asked. Raises BadPattern or UnusableKey: then nothing of the column is shown."""

    def __init__(self, rule: FieldRule, *, keyed: bool = True) -> None:
        """Without `keyed` no token is made: for a preview, which has no key."""
        self.column = rule.column
        self.outermost = Decision(rule.action, rule.rule, rule.argument)
        self._by_path: list[tuple[PathPattern, Decision]] = []
        self._by_type: list[tuple[str, Decision]] = []
        self._unbound: list[Decision] = []
        self._by_kind: dict[str, Decision] = {}
        for path in rule.paths:
            decision = Decision(path.action, path.rule, path.argument)
            if path.type and path.path == DYNAMIC_ONLY:
                self._by_type.append((path.type, decision))
            elif path.path:
                self._by_path.append((parse_pattern(path.path), decision))
            elif path.type.startswith(KIND_PREFIX):
                kind = path.type.removeprefix(KIND_PREFIX)
                self._by_kind[kind] = stricter(self._by_kind.get(kind, decision), decision)
            else:
                self._by_type.append((path.type, decision))
                self._unbound.append(decision)
        self.patterns = rule.patterns
        makes_tokens = keyed and Action.TOKEN in {rule.action, *(path.action for path in rule.paths)}
        self.tokens = Tokens(rule.key, rule.key_id) if makes_tokens else None

    def at(self, outer: Decision, path: Sequence[str], type_name: str) -> Decision:
        """The strictest for the value at `path`: what holds around it, or a rule that means it by name or type.

        Where the type is not known (""), every type rule that was not bound to the binary holds.
        """
        for pattern, decision in self._by_path:
            if pattern.matches(path):
                outer = stricter(outer, decision)
        if not type_name:
            for decision in self._unbound:
                outer = stricter(outer, decision)
        return self.for_type(outer, type_name)

    def for_type(self, outer: Decision, type_name: str) -> Decision:
        """By a type that is known, the column's or that of an interface value."""
        for pattern, decision in self._by_type:
            if type_name and type_matches(pattern, type_name):
                outer = stricter(outer, decision)
        return outer

    def for_kind(self, outer: Decision, kind: str) -> Decision:
        return stricter(outer, self._by_kind.get(kind, outer))


def stricter(outer: Decision, inner: Decision) -> Decision:
    """The stricter of two; the outer one when they are equally strict."""
    return inner if inner.treatment.strictness > outer.treatment.strictness else outer
