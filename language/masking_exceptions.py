"""What an exception is: the only way in which a rule is loosened, for one field of one template, until a day.

An approved exception stands in for the rules of platform and tenant on the captures that it names. It never reaches
what is dropped, nor what the template itself asks to hide, nor rules about the type of a value or about what lies
inside it: whoever wants to see a field of a struct captures that field by itself. Read by `control_plane.masking`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from language.masking import Action, BadAction, Treatment, parse_treatment
from language.masking_model import MaskingRuleError
from language.masking_names import BadPattern, SegmentsPattern, parse_pattern

MAX_REASON: Final = 500
MIN_REASON: Final = 10  # characters: "because" is none
_TEMPLATE: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_KNOWN: Final = frozenset({"template", "field", "service", "action", "reason", "expires"})


@dataclass(frozen=True)
class MaskingException:
    """`field` is a path as captured, "o.Email"; `service` is empty when the template alone says which programs it means."""

    name: str
    template: str
    field: SegmentsPattern
    service: str
    treatment: Treatment
    reason: str
    expires: datetime

    @property
    def label(self) -> str:
        return f"exception:{self.name}"

    def means(self, template: str, service: str | None, path: tuple[str, ...]) -> bool:
        right_service = not self.service or self.service == service
        return self.template == template and right_service and self.field.matches(path)


def read_exception(name: str, given: dict[str, Any]) -> MaskingException:
    """From its JSON form. Raises MaskingRuleError."""
    if not _NAME.fullmatch(name):
        raise MaskingRuleError(f"exception {name[:64]!r}: expected lower-case letters, digits and hyphens as its name")
    if unknown := sorted(set(given) - _KNOWN):
        raise MaskingRuleError(f"exception {name}: unknown {unknown[0]!r}; known are {', '.join(sorted(_KNOWN))}")
    template, field = given.get("template"), given.get("field")
    if not isinstance(template, str) or not _TEMPLATE.fullmatch(template):
        raise MaskingRuleError(f"exception {name}: template: expected the name of one template")
    reason = given.get("reason")
    if not isinstance(reason, str) or not MIN_REASON <= len(reason.strip()) <= MAX_REASON:
        raise MaskingRuleError(
            f"exception {name}: reason: expected {MIN_REASON} to {MAX_REASON} characters, for whoever agrees"
        )
    service = given.get("service") or ""
    if not isinstance(service, str) or len(service) > 200:
        raise MaskingRuleError(f"exception {name}: service: expected a name")
    return MaskingException(
        name, template, _field(name, field), service, _treatment(name, given.get("action")), reason.strip(),
        _moment(name, given.get("expires")),
    )  # fmt: skip


def _field(name: str, text: object) -> SegmentsPattern:
    try:
        found = parse_pattern(text if isinstance(text, str) else "")
    except BadPattern as error:
        raise MaskingRuleError(f"exception {name}: field: {error}") from error
    if not isinstance(found, SegmentsPattern) or any("*" in segment for segment in found.segments):
        raise MaskingRuleError(f"exception {name}: field: expected one field by its path, like o.Email, without `*`")
    return found


def _treatment(name: str, text: object) -> Treatment:
    try:
        found = parse_treatment(text if isinstance(text, str) else "")
    except BadAction as error:
        raise MaskingRuleError(f"exception {name}: action: {error}") from error
    if found.action is Action.DROP:
        raise MaskingRuleError(f"exception {name}: drop loosens nothing; write a rule")
    return found


def _moment(name: str, text: object) -> datetime:
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise MaskingRuleError(f"exception {name}: expires: expected a moment with its zone, like 2027-01-31T00:00:00Z")
    return moment
