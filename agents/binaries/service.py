"""Resolve one function of one binary: addresses, types and places, or the reason why not.

1. elf_image         file                    -> ElfImage           or no_file, not_elf, wrong_machine
2. resolution_cache  build-id, size, mtime   -> ResolvedProbe      when it was asked before
3. function_names    name                    -> one symbol         or no_function, ambiguous
4. function_entries  address                 -> its debug entry    or no_debug_info, inlined_away
5. go_, native_      entry, code             -> places and sites   or no_site, unsupported_language
6. ResolvedProbe is minted here, and goes to `agents.compiler`
"""

from __future__ import annotations

import json
import platform
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from agents.binaries.elf_image import ElfImage, opened
from agents.binaries.function_listing import list_functions
from agents.binaries.machine import BY_NAME, X86_64, Machine
from agents.binaries.model import FunctionSummary, ResolvedProbe, Unresolved, UnresolvedReason
from agents.binaries.open_binary import OpenBinary
from agents.binaries.resolution import describe, open_function
from agents.binaries.resolution_cache import ResolutionCache
from language.model import At


class Binaries:
    """Reads binaries; keeps what it found below `cache`, bound to each file's build-id, size and time of change."""

    def __init__(self, cache: Path, machine: Machine | None = None) -> None:
        """`machine`: whose programs are read; this host's when None. Another one's can be looked at, never probed."""
        self._cache = ResolutionCache(cache)
        self._machine = machine or BY_NAME.get(platform.machine(), X86_64)

    def resolve(self, file: str, function: str, at: At, line: tuple[str, int] | None) -> ResolvedProbe:
        """Raises Unresolved. `line` is (file, line) and needed when `at` is LINE."""
        with _damage_named(file), opened(file, self._machine) as image:
            key = _key(image, "resolve", function, str(at), *(map(str, line or ())))
            known = self._cache.get(key)
            if isinstance(known, ResolvedProbe):
                return replace(known, binary=image.identity)
            resolved = _resolved(image, function, at, line)
            self._cache.put(key, resolved)
            return resolved

    def functions(self, file: str, pattern: str | None, limit: int) -> tuple[FunctionSummary, ...]:
        """Functions whose name contains `pattern` (or matches it as a glob), at most `limit`, sorted by name."""
        with _damage_named(file), opened(file, self._machine) as image:
            return list_functions(OpenBinary(image), pattern, limit)


def _resolved(image: ElfImage, name: str, at: At, line: tuple[str, int] | None) -> ResolvedProbe:
    binary = OpenBinary(image)
    function, language = open_function(binary, name)
    described = describe(function, language, at, line)
    copies, copies_note = function.inlined_sites()
    return ResolvedProbe(
        binary=image.identity,
        function=function.name,
        language=language,
        file=function.file,
        line=function.line,
        low_pc=function.low,
        high_pc=function.high,
        arguments=described.arguments,
        results=described.results,
        entry=described.entry,
        returns=described.returns,
        return_method=described.return_method,
        inlined_copies=copies,
        go=described.go,
        types=described.types,
        notes=(*described.notes, *copies_note),
        position_independent=image.position_independent,
        entries=described.entries,
    )


def _key(image: ElfImage, *question: str) -> str:
    """Everything that the answer depends on. Two files with one build-id differ in size or time of change."""
    status = image.status
    return json.dumps([image.identity.build_id, status.st_size, status.st_mtime_ns, *question])


@contextmanager
def _damage_named(file: str) -> Iterator[None]:
    """A file that contradicts its own format is refused as damaged, whichever reader stumbles over it."""
    try:
        yield
    except (ValueError, IndexError, KeyError, struct.error, OverflowError, RecursionError, MemoryError) as error:
        raise Unresolved(
            UnresolvedReason.DAMAGED,
            f"{file}: its symbols or debug information contradict their own format ({error}); rebuild it, or name another file",
        ) from error


__all__ = ["Binaries", "Unresolved", "UnresolvedReason"]
