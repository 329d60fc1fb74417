"""Choose where the entry is probed: the cheapest place before which nothing that the plan reads has changed.

In comes a plan whose places hold at the function's first instruction, out comes the ResolvedProbe with its entry and with
its arguments' places expressed there. `agents.binaries` lists the places that every call passes exactly once, and what has
changed before each; what is read is known only here. Where nothing is cheaper the entry stays. `service` then plans again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from agents.absence import Absent
from agents.binaries.machine import FRAME_POINTERS, STACK_POINTERS
from agents.binaries.model import (
    EntryChoice,
    InMemory,
    InRegister,
    Location,
    Register,
    ResolvedProbe,
    ReturnMethod,
    Static,
    TrapClass,
    Variable,
)
from agents.compiler.access import Access, Within
from agents.compiler.model import Role
from agents.compiler.plan import Plan
from agents.compiler.predicate import (
    All,
    AnyOf,
    Combined,
    Compared,
    Inverted,
    IsNil,
    Loaded,
    Measured,
    Term,
    Test,
    TextIs,
    TextsEqual,
)
from agents.compiler.reads import (
    AtRegister,
    Body,
    Copy,
    CopyCounted,
    CopyText,
    Guarded,
    Read,
    StoreRegister,
    Switch,
    WalkStack,
)


@dataclass(frozen=True)
class Needs:
    """What the programs at the entry read. `returns_here`: a uretprobe there needs the return address on top."""

    registers: frozenset[Register]
    memory: bool
    returns_here: bool

    def allow(self, choice: EntryChoice) -> bool:
        return not (
            self.registers & set(choice.changed)
            or (self.memory and choice.stored)
            or (self.returns_here and choice.moved)
        )


def choose(resolved: ResolvedProbe, plan: Plan) -> ResolvedProbe:
    """The same probe at its best entry; itself when that is where it stands."""
    needed = needs(resolved, plan)
    choices = sorted(filter(needed.allow, resolved.entries), key=lambda c: c.site.trap_class is TrapClass.STEPPED)
    if not choices or choices[0].site.address == resolved.entry.address:
        return resolved
    best = choices[0]
    if best.site.trap_class is TrapClass.STEPPED and resolved.entry.trap_class is TrapClass.STEPPED:
        return resolved
    arguments = tuple(_moved(variable, best.moved) for variable in resolved.arguments)
    return replace(resolved, entry=best.site, arguments=arguments)


def needs(resolved: ResolvedProbe, plan: Plan) -> Needs:
    at_entry = plan.paired or plan.role is Role.ENTRY
    reads = list(_all(tuple(read for part in plan.entry for read in part.body))) if at_entry else []
    registers = {register for read in reads for register in _registers(read)}
    memory = any(isinstance(read, Copy | CopyCounted | CopyText) for read in reads)
    for access in _accesses((plan.test.entry, *plan.test.kept)) if at_entry else ():
        places = [] if isinstance(access.variable.location, Absent) else [p.place for p in access.variable.location]
        registers |= {place.register for place in places if isinstance(place, InRegister | InMemory)}
        memory |= any(isinstance(place, InMemory | Static) for place in places)
        memory |= any(not isinstance(step, Within) for step in access.steps)
    memory |= any(_reads_text_or_length(test) for test in _tests((plan.test.entry, *plan.test.kept)))
    if resolved.go is not None:
        registers |= {resolved.go.register}
    by_uretprobe = plan.role is Role.RETURN and resolved.return_method is ReturnMethod.URETPROBE
    return Needs(frozenset(registers - STACK_POINTERS), memory, by_uretprobe)


def _moved(variable: Variable, moved: int) -> Variable:
    if isinstance(variable.location, Absent) or not moved:
        return variable
    location: Location = tuple(
        replace(piece, place=InMemory(piece.place.register, piece.place.displacement + moved))
        if isinstance(piece.place, InMemory) and piece.place.register in STACK_POINTERS
        else piece
        for piece in variable.location
    )
    return replace(variable, location=location)


# --- what is read ------------------------------------------------------------------------------------------------


def _all(body: Body) -> Iterator[Read]:
    for read in body:
        match read:
            case Guarded(body=inner):
                yield from _all(inner)
            case Switch(cases=cases):
                for _, inner in cases:
                    yield from _all(inner)
            case _:
                yield read


def _registers(read: Read) -> Iterator[Register]:
    match read:
        case StoreRegister(register=register):
            yield register
        case Copy(address=AtRegister(register)) | CopyCounted(address=AtRegister(register)):
            yield register
        case CopyText(address=AtRegister(register)):
            yield register
        case WalkStack():
            yield from FRAME_POINTERS  # the chain of frames begins in it


def _tests(roots: tuple[Test | Term, ...]) -> Iterator[Test | Term]:
    for each in roots:
        yield each
        match each:
            case All(tests) | AnyOf(tests):
                yield from _tests(tests)
            case Inverted(inner):
                yield from _tests((inner,))
            case Compared(left=left, right=right) | Combined(left=left, right=right):
                yield from _tests((left, right))


def _accesses(roots: tuple[Test | Term, ...]) -> Iterator[Access]:
    for each in _tests(roots):
        match each:
            case Loaded(access=access) | Measured(access=access) | IsNil(access=access) | TextIs(text=access):
                yield access
            case TextsEqual(left, right):
                yield from (left, right)


def _reads_text_or_length(test: Test | Term) -> bool:
    """Text is behind a pointer; so is the length of a map, and asking for it costs nothing to be careful about."""
    return isinstance(test, TextIs | TextsEqual | Measured)
