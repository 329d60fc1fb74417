"""A row that nobody's program made, with a card that nobody has: planted before masking, looked for after it.

    plant    the probe's schema   -> RecordBatch of one row, the card in every text that a rule looks at or hides
    escaped  MaskedBatch          -> whether the card can still be read

It takes the way of every row from then on: through the probe's own rules, the spool, the socket. If it came out in clear,
so would a real card. `agents.stages.probe` plants it, `agents.supervisor` ends what lets it out, and the control plane
looks once more (`control_plane.records.canaries`).
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from wire import canary

from agents.decoding.model import RecordBatch
from agents.decoding.service import made_up
from agents.masking.model import FieldRule, MaskedBatch
from language.masking import Action


def plant(empty: RecordBatch, rules: Sequence[FieldRule], card: str, time_ns: int) -> RecordBatch | None:
    """None when no column can hold it: all are numbers, composite, or shown as they are by a reviewed rule.

    `empty`: any batch of the probe. `time_ns`: unix time of the row.
    """
    schema = empty.columns.schema
    shown_raw = {rule.column for rule in rules if rule.action is Action.ALLOW}
    places = {part.name for part in schema if pa.types.is_string(part.type)} - shown_raw
    if not places:
        return None
    return made_up(empty, dict.fromkeys(places, card), time_ns)


def escaped(masked: MaskedBatch, card: str) -> tuple[str, ...]:
    """The columns that give it away."""
    return canary.given_away(masked.columns.to_pydict(), card)
