"""A column whose policy is over -> its type and, of texts and lists, their lengths: nothing else may be known of it.

Rows are masked by the rules that their probe was sealed with. Once the lease is over these may have been tightened without
this agent hearing of it: what is still in the rings then shows no value. Called by `service`, which mints the batch.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from agents.decoding.fields import JSON_ENCODING
from agents.masking.actions import REDACTED
from agents.masking.beyond import beyond_of
from agents.masking.model import FieldRule
from agents.masking.shapes import constant
from language.masking import Action

OUTDATED: Final = "outdated-policy"  # the receipt's rule
MAX_TYPE: Final = 64  # characters of a type's name: a template of C++ may have thousands
_SHOW_LENGTHS: Final = frozenset({Action.ALLOW, Action.DETECT, Action.LENGTH, Action.TRUNCATE})


def type_and_length(array: pa.Array, part: pa.Field, rule: FieldRule | None) -> pa.Array:
    """Texts like "<string of 12>" and "<int64>"; where a rule hides more than that, the rule's word. Nulls stay."""
    if rule is None or rule.action in {Action.REDACT, Action.DROP}:
        return constant(array, REDACTED)
    metadata = part.metadata or {}
    name = metadata.get(b"type", b"").decode("utf-8", "replace")[:MAX_TYPE] or str(array.type)
    word = f"<{name.strip('<>')}>"
    known = rule.action in _SHOW_LENGTHS and not rule.paths and metadata.get(b"encoding") != JSON_ENCODING[b"encoding"]
    if known and pa.types.is_string(array.type):
        beyond = beyond_of(part)
        shown = array if beyond is None else beyond.clip(array, beyond.longer(array))
        return _with_lengths(word, pc.utf8_length(shown))
    if known and pa.types.is_list(array.type):
        return _with_lengths(word, pc.list_value_length(array))
    return constant(array, word)


def _with_lengths(word: str, lengths: pa.Array) -> pa.Array:
    start = f"{word.removesuffix('>')} of "
    return pc.binary_join_element_wise(start, lengths.cast(pa.string()), ">", "")
