"""Names for the addresses of a stack, in the executable and in the shared libraries that its process has mapped.

    function+0x1f                 a symbol of the file that is mapped there, demangled
    libz.so.1[9c3f…]+0x4a10       none: the file's build-id and the place in it, for whoever has its symbols
    0x7f12…                       no file: code that was made at run time, or a process that is gone

Enters: pid and return address, from `agents.decoding.stacks`. A name from the wrong file would be worse than a number:
what is mapped is read from the process, each file through the mapping itself, whatever its path means now.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agents.processes.model import Process
from agents.processes.proc import start_time
from agents.stages.binding import BoundFile
from agents.stages.file_symbols import FileSymbols, symbols_of

MAX_PROCESSES: Final = 64  # whose mappings are remembered: as many as one probe has
MAX_MAPPINGS: Final = 4096  # executable ones; browsers have some hundreds
READ_AGAIN_SECONDS: Final = 1.0  # a library may be loaded at any time, but not at every address that nobody knows


@dataclass(frozen=True)
class _Mapping:
    """Executable pages of a file."""

    start: int
    end: int
    offset: int  # in the file
    name: str
    symbols: FileSymbols | None  # None: no file, or one that cannot be read


class StackSymbols:
    """`agents.decoding.values.Symbolise` for the processes of one probed file."""

    def __init__(self, file: BoundFile) -> None:
        self._processes = {process.pid: process for process, _ in file.processes}

    def __call__(self, pid: int, address: int) -> str | None:
        process = self._processes.get(pid)
        # A return address may be the first byte after a function that ends in a call: look at the call itself.
        mapping = _mapping_at(process, address - 1) if process is not None else None
        if mapping is None or mapping.symbols is None:
            return None
        at = mapping.symbols.address_of(address - 1 - mapping.start + mapping.offset)
        if at is None:
            return None
        found = mapping.symbols.function_at(at)
        if found is None:
            return f"{mapping.name}[{mapping.symbols.build_id}]+{at + 1:#x}"
        name, start = found
        return f"{name}+{at + 1 - start:#x}"


class _Mappings:
    """Of one process, as of `read_at`. Outlives it: the last rows are decoded after the end."""

    def __init__(self) -> None:
        self.read_at = float("-inf")
        self.starts: list[int] = []
        self.mappings: list[_Mapping] = []

    def at(self, address: int) -> _Mapping | None:
        index = bisect_right(self.starts, address) - 1
        return self.mappings[index] if index >= 0 and address < self.mappings[index].end else None

    def read(self, process: Process) -> None:
        """Again; what was known stays when the process has ended or is another one."""
        self.read_at = time.monotonic()
        folder = Path("/proc") / str(process.pid)
        try:
            lines = (folder / "maps").read_text(errors="replace").splitlines()
            found = [mapping for line in lines if (mapping := _parsed(folder, line)) is not None][:MAX_MAPPINGS]
            if start_time(folder) != process.start_ticks:
                return
        except (OSError, ValueError):
            return
        self.mappings = found
        self.starts = [mapping.start for mapping in found]


_KNOWN: Final[OrderedDict[tuple[int, int], _Mappings]] = (
    OrderedDict()
)  # (pid, start time), the one used last at the end


_ONE_AT_A_TIME: Final = threading.Lock()  # batches of several probes are decoded at once


def _mapping_at(process: Process, address: int) -> _Mapping | None:
    with _ONE_AT_A_TIME:
        return _looked_up(process, address)


def _looked_up(process: Process, address: int) -> _Mapping | None:
    key = process.pid, process.start_ticks
    known = _KNOWN.pop(key, None) or _Mappings()
    _KNOWN[key] = known
    while len(_KNOWN) > MAX_PROCESSES:
        _KNOWN.popitem(last=False)
    found = known.at(address)
    if found is None and time.monotonic() - known.read_at >= READ_AGAIN_SECONDS:
        known.read(process)
        found = known.at(address)
    return found


def _parsed(folder: Path, line: str) -> _Mapping | None:
    """`start-end perms offset device inode path` (proc_pid_maps(5)); None unless it is executable."""
    fields = line.split(maxsplit=5)
    if len(fields) < 5 or "x" not in fields[1]:
        return None
    start, end = (int(each, 16) for each in fields[0].split("-"))
    path = fields[5].removesuffix(" (deleted)") if len(fields) == 6 else ""
    inode = int(fields[4])
    # The link is the very mapping, but needs more capabilities than the path does; the path may mean another file now.
    ways = (f"{folder}/map_files/{start:x}-{end:x}", f"{folder}/root{path}")
    symbols = symbols_of(ways, inode) if inode else None
    return _Mapping(start, end, int(fields[2], 16), Path(path).name, symbols)
