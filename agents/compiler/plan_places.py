"""From a variable's places (registers, frame, statics) along an access's steps to the bytes of the value meant.

Pointers on the way are read once, however many columns pass through them. What `place` returns goes to `plan_values`,
which reads the value there as its type says. `guards` are the status bytes of the hops: one that is not OK says why the
value is absent.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from agents.absence import Absent, Reason
from agents.binaries import model as binary
from agents.binaries.model import Location, Piece, Variable
from agents.compiler.access import Access, Follow, Pick, Step, Within
from agents.compiler.extent import Extent
from agents.compiler.layout import Guards, Status
from agents.compiler.plan_headers import canonical
from agents.compiler.plan_values import WORD, copied, further
from agents.compiler.reads import (
    Address,
    AtLoaded,
    AtRegister,
    AtStatic,
    CheckIndex,
    Copy,
    StatusOk,
    Steps,
    StoreConstant,
    StoreRegister,
)
from agents.compiler.space import Block, Segment, Space


@dataclass(frozen=True)
class InVariable:
    """Bytes of the variable itself from `offset` on, wherever its pieces are."""

    location: Location
    offset: int


@dataclass(frozen=True)
class InMemory:
    """Behind a pointer that was followed (`nil`: what it means when that is nil)."""

    address: Address
    guards: Guards
    nil: Status | None = Status.NIL


Place = InVariable | InMemory


@dataclass
class Places:
    """Resolves accesses of one program; the reads of hops go to `steps`, their room comes from `space`."""

    space: Space
    steps: Steps
    _hops: dict[tuple[int, tuple[Step, ...]], Place | Absent] = field(default_factory=dict)

    def place(self, access: Access) -> Place | Absent:
        return self._at(access.variable, access.steps)

    def _at(self, variable: Variable, steps: tuple[Step, ...]) -> Place | Absent:
        if isinstance(variable.location, Absent):
            return variable.location
        if not steps:
            return InVariable(variable.location, 0)
        key = (id(variable), steps)
        if key not in self._hops:
            before = self._at(variable, steps[:-1])
            self._hops[key] = before if isinstance(before, Absent) else self._step(before, steps[-1])
        return self._hops[key]

    def _step(self, before: Place, step: Step) -> Place | Absent:
        match step:
            case Within(offset):
                if isinstance(before, InVariable):
                    return InVariable(before.location, before.offset + offset)
                return InMemory(further(before.address, offset), before.guards, before.nil)
            case Follow(offset):
                return self._follow(before, offset)
            case Pick():
                return self._pick(before, step)

    def _follow(self, before: Place, offset: int) -> Place | Absent:
        if isinstance(before, InVariable) and (piece := whole_word(before)) is not None:
            return InMemory(AtRegister(piece, offset), ())
        found = self.words(before, WORD)
        if isinstance(found, Absent):
            return found
        loaded, guards = found
        return InMemory(AtLoaded(loaded, offset), guards)

    def _pick(self, before: Place, step: Pick) -> Place | Absent:
        found = self.header(before, step.header)
        if isinstance(found, Absent):
            return found
        header, guards = found
        status = self.space.status()
        self.steps.under(*map(StatusOk, guards)).add(CheckIndex(header + WORD, step.index, status))
        return InMemory(AtLoaded(header, step.index * step.size), (*guards, status))

    def header(self, place: Place, header: binary.Header) -> tuple[int, Guards] | Absent:
        """Where in the record the pointer and then the length of the string or list at the place are."""
        found = self.words(place, header.span)
        if isinstance(found, Absent):
            return found
        steps = self.steps.under(*map(StatusOk, found[1]))
        offset, guards = canonical(self.space, steps, header, found[0])
        return offset, (*found[1], *guards)

    def words(self, place: Place, size: int) -> tuple[int, Guards] | Absent:
        """Copy `size` bytes at the place into the record: where they are there, and what guards them."""
        block = self.block(place, Extent(((0, size),), ()))
        found = block.find(0, size)
        if isinstance(found, Absent) or isinstance(place, InVariable):
            return found
        return found[0], (*place.guards, *found[1])

    def block(self, place: Place, ranges: Extent) -> Block:
        """Copy these ranges of the value at the place; the block's guards do not repeat the place's own."""
        if isinstance(place, InMemory):
            steps = self.steps.under(*map(StatusOk, place.guards))
            return copied(self.space, steps, place.address, ranges, place.nil)
        return self._gathered(place, ranges)

    def _gathered(self, place: InVariable, ranges: Extent) -> Block:
        """The wanted bytes of a variable, from the pieces that hold them; contiguous in the record as in the value."""
        segments = [Segment(low, high, 0, (), Absent(Reason.DROPPED)) for low, high in ranges.dropped]
        for low, high in ranges.wanted:
            base = self.space.take(high - low) - low
            for piece in _joined(place.location):
                begin = max(low, piece.offset - place.offset)
                end = min(high, piece.offset + piece.size - place.offset)
                if begin < end:
                    segments.append(self._piece(piece, begin + place.offset - piece.offset, begin, end, base))
        return Block(tuple(sorted(segments, key=lambda segment: segment.low)))

    def _piece(self, piece: Piece, skip: int, begin: int, end: int, base: int) -> Segment:
        """Bytes [begin, end) of the value are in this piece, after its first `skip` bytes."""
        size, target = end - begin, base + begin
        guards: Guards = ()
        match piece.place:
            case Absent() as absent:
                return Segment(begin, end, 0, (), absent)
            case binary.InRegister(register):
                if skip + size > WORD:
                    return Segment(begin, end, 0, (), Absent(Reason.UNSUPPORTED_LOCATION, "wider than a register"))
                self.steps.add(StoreRegister(register, skip, size, target))
            case binary.Constant(value):
                self.steps.add(StoreConstant(value >> (8 * skip), size, target))
            case binary.InMemory(register, displacement):
                guards = (self.space.status(),)
                self.steps.add(Copy(AtRegister(register, displacement + skip), size, target, guards[0], None))
            case binary.Static(address):
                guards = (self.space.status(),)
                self.steps.add(Copy(AtStatic(address + skip), size, target, guards[0], None))
        return Segment(begin, end, target, guards)


def whole_word(place: InVariable) -> binary.Register | None:
    """The register that holds all 8 bytes at the place."""
    for piece in place.location:
        if piece.offset == place.offset and piece.size >= WORD and isinstance(piece.place, binary.InRegister):
            return piece.place.register
    return None


def _joined(location: Location) -> tuple[Piece, ...]:
    """Pieces that follow one another in memory as in the value, as one: one copy instead of several."""
    joined: list[Piece] = []
    for piece in location:
        last = joined[-1] if joined else None
        if (
            last is not None
            and isinstance(piece.place, binary.InMemory)
            and isinstance(last.place, binary.InMemory)
            and piece.place.register is last.place.register
            and piece.place.displacement - last.place.displacement == piece.offset - last.offset
            and piece.offset == last.offset + last.size
        ):
            joined[-1] = Piece(last.offset, last.size + piece.size, last.place)
        else:
            joined.append(piece)
    return tuple(joined)
