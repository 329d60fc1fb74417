"""What a value is called -> the kinds of entities that its names vouch for, and whether the probe computed it."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from agents.masking.detectors import vouched_by
from language.errors import TemplateError
from language.expressions import parse, walk
from language.masking_names import words
from language.syntax import Arithmetic, Builtin, Constant, Expression, Len

FIRST_DIGITS: Final = 10**6  # what of a card may be shown by PCI DSS 3.4: the first six digits ...
LAST_DIGITS: Final = 10**4  # ... and the last four
_QUOTIENTS: Final = frozenset({*(10**power for power in range(1, 19)), *(2**power for power in range(1, 63))})


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


@lru_cache(maxsize=1024)
def most_shown(expression: str) -> int | None:
    """The magnitude from which a computed integer is hidden, since it could be digits of a card; None: no such bound.

    A quotient by a power of ten or two may show as much as the first six digits, a remainder by a divisor of 10,000 the
    last four, of a value that nothing else was done to. Other divisions would give the digits between, or any digits by
    remainders of several columns: of them nothing is shown. Lengths and latencies are nobody's numbers.
    """
    try:
        tree = parse(expression)
    except TemplateError:
        return 0 if "//" in expression or "%" in expression else None
    if not any(isinstance(node, Arithmetic) and _divides(node) for node in walk(tree)):
        return None
    if isinstance(tree, Arithmetic) and isinstance(tree.right, Constant) and type(tree.right.value) is int:
        divisor, plain = tree.right.value, not any(isinstance(node, Arithmetic) for node in walk(tree.left))
        if plain and tree.op == "//" and divisor in _QUOTIENTS:
            return FIRST_DIGITS
        if plain and tree.op == "%" and divisor > 0 and LAST_DIGITS % divisor == 0:
            return LAST_DIGITS
    return 0


def _divides(node: Arithmetic) -> bool:
    """Whether digits of a captured value are taken apart: by anything but one."""
    unit = isinstance(node.right, Constant) and node.right.value == 1
    return node.op in {"//", "%"} and not unit and _holds_data(node.left)


def _holds_data(node: Expression) -> bool:
    if isinstance(node, Len | Builtin):
        return False
    if isinstance(node, Arithmetic):
        return _holds_data(node.left) or _holds_data(node.right)
    return not isinstance(node, Constant)
