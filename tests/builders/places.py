"""Say a resolved place in a few characters, so that a test's expectation can be read: `0+8:rax 8+8:[rsp+16]`."""

from __future__ import annotations

from agents.absence import Absent
from agents.binaries.model import Constant, InMemory, InRegister, Location, Place, ResolvedProbe, Static


def place(of: Place) -> str:
    match of:
        case InRegister(register):
            return register.value
        case InMemory(register, displacement):
            return f"[{register.value}{displacement:+d}]"
        case Static(address):
            return f"@{address:#x}"
        case Constant(value):
            return f"={value}"
        case Absent(reason):
            return f"!{reason.value}"


def location(of: Location | Absent) -> str:
    if isinstance(of, Absent):
        return place(of)
    if len(of) == 1 and of[0].offset == 0:
        return place(of[0].place)
    return " ".join(f"{piece.offset}+{piece.size}:{place(piece.place)}" for piece in of)


def arguments(of: ResolvedProbe) -> dict[str, str]:
    return {variable.name or f"_{index}": location(variable.location) for index, variable in enumerate(of.arguments)}


def results(of: ResolvedProbe) -> list[str]:
    return [location(variable.location) for variable in of.results]
