"""What a value is called -> the kinds of entities that its names vouch for, and whether the probe computed it."""

from __future__ import annotations

from functools import lru_cache

from agents.masking.detectors import vouched_by
from language.errors import TemplateError
from language.expressions import parse, walk
from language.masking_names import words
from language.syntax import Arithmetic


@lru_cache(maxsize=4096)
def vouched_by_names(names: tuple[str, ...]) -> frozenset[str]:
    """`names`: fields, types, functions, however they are written; their words are compared, in order."""
    text = " ".join(word for name in names for part in name.replace("/", ".").split(".") for word in words(part))
    return vouched_by(text)


@lru_cache(maxsize=1024)
def is_computed(expression: str) -> bool:
    """Whether arithmetic made the value: then no check digit says what went into it."""
    try:
        return any(isinstance(node, Arithmetic) for node in walk(parse(expression)))
    except TemplateError:  # parameters were put in, or it is no expression of ours: nothing is known of it
        return any(sign in expression for sign in "+-*/%")
