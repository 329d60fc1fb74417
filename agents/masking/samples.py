"""Sample rows and the rules of a plan -> what would be shown of each field, by which rule, and what was nearly hidden.

Rows are JSON objects, column -> value, that somebody made up or pasted; nothing is read from a process. The values go
through the same detectors and actions as a probe's. A row does not say what type the program has for a value, so rules
by type hold only where it does: `{"type": "main.Card", "value": ...}`, as a Go interface is shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from agents.masking.applying import DYNAMIC, ColumnRules, Decision, stricter
from agents.masking.budget import Budget
from agents.masking.detectors.model import Span
from agents.masking.entities import spans_of
from agents.masking.model import FieldRule
from agents.masking.naming import vouched_by_names
from agents.masking.near_misses import NearMiss, near_misses, shown_anyway
from agents.masking.own_patterns import own_patterns
from agents.masking.service import explain_value
from agents.masking.treating import WHOLE
from language.masking import Action

MAX_FIELDS: Final = 500  # of all rows; a preview is for reading
MAX_DEPTH: Final = 16  # of a value; captures have less
_LOOKED_INTO: Final = frozenset({Action.DETECT, Action.TRUNCATE, Action.BUCKET})


class SampleProblem(Exception):
    """Rows that cannot be shown; `str()` says why."""


def shown_samples(
    rows: Sequence[Mapping[str, Any]],
    rules: Sequence[FieldRule],
    names: Mapping[str, tuple[str, ...]],
    budget: Budget | None = None,
) -> list[dict[str, Any]]:
    """One object for each field of each row. `names` is what a column is called besides: its expression, its function.

    Raises SampleProblem for a column that has no rule, and for more than can be read.
    """
    budget = budget or Budget()
    by_column = {rule.column: rule for rule in rules}
    shown: list[dict[str, Any]] = []
    for number, row in enumerate(rows):
        for column, value in row.items():
            if column not in by_column:
                raise SampleProblem(f"row {number}: the template has no column {column!r}, only {', '.join(by_column)}")
            sample = _Sample(by_column[column], (column, *names.get(column, ())))
            for field in sample.fields(value):
                if len(shown) == MAX_FIELDS or budget.over():
                    raise SampleProblem(f"these rows have more than {MAX_FIELDS} fields, or take too long: send fewer")
                shown.append({"row": number, "column": column, **field})
    return shown


class _Sample:
    """One value of one column, field by field."""

    def __init__(self, rule: FieldRule, names: tuple[str, ...]) -> None:
        self._rules = ColumnRules(rule, keyed=False)
        self._patterns = rule.patterns
        self._names = names

    def fields(self, value: Any) -> Iterator[dict[str, Any]]:
        return self._fields(value, (), self._rules.outermost, DYNAMIC)

    def _fields(self, value: Any, path: tuple[str, ...], outer: Decision, type_name: str) -> Iterator[dict[str, Any]]:
        if len(path) > MAX_DEPTH:
            raise SampleProblem(f"a value is nested deeper than {MAX_DEPTH}")
        decision = self._rules.at(outer, path, type_name)
        if decision.action in WHOLE or not isinstance(value, dict | list):
            yield self._leaf(value, path, decision)
        elif isinstance(value, list):
            for item in value:
                yield from self._fields(item, path, decision, DYNAMIC)
        elif value.keys() == {"type", "value"} and isinstance(value["type"], str):
            yield from self._fields(value["value"], path, decision, value["type"])
        else:
            for key, item in value.items():
                yield from self._fields(item, (*path, key), decision, DYNAMIC)

    def _leaf(self, value: Any, path: tuple[str, ...], outer: Decision) -> dict[str, Any]:
        decision = outer if isinstance(value, dict | list) else self._rules.for_kind(outer, _kind(value))
        decision = stricter(outer, decision)
        names = (*self._names, *path)
        explained = explain_value(value, decision.treatment, names, self._patterns)
        return {
            "path": ".".join(path),
            "shown": explained.masked,
            "action": str(decision.treatment),
            "rule": decision.rule,
            "spans": [list(span) for span in explained.spans],
            "near": [
                {"start": one.start, "end": one.end, "why": str(one.why), "kinds": list(one.kinds)}
                for one in near(value, decision.treatment.action, names, explained.spans, self._patterns)
            ],
        }


def near(
    value: Any,
    action: Action,
    names: tuple[str, ...],
    hidden: Sequence[tuple[int, int, str, str]],
    patterns: tuple[Any, ...] = (),
) -> tuple[NearMiss, ...]:
    """What was nearly hidden of a value, or is shown although it was found. Nothing, where the whole is hidden."""
    if value is None or isinstance(value, bool):
        return ()
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    vouched = vouched_by_names(tuple(name for name in names if name))
    if action is Action.ALLOW:
        return shown_anyway(spans_of(text, False, None, vouched, own_patterns(patterns)))
    if action not in _LOOKED_INTO:
        return ()
    return near_misses(text, [Span(start, end, kind) for start, end, kind, _ in hidden], vouched)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "integer" if isinstance(value, int) else "float" if isinstance(value, float) else "string"
