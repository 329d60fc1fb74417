"""Decoded rows -> rows that may leave the host, with a receipt of what was done to every column.

    1. the control columns   time_, pid, tid, goid pass; `_absent` and `_cut` keep their paths, without map keys
    2. each captured column  its FieldRule, or nothing of it is shown
    3. any failure           the whole column becomes "<UNSCANNED>", and the receipt says so

The only way to a MaskedBatch, which is all that `agents.uplink` and `agents.cli` take.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa

from agents.absence import Reason
from agents.decoding.model import RecordBatch
from agents.masking.actions import DROPPED, HIDDEN, REDACTED, UNSCANNED, counted
from agents.masking.applying import ColumnRules
from agents.masking.beyond import unmarked
from agents.masking.budget import Budget
from agents.masking.columns import ColumnMasker
from agents.masking.cuts import Cut, cuts_by_column, safe_path
from agents.masking.entities import shown_with, spans_of
from agents.masking.model import FieldRule, MaskedBatch, Receipt
from agents.masking.naming import is_computed, most_shown, vouched_by_names
from agents.masking.numbers import number_shown
from agents.masking.outdated import OUTDATED, type_and_length
from agents.masking.own_patterns import own_patterns
from agents.masking.scanning import scanner
from agents.masking.shapes import constant, map_entries
from agents.masking.siblings import Found, Sibling, hidden, is_part, joined, unchanged
from agents.masking.treating import Treating
from language.masking import Action, Treatment
from language.masking_patterns import ValuePattern

CONTROL_COLUMNS: Final = frozenset({"time_", "pid", "tid", "goid"})  # numbers of ours, not of the program
PATH_COLUMNS: Final = frozenset({"_absent", "_cut"})
NO_RULE: Final = "none"  # the receipt's rule for a column that came without one
FAILED: Final = "unscanned"  # the receipt's rule for a column that could not be masked

log = logging.getLogger(__name__)


def mask(batch: RecordBatch, rules: Sequence[FieldRule], budget: Budget | None = None) -> MaskedBatch:
    """Apply one rule to every captured column. Raises nothing for what is in the batch: failing means hiding.

    What there is no time for within `budget` is hidden as well, and counted.
    """
    columns = batch.columns
    scanner().warm(columns.num_rows * columns.num_columns)
    budget = budget or Budget()
    receipts: list[Receipt] = []
    arrays: list[pa.Array] = []
    fields: list[pa.Field] = []
    cuts = _cuts(columns)
    for part, array in zip(columns.schema, columns.columns, strict=True):
        if part.name in CONTROL_COLUMNS and pa.types.is_integer(part.type):
            masked = array
        elif part.name in PATH_COLUMNS:
            masked = _path_column(array, part.name)
        else:
            masked, receipt = _captured(part, array, rules, cuts, budget)
            receipts.extend(receipt)
        arrays.append(masked)
        fields.append(pa.field(part.name, masked.type, nullable=True, metadata=unmarked(part.metadata) or None))
    fields, arrays, receipts = _with_siblings(columns, fields, arrays, receipts, rules, budget)
    present = set(columns.schema.names)
    receipts.extend(
        Receipt(rule.column, rule.rule, rule.action, 0, 0)  # never read: that is worth a line too
        for rule in rules
        if rule.action is Action.DROP and rule.column not in present
    )
    return MaskedBatch(pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields)), tuple(receipts))


def _with_siblings(
    columns: pa.RecordBatch,
    fields: list[pa.Field],
    arrays: list[pa.Array],
    receipts: list[Receipt],
    rules: Sequence[FieldRule],
    budget: Budget,
) -> tuple[list[pa.Field], list[pa.Array], list[Receipt]]:
    """The same with what neighbouring columns hold between them hidden; where that fails, with all these columns hidden."""
    searched = {rule.column for rule in rules if rule.action is Action.DETECT}
    siblings = [
        Sibling(position, _names(part), columns.column(position), unchanged(columns.column(position), arrays[position]))
        for position, part in enumerate(columns.schema)
        if part.name in searched and is_part(part)
    ]
    try:
        found = list(joined(siblings, budget))
    except Exception as error:  # noqa: BLE001 -- whatever went wrong, its values must not be shown
        log.error("neighbouring columns could not be searched (%s); they are hidden", type(error).__name__)  # noqa: TRY400
        found = [
            Found(each.position, row, UNSCANNED) for each in siblings for row in np.flatnonzero(each.clear).tolist()
        ]
    for position in {each.position for each in found}:
        rows = {each.row: each for each in found if each.position == position}
        part = fields[position]
        arrays[position] = hidden(arrays[position], list(rows.values()))
        fields[position] = part.with_type(pa.string())
        unscanned = sum(each.kind == UNSCANNED for each in rows.values())
        receipts = _counted_in(receipts, part.name, len(rows), unscanned)
    return fields, arrays, receipts


def _counted_in(receipts: list[Receipt], column: str, more: int, unscanned: int) -> list[Receipt]:
    """The column's receipts with so many values more that are hidden: they were looked at before."""
    result = list(receipts)
    place = next(place for place, each in enumerate(result) if each.column == column)
    old = result[place]
    result[place] = replace(old, hidden=min(old.values, old.hidden + more))
    if unscanned:
        result.append(Receipt(column, FAILED, old.action, unscanned, unscanned))
    return result


def types_and_lengths(batch: RecordBatch, rules: Sequence[FieldRule]) -> MaskedBatch:
    """What may be shown of rows when their policy is over: no value of any column, and the receipts say so."""
    columns = batch.columns
    by_column = {rule.column: rule for rule in rules}
    arrays: list[pa.Array] = []
    receipts: list[Receipt] = []
    for part, array in zip(columns.schema, columns.columns, strict=True):
        if part.name in CONTROL_COLUMNS and pa.types.is_integer(part.type):
            arrays.append(array)
        elif part.name in PATH_COLUMNS:
            arrays.append(_path_column(array, part.name))
        else:
            rule, values = by_column.get(part.name), len(array) - array.null_count
            arrays.append(type_and_length(array, part, rule))
            receipts.append(Receipt(part.name, OUTDATED, rule.action if rule else Action.REDACT, values, values))
    fields = [
        pa.field(part.name, array.type, metadata=unmarked(part.metadata) or None)
        for part, array in zip(columns.schema, arrays, strict=True)
    ]
    return MaskedBatch(pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields)), tuple(receipts))


@dataclass(frozen=True)
class Explained:
    """What would be shown of one value, and each hidden part: start, end (characters of its text), kind, action."""

    masked: Any
    spans: tuple[tuple[int, int, str, str], ...]


def explain_value(
    value: Any, treatment: Treatment, names: tuple[str, ...] = (), patterns: tuple[ValuePattern, ...] = ()
) -> Explained:
    """One value outside any batch, by the same code. Objects and lists are masked as their JSON text.

    `patterns` are a tenant's own detectors.
    """
    vouched, action = vouched_by_names(tuple(name for name in names if name)), treatment.action
    if value is None or isinstance(value, bool) or action is Action.ALLOW:
        return Explained(value, ()) if action in {Action.ALLOW, Action.DETECT} else _whole(value, treatment, vouched)
    if action is not Action.DETECT:
        return _whole(value, treatment, vouched)
    own = own_patterns(patterns)
    if isinstance(value, int | float):
        shown = number_shown(value, vouched)
        if shown == value and own is not None and (found := own.spans(str(value), 0, cut=False)):
            return Explained(shown_with(str(value), found), tuple((*span, "redact") for span in found))
        if shown == value:
            return Explained(value, ())
        return Explained(shown, ((0, len(str(value)), str(shown).strip("<>"), "redact"),))
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    spans = spans_of(text, False, None, vouched, own)
    if not spans:
        return Explained(value, ())
    return Explained(shown_with(text, spans), tuple((*span, "redact") for span in spans))


def _whole(value: Any, treatment: Treatment, vouched: frozenset[str]) -> Explained:
    """What is done to a field as a whole; the span says which of its characters are not shown."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    start, end = 0, len(text)
    match treatment.action:
        case Action.DROP:
            word = DROPPED
        case Action.TOKEN:
            word = "<TOKEN>"
        case Action.COUNT_ONLY:
            word = counted(len(value) if isinstance(value, list | dict) else 1)
        case Action.REDACT:
            word = REDACTED
        case _:
            word = Treating(treatment, _kind_word(value), vouched).shown(text, False)
    if treatment.action is Action.PARTIAL and word != HIDDEN:
        first, last = treatment.numbers
        start, end = first, len(text) - last
    if word == text:
        return Explained(value, ())
    return Explained(word, ((start, end, "FIELD", str(treatment)),))


def _kind_word(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "integer" if isinstance(value, int) else "float" if isinstance(value, float) else "string"


def _captured(
    part: pa.Field,
    array: pa.Array,
    rules: Sequence[FieldRule],
    cuts: dict[str, tuple[Cut, ...]] | None,
    budget: Budget,
) -> tuple[pa.Array, list[Receipt]]:
    of_column = [rule for rule in rules if rule.column == part.name]
    if len(of_column) != 1:
        return _hidden(part.name, array, NO_RULE, Action.REDACT)
    (rule,) = of_column
    if cuts is None:
        return _hidden(part.name, array, FAILED, rule.action)
    try:
        computed = is_computed(_said(part, b"expression"))
        most = most_shown(_said(part, b"expression"))
        masker = ColumnMasker(
            ColumnRules(rule), cuts.get(part.name, ()), _names(part), budget, computed=computed, most=most
        )
        masked = masker.mask(array, part)
    except Exception as error:  # noqa: BLE001 -- whatever went wrong, its values must not be shown
        # Only the kind of error: its text may quote a value.
        log.error("column %s could not be masked (%s); its values are hidden", part.name, type(error).__name__)  # noqa: TRY400
        return _hidden(part.name, array, FAILED, rule.action)
    counts = masker.tally.counts or {masker.outermost: (0, 0)}
    receipts = [
        Receipt(part.name, decision.rule, decision.action, values, hidden)
        for decision, (values, hidden) in counts.items()
    ]
    if masker.unscanned:
        receipts.append(Receipt(part.name, FAILED, rule.action, masker.unscanned, masker.unscanned))
    return masked, receipts


def _names(part: pa.Field) -> tuple[str, ...]:
    return (part.name, _said(part, b"expression"), _said(part, b"function"))


def _said(part: pa.Field, key: bytes) -> str:
    found: bytes = (part.metadata or {}).get(key, b"")
    return found.decode("utf-8", "replace")


def _hidden(column: str, array: pa.Array, rule: str, action: Action) -> tuple[pa.Array, list[Receipt]]:
    values = len(array) - array.null_count
    return constant(array, UNSCANNED), [Receipt(column, rule, action, values, values)]


def _cuts(columns: pa.RecordBatch) -> dict[str, tuple[Cut, ...]] | None:
    """The cuts by column, or None when they cannot be read: then no column can be judged."""
    if "_cut" not in columns.schema.names:
        return {}
    roots: dict[str, str] = {}
    for part in columns.schema:
        if part.name not in CONTROL_COLUMNS | PATH_COLUMNS:
            expression = (part.metadata or {}).get(b"expression", b"").decode("utf-8", "replace")
            roots |= {expression: part.name} if expression else {}
    roots |= {name: name for name in columns.schema.names if name not in CONTROL_COLUMNS | PATH_COLUMNS}
    try:
        return cuts_by_column(columns.column(columns.schema.get_field_index("_cut")), roots)
    except Exception as error:  # noqa: BLE001 -- as above
        log.error("`_cut` cannot be read (%s); all columns of the batch are hidden", type(error).__name__)  # noqa: TRY400
        return None


def _path_column(array: pa.Array, name: str) -> pa.Array:
    try:
        return _safe_entries(array, name)
    except Exception as error:  # noqa: BLE001 -- as above
        log.error("%s cannot be read (%s) and is left out", name, type(error).__name__)  # noqa: TRY400
        return pa.nulls(len(array), pa.map_(pa.string(), pa.string()))


def _safe_entries(array: pa.Array, name: str) -> pa.Array:
    entries = map_entries(array)
    values = entries.values
    if name == "_absent":
        known = set(Reason)
        values = pa.array([value if value in known else UNSCANNED for value in values.to_pylist()], pa.string())
    elif not pa.types.is_integer(values.type):
        raise TypeError(f"expected lengths, got {values.type}")
    keys = pa.array([safe_path(key) for key in entries.keys.to_pylist()], pa.string())
    return entries.as_map(keys, values, pa.map_(pa.string(), values.type))
