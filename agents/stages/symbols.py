"""Names for the addresses of a stack: those of the probed executable, from its own symbol table.

Addresses in shared libraries and in kernels stay numbers: a number is honest, a name from the wrong file is not. Read
once for a file, when the first stack comes.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache

from agents.binaries.elf_image import opened
from agents.binaries.function_names import symbol_functions
from agents.binaries.model import BinaryIdentity, Unresolved
from agents.stages.binding import BoundFile


class StackSymbols:
    """`agents.decoding.values.Symbolise` for the processes of one file."""

    def __init__(self, file: BoundFile) -> None:
        self._identity = file.resolved.binary
        self._biases = {process.pid: bias for process, bias in file.processes}

    def __call__(self, pid: int, address: int) -> str | None:
        bias = self._biases.get(pid)
        if bias is None:
            return None
        starts, names, ends = _symbols(self._identity)
        # A return address may be the first byte after a function that ends in a call: look at the call itself.
        index = bisect_right(starts, address - bias - 1) - 1
        if index < 0 or address - bias - 1 >= ends[index]:
            return None
        return f"{names[index]}+{address - bias - starts[index]:#x}"


@lru_cache(maxsize=8)  # executables whose stacks are being captured at once
def _symbols(identity: BinaryIdentity) -> tuple[list[int], list[str], list[int]]:
    try:
        with opened(identity.path) as image:
            found = sorted((each.address, each.name, each.address + each.size) for each in symbol_functions(image))
    except (OSError, Unresolved):
        return [], [], []  # it ended, and its file with it
    return [each[0] for each in found], [each[1] for each in found], [each[2] for each in found]
