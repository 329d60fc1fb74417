"""One column, whatever its shape, through its rules: structs, lists, maps, interface values, down to the leaves.

A rule on a value holds for all that is inside it. A hidden value of any type becomes text, so a column of integers in
which one is a card number becomes a column of texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from agents.masking import actions, numbers, texts
from agents.masking.applying import DYNAMIC, ColumnRules, Decision, stricter
from agents.masking.beyond import Beyond, beyond_of
from agents.masking.budget import Budget
from agents.masking.cuts import Cut, cut_values
from agents.masking.detectors import NONE
from agents.masking.entities import shown_bytes, shown_of
from agents.masking.json_texts import JsonMasker
from agents.masking.naming import vouched_by_names
from agents.masking.own_patterns import own_patterns
from agents.masking.shapes import clean, constant, list_entries, map_entries, null_flags, struct_of
from agents.masking.treating import BYTES, WHOLE, Treating
from language.masking import Action

MAX_DEPTH: Final = 32  # nested types; limits.maxDepth is far below

_INTERFACE: Final = ("type", "value")


class Unmaskable(Exception):
    """A value of a shape that no rule can be applied to."""


@dataclass
class Tally:
    """Values looked at and values hidden, by the decision that did it."""

    counts: dict[Decision, tuple[int, int]] = field(default_factory=dict)

    def add(self, decision: Decision, values: int, hidden: int) -> None:
        before = self.counts.get(decision, (0, 0))
        self.counts[decision] = (before[0] + values, before[1] + hidden)


@dataclass(frozen=True)
class Place:
    """Where an array stands: its names below the column, its DWARF type, what holds around it, its values' rows."""

    path: tuple[str, ...]
    type_name: str
    outer: Decision
    rows: npt.NDArray[np.int64]
    is_json: bool = False  # its texts are JSON values
    beyond: Beyond | None = None  # how far its texts go past their limit

    def inside(self, part: pa.Field) -> Place:
        """A field of the struct that stands here."""
        return replace(self.of(part), path=(*self.path, part.name))

    def of(self, part: pa.Field, rows: npt.NDArray[np.int64] | None = None) -> Place:
        """The same names, but the array of this field: a list's items, an interface's value."""
        return replace(
            self,
            type_name=type_name(part),
            is_json=is_json(part),
            rows=self.rows if rows is None else rows,
            beyond=beyond_of(part),
        )


class ColumnMasker:
    """`names` is what the column is called: its own name, its expression's, its function's; they may vouch for a kind."""

    def __init__(
        self,
        rules: ColumnRules,
        cuts: Sequence[Cut],
        names: Sequence[str] = (),
        budget: Budget | None = None,
        *,
        computed: bool = False,
        most: int | None = None,
    ) -> None:
        self.tally = Tally()
        self.unscanned = 0
        self.outermost = rules.outermost
        self._rules = rules
        self._cuts = cuts
        self._names = tuple(names)
        self._computed = computed
        self._most = most
        self._budget = budget or Budget()
        self._own = own_patterns(rules.patterns, self._budget)

    def mask(self, array: pa.Array, part: pa.Field) -> pa.Array:
        """The column of this field, masked."""
        rows = np.arange(len(array), dtype=np.int64)
        return self._mask(
            array, Place((), type_name(part), self._rules.outermost, rows, is_json(part), beyond_of(part))
        )

    def _mask(self, array: pa.Array, place: Place) -> pa.Array:
        if len(place.path) > MAX_DEPTH:
            raise Unmaskable(f"nested deeper than {MAX_DEPTH}")
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        decision = self._rules.at(place.outer, place.path, place.type_name)
        if decision.action in WHOLE:
            return self._replaced(array, decision, place)
        place = replace(place, outer=decision)
        kind = array.type
        if pa.types.is_struct(kind):
            return self._struct(array, place)
        if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
            entries = list_entries(array)
            item = place.of(kind.value_field, np.repeat(place.rows, entries.lengths))
            return entries.as_list(self._mask(entries.values, item), kind.value_field)
        if pa.types.is_map(kind):
            return self._map(array, place)
        return self._leaf(array, place)

    def _replaced(self, array: pa.Array, decision: Decision, place: Place) -> pa.Array:
        shown = len(array) - array.null_count
        self.tally.add(decision, shown, shown)
        if decision.action is Action.COUNT_ONLY:
            return _counted(array, cut_values(self._cuts, place.path, place.rows))
        return constant(array, actions.DROPPED if decision.action is Action.DROP else actions.REDACTED)

    def _struct(self, array: pa.Array, place: Place) -> pa.Array:
        if tuple(child.name for child in array.type) == _INTERFACE:
            return self._interface(array, place)
        children = [
            self._mask(child, place.inside(part)) for part, child in zip(array.type, array.flatten(), strict=True)
        ]
        return struct_of(array, children)

    def _interface(self, array: pa.Array, place: Place) -> pa.Array:
        """A value with its type at run time: type rules look at that type, row by row; `value` adds no name."""
        types, values = array.flatten()
        decisions = self._by_name(types, lambda name: self._rules.for_type(place.outer, name))
        value = replace(place.of(array.type.field(1)), type_name=DYNAMIC)
        named = self._rules.at(place.outer, (*place.path, "value"), DYNAMIC)
        shown = self._mask_by_decision(values, value, [stricter(decision, named) for decision in decisions])
        return struct_of(
            array, [self._mask(types, replace(place.inside(array.type.field(0)), type_name=DYNAMIC)), shown]
        )

    def _map(self, array: pa.Array, place: Place) -> pa.Array:
        """Keys are data too; and a key names its value, as a field's name does."""
        entries = map_entries(array)
        rows = np.repeat(place.rows, entries.lengths)
        keys, kind = entries.keys, array.type
        decisions = self._by_name(keys, lambda name: self._rules.at(place.outer, (*place.path, name), ""))
        shown = self._mask_by_decision(entries.values, place.of(kind.item_field, rows), decisions)
        return entries.as_map(self._mask(keys, place.of(kind.key_field, rows)), shown, kind)

    def _by_name(self, names: pa.Array, decide: Callable[[str], Decision]) -> list[Decision]:
        """The decision for each name of an array, made once for each distinct one."""
        if not (pa.types.is_string(names.type) or pa.types.is_large_string(names.type)):
            return [decide("")] * len(names)
        encoded = names.dictionary_encode()
        known = [decide(name) for name in encoded.dictionary.to_pylist()]
        unknown = decide("")
        return [unknown if index is None else known[index] for index in encoded.indices.to_pylist()]

    def _mask_by_decision(self, values: pa.Array, place: Place, decisions: list[Decision]) -> pa.Array:
        """Mask each value by its own decision; all by the strictest, if the results differ in type."""
        distinct = list(dict.fromkeys(decisions)) or [place.outer]
        before = Tally(dict(self.tally.counts))
        parts, order = [], []
        for decision in distinct:
            chosen = np.array([one == decision for one in decisions], dtype=bool)
            part = replace(place, outer=decision, rows=place.rows[chosen])
            parts.append(self._mask(values.filter(pa.array(chosen, pa.bool_())), part))
            order.append(np.flatnonzero(chosen))
        if len({part.type for part in parts}) > 1:
            self.tally = before
            strictest = distinct[0]
            for decision in distinct[1:]:
                strictest = stricter(strictest, decision)
            return self._mask(values, replace(place, outer=strictest))
        positions = np.argsort(np.concatenate(order)) if order else np.array([], dtype=np.int64)
        return pa.concat_arrays(parts).take(pa.array(positions, pa.int64()))

    def _vouched(self, place: Place) -> frozenset[str]:
        return vouched_by_names((*self._names, *place.path, place.type_name))

    def _leaf(self, array: pa.Array, place: Place) -> pa.Array:
        if pa.types.is_null(array.type):
            return array
        array = clean(array)
        is_bytes = pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type)
        if is_bytes:
            array = pa.array([None if value is None else value.hex() for value in array.to_pylist()], pa.string())
        kind = _kind(array.type)
        if place.is_json and kind == "string":
            return self._json(array, place)
        decision = self._rules.for_kind(place.outer, kind)
        if decision.action in WHOLE:
            return self._replaced(array, decision, place)
        cut = cut_values(self._cuts, place.path, place.rows)
        if place.beyond is not None and kind == "string":
            return self._past_limit(array, place, decision, cut, place.beyond)
        kind_word, vouched = BYTES if is_bytes else kind, self._vouched(place)
        treating = Treating(decision.treatment, kind_word, vouched, self._rules.tokens, self._own)
        masked = self._applied(array, treating, kind, cut)
        self.tally.add(decision, len(array) - array.null_count, masked.hidden)
        self.unscanned += masked.unscanned
        self._count_own(array, masked.array)
        return masked.array

    def _past_limit(
        self, array: pa.Array, place: Place, decision: Decision, cut: npt.NDArray[np.bool_], beyond: Beyond
    ) -> pa.Array:
        """Texts of which more was captured than may be shown. `cut`: those longer than their limit.

        Detection sees all of them; any other treatment gets what it would have got without the rest.
        """
        longer = beyond.longer(array)
        clipped = beyond.clip(array, longer)
        vouched = self._vouched(place)
        if decision.action is not Action.DETECT or not longer.any():
            treating = Treating(decision.treatment, "string", vouched, self._rules.tokens, self._own)
            masked = self._applied(clipped, treating, "string", cut)
        else:
            masked = self._detect_longer(array, longer, cut, beyond, vouched)
        self.tally.add(decision, len(array) - array.null_count, masked.hidden)
        self.unscanned += masked.unscanned
        self._count_own(clipped, masked.array)
        return masked.array

    def _detect_longer(
        self,
        array: pa.Array,
        longer: npt.NDArray[np.bool_],
        cut: npt.NDArray[np.bool_],
        beyond: Beyond,
        vouched: frozenset[str],
    ) -> texts.Masked:
        mark = pa.array(longer)
        long = texts.detect_past_limit(array.filter(mark), beyond, vouched, self._budget, self._own)
        rest = pc.replace_with_mask(array, mark, pa.nulls(int(longer.sum()), array.type))
        short = texts.detect(rest, cut & ~longer, vouched, self._budget, self._own)
        together = pc.replace_with_mask(short.array, mark, long.array)
        return texts.Masked(together, short.hidden + long.hidden, short.unscanned + long.unscanned)

    def _json(self, array: pa.Array, place: Place) -> pa.Array:
        cut = cut_values(self._cuts, place.path, place.rows, inside=True)
        masker = JsonMasker(self._rules, self._names, self._budget)
        masked = masker.mask(array, place.path, place.outer, place.type_name, cut)
        for decision, values in masker.values.items():
            self.tally.add(decision, values, masker.hidden[decision])
        self._count_own(array, masked)
        return masked

    def _count_own(self, before: pa.Array, shown: pa.Array) -> None:
        """The tenant's own detectors have a line each in the receipts, where they found something."""
        for pattern, count in self._own.counted(before, shown) if self._own else ():
            self.tally.add(Decision(Action.REDACT, pattern.rule), count, count)

    def _applied(self, array: pa.Array, treating: Treating, kind: str, cut: npt.NDArray[np.bool_]) -> texts.Masked:
        match treating.treatment.action:
            case Action.ALLOW:
                return texts.Masked(array, 0)
            case Action.DETECT if treating.kind == BYTES:
                return texts.by_distinct(
                    array,
                    cut,
                    lambda value, is_cut: shown_bytes(value, is_cut, treating.vouched, self._own),
                    self._budget,
                )
            case Action.DETECT if kind == "string":
                return texts.detect(array, cut, treating.vouched, self._budget, self._own)
            case Action.DETECT if kind in {"integer", "float"}:
                masked = _detect_numbers(array, treating.vouched, computed=self._computed, most=self._most)
                return self._own_numbers(array, masked) if self._own else masked
            case Action.DETECT:
                return texts.Masked(array, 0)
            case _:
                return texts.by_distinct(_as_text(array), cut, treating.shown, self._budget)

    def _own_numbers(self, before: pa.Array, masked: texts.Masked) -> texts.Masked:
        """Numbers as their digits, for the tenant's own detectors only."""
        digits = _as_text(before)
        nothing_cut = np.zeros(len(before), dtype=bool)
        owned = texts.by_distinct(
            digits, nothing_cut, lambda value, _cut: shown_of(value, False, 0, NONE, self._own), self._budget
        )
        fresh = _flags_of(pc.not_equal(owned.array, digits)) & _flags_of(pc.equal(_as_text(masked.array), digits))
        if not fresh.any():
            return masked
        shown = pc.if_else(pa.array(fresh), owned.array, _as_text(masked.array))
        return texts.Masked(shown, masked.hidden + int(fresh.sum()), owned.unscanned)


def _flags_of(array: pa.Array) -> npt.NDArray[np.bool_]:
    flags: npt.NDArray[np.bool_] = array.fill_null(fill_value=False).to_numpy(zero_copy_only=False).astype(bool)
    return flags


def _detect_numbers(array: pa.Array, vouched: frozenset[str], *, computed: bool, most: int | None) -> texts.Masked:
    """Cards by their digits; what a name vouches for (an SSN, a date of birth) as if it were written as text."""
    values = array.fill_null(0).to_numpy(zero_copy_only=False)
    present = ~null_flags(array)
    result, hidden = array, np.zeros(len(array), dtype=bool)
    for kind, candidates in numbers.personal(values, vouched, computed=computed, most=most):
        fresh = candidates & present & ~hidden
        if fresh.any():
            hidden |= fresh
            result = pc.replace_with_mask(_as_text(result), pa.array(fresh), pa.scalar(f"<{kind}>", pa.string()))
    return texts.Masked(result, int(hidden.sum()))


def _counted(array: pa.Array, cut: npt.NDArray[np.bool_]) -> pa.Array:
    """How many items each collection has, 1 for anything else; nulls stay."""
    kind = array.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        sizes = list_entries(array).lengths
    else:
        sizes = map_entries(array).lengths if pa.types.is_map(kind) else np.ones(len(array), dtype=np.int64)
    words = [actions.counted(size, cut=more) for size, more in zip(sizes.tolist(), cut.tolist(), strict=True)]
    return pa.array(words, pa.string(), mask=null_flags(array))


def _as_text(array: pa.Array) -> pa.Array:
    return array.cast(pa.string())


def type_name(part: pa.Field) -> str:
    """The DWARF type that decoding noted; "" when it noted none."""
    name: bytes = (part.metadata or {}).get(b"type", b"")
    return name.decode("utf-8", "replace")


def is_json(part: pa.Field) -> bool:
    """Whether decoding wrote the column's texts as JSON (`agents.decoding.values.JSON_ENCODING`)."""
    return (part.metadata or {}).get(b"encoding") == b"json"


def _kind(kind: pa.DataType) -> str:
    """The word of `language.masking_model.Kind`, and one for moments. Raises Unmaskable for anything unknown."""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "string"
    if pa.types.is_integer(kind):
        return "integer"
    if pa.types.is_floating(kind):
        return "float"
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_temporal(kind):
        return "moment"
    raise Unmaskable(f"values of type {kind} are not known to masking")
