"""Find the one function that a name means among a binary's symbols; refuse with the nearest names otherwise.

In come symbols, out come (name, address, size). A name is taken exactly; else as a whole-path suffix ("money.Sum" for
"example.com/shop/money.Sum"); for Go also without the brackets of its type arguments. Several matches are never guessed
between. What the address means is read by `go_functions` and `native_functions`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

import numpy as np

from agents.binaries.elf_image import STT_FUNC, ElfImage
from agents.binaries.model import Unresolved, UnresolvedReason

MAX_NAME: Final = 1000  # bytes of a function's name that is asked for; Rust's and C++'s get long
SHOWN: Final = 8  # names in an error text that a person still reads
COMPARED: Final = 4000  # names that difflib looks at: it takes some 20 us each

_BOUNDARIES: Final = ("/", ".", "::")
_BRACKETS: Final = re.compile(r"\[[^\[\]]*\]")


@dataclass(frozen=True, slots=True)
class NamedFunction:
    name: str
    address: int
    size: int  # bytes; 0: unknown


def symbol_functions(image: ElfImage) -> tuple[NamedFunction, ...]:
    """Every function symbol with code, in the table's order, one per name and address."""
    symbols = image.symbols
    wanted = np.flatnonzero((symbols.kinds == STT_FUNC) & (symbols.values != 0))
    strings, found = symbols.strings, {}
    starts, values, sizes = (
        symbols.names[wanted].tolist(),
        symbols.values[wanted].tolist(),
        symbols.sizes[wanted].tolist(),
    )
    for start, address, size in zip(starts, values, sizes, strict=True):
        name = strings[start : strings.find(b"\0", start)].decode("utf-8", "replace")
        found[name, address] = NamedFunction(name, address, size)
    return tuple(found.values())


def find(functions: Sequence[NamedFunction], asked: str, path: str) -> NamedFunction:
    """The function that `asked` means. Raises Unresolved: ambiguous, or no_function with the nearest names."""
    if not asked or len(asked) > MAX_NAME:
        raise Unresolved(
            UnresolvedReason.NO_FUNCTION, f"a function's name has 1 to {MAX_NAME} characters, got {len(asked)}"
        )
    for match in (_exactly, _as_suffix, _without_type_arguments):
        found = _distinct(match(functions, asked))
        if len(found) == 1:
            return found[0]
        if found:
            shown = ", ".join(sorted(f.name for f in found)[:SHOWN]) + (", …" if len(found) > SHOWN else "")
            raise Unresolved(
                UnresolvedReason.AMBIGUOUS,
                f"{asked!r} means {len(found)} functions of {path}; name one of them in full: {shown}",
            )
    raise Unresolved(UnresolvedReason.NO_FUNCTION, f"{path} has no function {asked!r}{nearest(functions, asked)}")


def nearest(functions: Sequence[NamedFunction], asked: str) -> str:
    """For the end of an error text: the names that are most like the one asked for."""
    tail, last = _tail(asked), _last_part(asked).lower()
    separator = "::" if "::" in tail else "."
    package = tail.rpartition(separator)[0]
    pool: dict[str, str] = {}  # what is compared -> the full name
    for function in functions:
        compared = _tail(readable(function.name))
        part = _last_part(compared).lower()
        if (package and compared.startswith(package + separator)) or last in part or part[:2] == last[:2]:
            pool.setdefault(compared, function.name)
            if len(pool) >= COMPARED:
                break
    shown = [pool[each] for each in difflib.get_close_matches(tail, pool, n=SHOWN, cutoff=0.5)]
    return (
        f"; the nearest names are {', '.join(shown)}"
        if shown
        else "; list its functions with `probegate-agent functions`"
    )


def readable(name: str) -> str:
    """Go escapes dots in the last element of a package path: gopkg.in/yaml%2ev3.Unmarshal."""
    return unquote(name) if "%" in name else name


def without_type_arguments(name: str) -> str:
    """main.(*box[go.shape.string]).get -> main.(*box).get"""
    previous = ""
    while previous != name:
        previous, name = name, _BRACKETS.sub("", name)
    return name


def _exactly(functions: Iterable[NamedFunction], asked: str) -> list[NamedFunction]:
    return [f for f in functions if f.name == asked or (("%" in f.name) and readable(f.name) == asked)]


def _as_suffix(functions: Iterable[NamedFunction], asked: str) -> list[NamedFunction]:
    ends = tuple(boundary + asked for boundary in _BOUNDARIES)
    return [f for f in functions if f.name.endswith(asked) and readable(f.name).endswith(ends)]


def _without_type_arguments(functions: Iterable[NamedFunction], asked: str) -> list[NamedFunction]:
    bare = [f for f in functions if "[" in f.name]
    plain = [NamedFunction(without_type_arguments(f.name), f.address, f.size) for f in bare]
    written = [NamedFunction(f.name.replace("go.shape.", ""), f.address, f.size) for f in bare]
    for names in (plain, written):
        found = {f.address for f in (_exactly(names, asked) or _as_suffix(names, asked))}
        if found:
            return [f for f in bare if f.address in found]
    return []


def _distinct(found: list[NamedFunction]) -> list[NamedFunction]:
    return list({f.address: f for f in found}.values())


def _last_part(name: str) -> str:
    return without_type_arguments(name).rsplit(".", 1)[-1].rsplit("::", 1)[-1]


def _tail(name: str) -> str:
    """Without the path of its package, or with the innermost scope only: money.Sum, Order::total"""
    return "::".join(name[name.rfind("/") + 1 :].split("::")[-2:])
