"""What callers send as JSON -> a body with the members it names and no others, of texts that every database can keep.

Every body of a route derives from `Body`; `http.asking_check` stops a start-up where one does not. Next: the route.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, model_validator

# PostgreSQL keeps no NUL in a text, and UTF-8 has no halves of surrogate pairs; JSON's \u escapes can name both.
_UNKEEPABLE: Final = frozenset({0, *range(0xD800, 0xE000)})


class Body(BaseModel):
    """A number is no text and 1 is no `true`: a closed set of words says `Field(strict=False)`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _keepable(cls, given: Any) -> Any:
        if not all(keepable(text) for text in _texts(given)):
            raise ValueError("a text holds NUL or half of a surrogate pair, which cannot be kept: take it out")
        return given


def keepable(text: str) -> bool:
    """Whether every database can keep this text as it is."""
    return _UNKEEPABLE.isdisjoint(map(ord, text))


def _texts(given: Any) -> list[str]:
    """Every text in a JSON value, keys too; without recursion, since a caller chooses how deep it is."""
    found, waiting = [], [given]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, dict):
            waiting.extend(value)
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return found
