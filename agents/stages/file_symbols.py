"""The functions of one mapped file by address, as arrays: a name becomes a string when a stack asks for it.

Enters: how to open the file. Leaves: FileSymbols for `symbols`, or nothing for a file that is no ELF. Read once a file.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from agents.binaries.elf_image import STT_FUNC, ElfImage, opened
from agents.binaries.model import Unresolved
from agents.stages.demangling import demangled

MAX_FILES: Final = 64  # an executable and its libraries, of a few services
MAX_STRINGS: Final = 64 << 20  # bytes of names; a browser's, with all its symbols, would fill the agent's memory
MAX_GAP: Final = 1 << 16  # bytes after a symbol of unknown size that may still be its function (hand-written assembly)


class FileSymbols:
    """`build_id` names the file wherever it is copied to."""

    def __init__(self, image: ElfImage) -> None:
        self.build_id = image.identity.build_id
        self._segments = image.segments
        self._starts, self._ends, self._names, self._strings = _functions(image)

    def address_of(self, offset: int) -> int | None:
        """Where the linker put what stands at this offset of the file."""
        for segment in self._segments:
            if segment.executable and segment.offset <= offset < segment.offset + segment.size:
                return offset - segment.offset + segment.address
        return None

    def function_at(self, address: int) -> tuple[str, int] | None:
        """(name, its first address)."""
        index = int(np.searchsorted(self._starts, address, side="right")) - 1
        if index < 0 or address >= int(self._ends[index]):
            return None
        at = int(self._names[index])
        name = self._strings[at : self._strings.find(b"\0", at)].decode("utf-8", "replace")
        return demangled(name), int(self._starts[index])


_Key = tuple[int, int, int, int]  # device, inode, and time and size of its content: an inode is used again
_FILES: Final[OrderedDict[_Key, FileSymbols | None]] = OrderedDict()


def symbols_of(ways: Iterable[str], inode: int) -> FileSymbols | None:
    """By the first of these paths that opens that file. None when none does, or it is no ELF file of this machine."""
    for path in ways:
        try:
            status = os.stat(path)  # noqa: PTH116 -- it is opened by this very string
        except OSError:
            continue
        if status.st_ino == inode:
            return _remembered(path, (status.st_dev, inode, status.st_mtime_ns, status.st_size))
    return None


def _remembered(path: str, key: _Key) -> FileSymbols | None:
    if key not in _FILES:
        _FILES[key] = _read(path)
        while len(_FILES) > MAX_FILES:
            _FILES.popitem(last=False)
    _FILES.move_to_end(key)
    return _FILES[key]


def _read(path: str) -> FileSymbols | None:
    try:
        with opened(path) as image:
            return FileSymbols(image)
    except (OSError, ValueError, Unresolved):
        return None


_Addresses = npt.NDArray[np.uint64]


def _functions(image: ElfImage) -> tuple[_Addresses, _Addresses, npt.NDArray[np.uint32], bytes]:
    """Starts in order, ends, where the names are, the names."""
    symbols = image.symbols
    code = np.flatnonzero((symbols.kinds == STT_FUNC) & (symbols.values != 0))
    if len(symbols.strings) > MAX_STRINGS:
        code = code[:0]
    # Of several names for one place the last is taken: the one that people write, not the library's own (`_IO_fgets`).
    written = np.frombuffer(symbols.strings, dtype=np.uint8)[symbols.names[code]] != ord("_")
    code = code[np.lexsort((written, symbols.values[code]))]
    starts, sizes = symbols.values[code], symbols.sizes[code]
    following = np.append(starts[1:], starts[-1:] + np.uint64(MAX_GAP))
    unknown = np.minimum(following, starts + np.uint64(MAX_GAP))
    ends = np.where(sizes > 0, starts + sizes, unknown)
    return starts, ends, symbols.names[code], symbols.strings if len(code) else b"\0"
