"""Where a function's indirect jumps lead: the targets in the tables that its code names.

In come a function's code and the file's bytes, out come addresses, or None where a jump could not be followed. Compilers
turn a `switch` into `jmp` through a table of addresses, or of distances from the table (position-independent code); the
table's address is in the jump itself or in a `lea` before it. `code_sites` must know: an entry that a table leads back to
runs once a round of the loop, not once a call.
"""

from __future__ import annotations

from typing import Final

from agents.binaries.capstone_decoder import table_bases
from agents.binaries.elf_image import ElfImage
from agents.binaries.instructions import Branch, Flow

MAX_ENTRIES: Final = 4096  # of one table; the switch of a large interpreter has some hundreds
MAX_TABLES: Final = 256  # of one function


def table_targets(code: bytes, low: int, branches: tuple[Branch, ...], image: ElfImage) -> frozenset[int] | None:
    """Addresses within the code that tables lead to; None: the function jumps indirectly, and no table is found."""
    if not any(branch.flow is Flow.JUMP and branch.target is None for branch in branches):
        return frozenset()
    found: set[int] = set()
    for base in table_bases(code, low, image.machine)[:MAX_TABLES]:
        found |= _absolute(base, low, low + len(code), image) or _relative(base, low, low + len(code), image)
    return frozenset(found) or None


def _absolute(base: int, low: int, high: int, image: ElfImage) -> set[int]:
    """Entries up to the first that leads out of the function: that one belongs to something else."""
    found: set[int] = set()
    for index in range(MAX_ENTRIES):
        target = image.word(base + 8 * index)
        if target is None or not low <= target < high:
            break
        found.add(target)
    return found


def _relative(base: int, low: int, high: int, image: ElfImage) -> set[int]:
    found: set[int] = set()
    raw = image.read(base, 4 * MAX_ENTRIES)
    for at in range(0, len(raw) - 3, 4):
        target = base + int.from_bytes(raw[at : at + 4], "little", signed=True)
        if not low <= target < high:
            break
        found.add(target)
    return found
