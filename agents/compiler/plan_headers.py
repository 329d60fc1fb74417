"""Strings and lists have their pointer and length where their language puts them: bring both into one form.

In come the bytes of a value as they were copied, out comes where in the record its pointer and then its length stand, 8
bytes each. Used by `plan_places` and `plan_values`.
"""

from __future__ import annotations

from agents.binaries.model import PLAIN, Header
from agents.compiler.layout import Guards
from agents.compiler.reads import Compute, Steps
from agents.compiler.space import Space

WORD = 8


def canonical(space: Space, steps: Steps, header: Header, offset: int) -> tuple[int, Guards]:
    """The value's bytes stand at `offset`. The guards: an end before the beginning has no length."""
    if header == PLAIN:
        return offset, ()
    target = space.take(2 * WORD)
    steps.add(Compute(offset + header.pointer, target))
    if not header.unit:
        steps.add(Compute(offset + header.length, target + WORD))
        return target, ()
    status = space.status()
    start, end = offset + header.pointer, offset + header.length
    steps.add(Compute(end, target + WORD, minus=start, divisor=header.unit, status=status))
    return target, (status,)
