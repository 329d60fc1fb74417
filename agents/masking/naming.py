"""What a value is called -> the kinds of entities that its names vouch for."""

from __future__ import annotations

from functools import lru_cache

from agents.masking.detectors import vouched_by
from language.masking_names import words


@lru_cache(maxsize=4096)
def vouched_by_names(names: tuple[str, ...]) -> frozenset[str]:
    """`names`: fields, types, functions, however they are written; their words are compared, in order."""
    text = " ".join(word for name in names for part in name.replace("/", ".").split(".") for word in words(part))
    return vouched_by(text)
