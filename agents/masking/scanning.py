"""A batch's distinct texts -> which detectors each of them needs, in one pass over all of them joined.

Vectorscan (through `hyperscan`) runs every trigger at once, its speed does not depend on their number. Texts stand
between line feeds, so a trigger may ask for a boundary, and a match that spans two texts costs one look in vain.
Where the library is missing, RE2 sets of at most 25 triggers do the same, more slowly. Both are linear in the input.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agents.masking import scanner_file
from agents.masking.detectors import ALL, DETECTORS
from agents.memory import give_back

FEW: Final = 1000  # texts, a third of a millisecond each without triggers; compiling them takes a second or two
COMPILE_SECONDS: Final = 60.0  # it takes two, and eight on a busy machine
CHUNK: Final = 32_768  # values scanned in one call, so that a time budget is looked at in between
SET_SIZE: Final = 25  # triggers of one RE2 set: beyond about 40 its automaton outgrows any memory and it crawls
SET_MEMORY: Final = 64 << 20  # bytes

# Base64 of ASCII: three bytes with their highest bit clear and none below a space leave few choices for each character.
_BASE64_OF_TEXT: Final = (
    r"(?:[I-Za-f][C-HS-Xi-nyz0-3][ABEFIJMNQRUVYZcdghklopstwx014589][A-Za-z0-9+/_\-]){3}|[Bb]asic [A-Za-z0-9+/]{6}"
)
# What is no entity but needs a second look, numbered after the detectors.
_SIGNS: Final = {
    "unusual": r"[^\t\n\r\x20-\x7e]",  # `normalising` has work to do
    "escaped": r"%[0-9A-Fa-f]{2}|\\[ux][0-9A-Fa-f]{2}|&#[0-9x]|[0-9]\+[0-9]|\\[\"\\/]",
    "base64": _BASE64_OF_TEXT,
    "hex": r"\n(?:[2-7][0-9a-f]){6}|(?:[2-7][0-9a-f]){10}|(?:[2-7][0-9A-F]){10}",  # bytes that are ASCII text
}
TRIGGERS: Final[tuple[str, ...]] = (*(detector.trigger for detector in DETECTORS), *_SIGNS.values())
UNUSUAL, ESCAPED, BASE64, HEX = (1 << len(DETECTORS) + position for position in range(len(_SIGNS)))
EVERYTHING: Final = ALL | UNUSUAL | ESCAPED | BASE64 | HEX
_ID_SPACE: Final = 1024  # more than there are triggers


class Scanner(Protocol):
    def bits(self, values: pa.Array) -> dict[int, int]:
        """Position of a value in a string array without nulls -> a bit for each trigger that matched; none is left out."""
        ...

    def bits_of(self, text: str) -> int: ...


class NoVectorscan(Exception):
    """The library is not there, or not for this processor, or bytes that were kept are of no use to it."""


class Vectorscan:
    """Made by `compiled` or `loaded`, both of which raise NoVectorscan."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self._one_scan = threading.Lock()

    @classmethod
    def compiled(cls, patterns: Sequence[str] = TRIGGERS) -> Self:
        hyperscan = _hyperscan()
        database = hyperscan.Database()
        try:
            database.compile(
                expressions=[pattern.encode() for pattern in patterns],
                ids=list(range(len(patterns))),
                elements=len(patterns),
                flags=[0] * len(patterns),
            )
        except hyperscan.HyperscanError as error:
            raise NoVectorscan(f"the triggers cannot be compiled: {error}") from error
        give_back()  # compiling needed 60 MB, the result has 3
        return cls(database)

    @classmethod
    def loaded(cls, data: bytes) -> Self:
        """What `serialised` gave, in a hundredth of the time that compiling takes."""
        hyperscan = _hyperscan()
        try:
            database = hyperscan.loadb(data, hyperscan.HS_MODE_BLOCK)
            database.scratch = hyperscan.Scratch(database)
        except hyperscan.HyperscanError as error:
            raise NoVectorscan(f"the bytes are damaged, or of another engine: {error}") from error
        return cls(database)

    def serialised(self) -> bytes:
        return bytes(_hyperscan().dumpb(self._database))

    def bits(self, values: pa.Array) -> dict[int, int]:
        count = len(values)
        if count == 0:
            return {}
        joined = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, count], pa.int32()), values), "\n")[0]
        lengths = pc.binary_length(values).to_numpy(zero_copy_only=False).astype(np.int64)
        starts = 1 + np.concatenate(([0], np.cumsum(lengths[:-1] + 1)))
        found = self._scan(b"".join((b"\n", joined.as_buffer(), b"\n")))
        if not found:
            return {}
        pairs = np.array(found, dtype=np.int64).reshape(-1, 2)
        places = np.maximum(np.searchsorted(starts, pairs[:, 1] - 1, side="right") - 1, 0)
        result: dict[int, int] = {}
        for pair in np.unique(places * _ID_SPACE + pairs[:, 0]).tolist():
            place, trigger = divmod(pair, _ID_SPACE)
            result[place] = result.get(place, 0) | 1 << trigger
        return result

    def bits_of(self, text: str) -> int:
        result = 0
        for trigger in set(self._scan(f"\n{text}\n".encode("utf-8", "surrogatepass"))[::2]):
            result |= 1 << trigger
        return result

    def _scan(self, data: bytes) -> list[int]:
        """Trigger and end of every match, one after the other."""
        found: list[int] = []
        with self._one_scan:  # a database has one scratch space, and several probes are masked at once
            self._database.scan(data, match_event_handler=_note, context=found)
        return found


class Re2Sets:
    def __init__(self, patterns: Sequence[str] = TRIGGERS) -> None:
        import re2

        self._sets: list[tuple[int, Any]] = []
        for first in range(0, len(patterns), SET_SIZE):
            options = re2.Options()
            options.max_mem = SET_MEMORY
            one = re2.Set.SearchSet(options)
            for pattern in patterns[first : first + SET_SIZE]:
                one.Add(pattern)
            one.Compile()
            self._sets.append((first, one))

    def bits(self, values: pa.Array) -> dict[int, int]:
        found = enumerate(map(self.bits_of, values.to_pylist()))
        return {position: bits for position, bits in found if bits}

    def bits_of(self, text: str) -> int:
        result = 0
        for first, one in self._sets:
            for trigger in one.Match(f"\n{text}\n") or ():
                result |= 1 << first + trigger
        return result


class Deferred:
    """Compiling a hundred triggers takes longer than a few texts do without them: so many ask every detector first."""

    def __init__(self, few: int = FEW, patterns: Sequence[str] = TRIGGERS) -> None:
        self._few = few
        self._patterns = patterns
        self._built: Scanner | None = None
        self._one_build = threading.Lock()
        self._folder: Path | None = None

    def kept_in(self, folder: Path) -> None:
        """Where the compiled scanner is looked for before it is built, and kept afterwards."""
        self._folder = folder

    def prepare(self) -> None:
        """Now, since rows will come: milliseconds when it was kept, seconds when not. Not for an event loop."""
        if self._folder is not None and self._patterns is TRIGGERS and not _is_kept(self._folder):
            _compile_apart(self._folder)
        self._build()

    def bits(self, values: pa.Array) -> dict[int, int]:
        if (built := self._ready(len(values))) is not None:
            return built.bits(values)
        return dict.fromkeys(range(len(values)), EVERYTHING)

    def bits_of(self, text: str) -> int:
        built = self._ready(1)
        return EVERYTHING if built is None else built.bits_of(text)

    def warm(self, texts: int) -> None:
        """Called before a time budget begins: so many texts are about to come."""
        if texts > self._few:
            self._build()

    def _ready(self, texts: int) -> Scanner | None:
        self._few -= texts
        return self._build() if self._few < 0 else self._built

    def _build(self) -> Scanner:
        with self._one_build:
            if self._built is None:
                try:
                    self._built = _vectorscan(self._patterns, self._folder)
                except NoVectorscan:
                    self._built = Re2Sets(self._patterns)
            return self._built


@lru_cache(maxsize=1)
def scanner() -> Deferred:
    """One for the process."""
    return Deferred()


def _vectorscan(patterns: Sequence[str], folder: Path | None) -> Vectorscan:
    """As it was kept in this folder, else compiled, and kept there."""
    if folder is None:
        return Vectorscan.compiled(patterns)
    made_of = _made_of(patterns)
    if (data := scanner_file.kept(folder, made_of)) is not None:
        with suppress(NoVectorscan):
            return Vectorscan.loaded(data)
    built = Vectorscan.compiled(patterns)
    scanner_file.keep(folder, made_of, built.serialised())
    return built


def _made_of(patterns: Sequence[str]) -> str:
    return scanner_file.fingerprint(f"hyperscan {_hyperscan().__version__}", patterns)


def _is_kept(folder: Path) -> bool:
    """Without the library there is nothing to keep."""
    with suppress(NoVectorscan):
        return scanner_file.kept(folder, _made_of(TRIGGERS)) is not None
    return True


def _compile_apart(folder: Path) -> None:
    """In another process; whatever goes wrong there is done here instead, at the price of its memory."""
    command = (sys.executable, "-m", "agents.masking.compile_scanner", str(folder))
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(command, check=False, timeout=COMPILE_SECONDS, capture_output=True)


def _hyperscan() -> Any:
    try:
        import hyperscan
    except ImportError as error:
        raise NoVectorscan("the package hyperscan is not installed") from error
    return hyperscan


def _note(trigger: int, _start: int, end: int, _flags: int, found: list[int]) -> None:
    found.append(trigger)
    found.append(end)
