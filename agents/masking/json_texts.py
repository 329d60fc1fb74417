"""JSON texts of a column -> the same with every value inside masked by its own rule.

Decoding writes what Arrow has no type for as JSON: values of Go interfaces, Rust variants, 128-bit integers. They are
read, walked like structs and lists, and written again; a text that is no JSON raises, and its column is hidden.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from agents.masking import actions
from agents.masking.applying import DYNAMIC, ColumnRules, Decision
from agents.masking.budget import Budget
from agents.masking.entities import shown_of
from agents.masking.naming import vouched_by_names
from agents.masking.own_patterns import own_patterns
from agents.masking.treating import WHOLE, Treating
from language.masking import Action


class JsonMasker:
    """Counts, for each decision, the values it looked at and those it hid."""

    def __init__(self, rules: ColumnRules, names: tuple[str, ...] = (), budget: Budget | None = None) -> None:
        self.values: Counter[Decision] = Counter()
        self.hidden: Counter[Decision] = Counter()
        self._rules = rules
        self._names = names
        self._budget = budget or Budget()
        self._own = own_patterns(rules.patterns, self._budget)

    def mask(
        self, texts: pa.Array, path: tuple[str, ...], outer: Decision, type_name: str, cut: npt.NDArray[np.bool_]
    ) -> pa.Array:
        """`cut` marks texts in which something is cut; then every text inside may be. `type_name` is of the whole."""

        def masked(text: str, *, is_cut: bool) -> str:
            value = self._value(json.loads(text), path, outer, type_name, cut=is_cut)
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

        pairs = zip(texts.to_pylist(), cut.tolist(), strict=True)
        return pa.array([None if text is None else masked(text, is_cut=is_cut) for text, is_cut in pairs], pa.string())

    def _value(self, value: Any, path: tuple[str, ...], outer: Decision, type_name: str = "", *, cut: bool) -> Any:
        if value is None:
            return None
        decision = self._rules.at(outer, path, type_name)
        if decision.action in WHOLE:
            return self._replaced(decision, value, cut=cut)
        if isinstance(value, dict):
            return self._object(value, path, decision, cut=cut)
        if isinstance(value, list):
            return [self._item(item, path, decision, cut=cut) for item in value]
        return self._scalar(value, decision, vouched_by_names((*self._names, *path)), cut=cut)

    def _object(self, value: dict[str, Any], path: tuple[str, ...], outer: Decision, *, cut: bool) -> dict[str, Any]:
        if value.keys() == {"type", "value"}:  # an interface inside: its value is at the same place
            inner = self._rules.for_type(outer, str(value["type"]))
            named = self._rules.at(inner, (*path, "value"), DYNAMIC)
            return {
                "type": self._value(value["type"], (*path, "type"), outer, DYNAMIC, cut=False),
                "value": self._value(value["value"], path, named, DYNAMIC, cut=cut),
            }
        return {
            shown_of(key, False, own=self._own): self._value(item, (*path, key), outer, cut=cut)
            for key, item in value.items()
        }

    def _item(self, item: Any, path: tuple[str, ...], outer: Decision, *, cut: bool) -> Any:
        """Maps are lists of pairs; a pair's key names its value, as a field's name does."""
        if _is_pair(item):
            return [
                self._value(item[0], path, outer, cut=cut),
                self._value(item[1], (*path, item[0]), outer, cut=cut),
            ]
        return self._value(item, path, outer, cut=cut)

    def _scalar(self, value: str | float | bool, outer: Decision, vouched: frozenset[str], *, cut: bool) -> Any:
        kind = _kind(value)
        decision = self._rules.for_kind(outer, kind)
        if decision.action in WHOLE:
            return self._replaced(decision, value, cut=cut)
        if self._budget.over():
            self.values[decision] += 1
            self.hidden[decision] += 1
            return actions.UNSCANNED
        treating = Treating(decision.treatment, kind, vouched, self._rules.tokens, self._own)
        shown = self._shown(value, treating, cut=cut)
        self.values[decision] += 1
        self.hidden[decision] += shown != value
        return shown

    def _shown(self, value: str | float | bool, treating: Treating, *, cut: bool) -> Any:
        match treating.treatment.action:
            case Action.ALLOW:
                return value
            case Action.DETECT if isinstance(value, str):
                return shown_of(value, cut, None, treating.vouched, self._own)
            case Action.DETECT if isinstance(value, bool):
                return value
            case Action.DETECT if isinstance(value, int | float):
                return treating.number(value)
            case _:
                return treating.shown(_plain(value), cut)

    def _replaced(self, decision: Decision, value: Any, *, cut: bool) -> str:
        self.values[decision] += 1
        self.hidden[decision] += 1
        if decision.action is Action.COUNT_ONLY:
            return actions.counted(len(value) if isinstance(value, list | dict) else 1, cut=cut)
        return actions.DROPPED if decision.action is Action.DROP else actions.REDACTED


def _is_pair(item: Any) -> bool:
    return isinstance(item, Sequence) and not isinstance(item, str) and len(item) == 2 and isinstance(item[0], str)


def _kind(value: str | float | bool) -> str:
    if isinstance(value, str):
        return "string"
    if isinstance(value, bool):
        return "boolean"
    return "integer" if isinstance(value, int) else "float"


def _plain(value: str | float | bool) -> str:
    """As Arrow casts it to text, so that tokens of both join."""
    return str(value).lower() if isinstance(value, bool) else str(value)
