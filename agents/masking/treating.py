"""One value and its treatment -> what may be shown of it: the same for columns, for JSON inside them, and for `mask`.

What an action cannot be done to is redacted, never passed on. `allow`, `detect` over columns, and what hides a value
whatever it is (`redact`, `drop`, `count-only`) are done by those who hold the values; here is the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agents.masking import actions
from agents.masking.actions import Tokens
from agents.masking.detectors import NONE
from agents.masking.entities import shown_of
from agents.masking.generalising import generalised
from agents.masking.joining import joined
from agents.masking.numbers import number_shown
from agents.masking.own_patterns import OwnPatterns
from language.masking import Action, Generality, Treatment

WHOLE: Final = frozenset({Action.COUNT_ONLY, Action.REDACT, Action.DROP})  # hide a value of any shape at once
BYTES: Final = "bytes"  # kind of a text that is hex of binary data


class Untreatable(Exception):
    """An action that cannot be done here: the value must be hidden."""


@dataclass(frozen=True)
class Treating:
    """How the values of one place are treated. `kind` is a word of `language.masking_model.Kind`, "bytes" or "moment"."""

    treatment: Treatment
    kind: str
    vouched: frozenset[str] = NONE
    tokens: Tokens | None = None
    own: OwnPatterns | None = None

    def shown(self, value: str, cut: bool) -> str:
        """`value` as text; `cut` when its end is missing. Raises Untreatable."""
        treatment = self.treatment
        match treatment.action:
            case Action.TRUNCATE:
                return actions.truncated(self._detected(value, cut=cut), treatment.numbers[0])
            case Action.BUCKET:
                return self._bucket(value, treatment.numbers[0])
            case Action.GENERALISE:
                return generalised(value, Generality(treatment.argument), cut=cut)
            case Action.PARTIAL:
                first, last = treatment.numbers
                return actions.partial(value, first, last, cut=cut)
            case Action.LENGTH:
                length = len(value) // 2 if self.kind == BYTES else len(value)
                return f"{length}{actions.MORE if cut else ''}"
            case Action.TOKEN if self.tokens is not None:
                domain, normal = (self.kind, value) if cut else joined(value, self.kind, self.vouched)
                return self.tokens.token(domain, normal, cut=cut)
            case _:
                raise Untreatable(f"there is no way to do {treatment} to a {self.kind}")

    def _detected(self, value: str, *, cut: bool) -> str:
        if self.kind in {"integer", "float"}:
            number = _number(value)
            shown = actions.REDACTED if number is None else number_shown(number, self.vouched)
            return shown if isinstance(shown, str) else self._owned(value)
        return shown_of(value, cut, None, self.vouched, self.own)

    def number(self, value: float) -> int | float | str:
        """The number itself, or the word that stands for it."""
        shown = number_shown(value, self.vouched)
        digits = str(value)
        return shown if shown != value or (owned := self._owned(digits)) == digits else owned

    def _owned(self, number: str) -> str:
        """A number as its digits: what only the tenant's own detectors know."""
        return shown_of(number, False, 0, NONE, self.own) if self.own else number

    def _bucket(self, value: str, width: int) -> str:
        number = _number(value) if self.kind in {"integer", "float"} else None
        if number is None:
            return actions.REDACTED
        shown = number_shown(number, self.vouched)
        if not isinstance(shown, str) and self._owned(value) != value:
            return self._owned(value)
        return shown if isinstance(shown, str) else actions.bucket(number, width)


def _number(text: str) -> int | float | None:
    try:
        return int(text) if text.lstrip("-").isdigit() else float(text)
    except ValueError:
        return None
