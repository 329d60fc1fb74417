"""What masking is told, and what it hands on."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from language.masking import Action, Treatment
from language.masking_patterns import ValuePattern


@dataclass(frozen=True)
class FieldRule:
    """What happens to one column. `paths` refine composite columns and can only be stricter."""

    column: str
    action: Action
    rule: str  # which rule decided: "platform:default.string"
    key: bytes = b""  # TOKEN: the tenant's key
    key_id: str = ""
    paths: tuple[PathRule, ...] = ()
    argument: str = ""  # what the action takes, as `language.masking.Treatment` has it
    patterns: tuple[ValuePattern, ...] = ()  # the tenant's own detectors

    @property
    def treatment(self) -> Treatment:
        return Treatment(self.action, self.argument)


@dataclass(frozen=True)
class PathRule:
    """`path` inside the value ("Card.Number", "*.Email") or a DWARF `type` pattern ("*.Card"); the other is ""."""

    path: str
    type: str
    action: Action
    rule: str
    argument: str = ""

    @property
    def treatment(self) -> Treatment:
        return Treatment(self.action, self.argument)


@dataclass(frozen=True)
class Receipt:
    column: str
    rule: str
    action: Action
    values: int
    hidden: int


@dataclass(frozen=True)
class MaskedBatch:
    """Rows that may leave the host: every captured column went through the rule that the plan names for it.

    Same schema as `RecordBatch.columns`, but a hidden value of any type becomes a string (or, in a typed list or
    struct, the whole column is re-typed). Does not prove that a rule was wise: the plan's review does.
    Minted by `agents.masking.service` only.
    """

    columns: pa.RecordBatch
    receipts: tuple[Receipt, ...]
