"""A function's entry: a site where all its arguments are what the caller passed, and the cheaper ones that some plans allow.

In come a function and its arguments' places, out come the site that every plan may use and the choices that
`agents.compiler.sites` has. Each is checked against the call frame information: where that disagrees about the stack
pointer, the reading of the prologue is wrong, and the site is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agents.absence import Absent
from agents.binaries.code_sites import Candidate, entry_candidates
from agents.binaries.machine import STACK_POINTERS
from agents.binaries.model import (
    EntryChoice,
    InMemory,
    InRegister,
    Register,
    Site,
    Unresolved,
    UnresolvedReason,
    Variable,
)
from agents.binaries.probed_function import ProbedFunction

MAX_CHOICES: Final = 8  # each costs a look into the call frame information


def entry_sites(
    function: ProbedFunction, arguments: Sequence[Variable], kept: frozenset[Register] = frozenset()
) -> tuple[Site, tuple[EntryChoice, ...]]:
    """The entry for any plan, and choices for some, best first. `kept`: what must not have changed either.

    Raises Unresolved: no instruction runs exactly once a call.
    """
    choices = _choices(function)
    needed = _registers(arguments) | kept
    for choice in choices:
        if not (set(choice.changed) & needed or choice.stored or choice.moved):
            return choice.site, choices
    raise Unresolved(
        UnresolvedReason.NO_SITE,
        f"{function.name} has no instruction that runs exactly once a call before its arguments change; probe the function"
        " that calls it",
    )


def _choices(function: ProbedFunction) -> tuple[EntryChoice, ...]:
    found: list[EntryChoice] = []
    candidates = entry_candidates(function.body, function.symbols.get)
    for candidate in candidates:
        if len(found) < MAX_CHOICES or candidate is candidates[-1]:
            found += _choice(function, candidate)
    return tuple(found)


def _choice(function: ProbedFunction, candidate: Candidate) -> list[EntryChoice]:
    try:
        site = function.site(candidate.instruction.address)
    except Unresolved:
        return []
    if (site.cfa_register, site.cfa_displacement) != (
        function.machine.stack,
        function.machine.pushed + candidate.moved,
    ):
        return []
    changed = tuple(sorted(candidate.written))
    return [EntryChoice(site, changed, candidate.memory_written, candidate.moved)]


def _registers(arguments: Sequence[Variable]) -> set[Register]:
    places = [piece.place for v in arguments if not isinstance(v.location, Absent) for piece in v.location]
    return {place.register for place in places if isinstance(place, InRegister | InMemory)} - STACK_POINTERS
