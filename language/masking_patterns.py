"""A tenant's own detectors: regular expressions over values, for what only that tenant knows to be personal.

RE2 only, so their time is linear in the text, whoever wrote them; what could still cost too much is refused with the
reason. One engine for all who ask: the rule's own cases at approval, the agent's admission, masking on the host.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import re2

MAX_REGEX: Final = 512  # characters
MAX_PROGRAM: Final = 500  # RE2 instructions; where its automaton does not fit, each costs a step for every byte
MAX_PATTERNS: Final = 25  # of one tenant, one RE2 set: beyond about 40 its automaton outgrows any memory
MAX_FOUND: Final = 64  # of one pattern in one text; more would be quadratic, so the rest of the text is hidden
MAX_TAIL: Final = 128  # characters before the end of a cut text in which the beginning of a match is hidden
SET_MEMORY: Final = 64 << 20  # bytes; 25 patterns at the bound need 3 MB for the states RE2 asks for
_PATTERN_MEMORY: Final = 8 << 20  # bytes
_RANGE: Final = 10  # first bytes of a match that tell what may begin one
# Texts in which a pattern that can match nothing at all does: at an end, beside a word, beside a line's end.
_PROBES: Final = ("", "a", "1", " ", "a b", "\n", "-")
_ANY_BYTE: Final = re.compile(r"(?:^|[^\\])(?:\\\\)*\\C")


class BadRegex(ValueError):
    """A pattern that is not taken; `str()` says why."""


@dataclass(frozen=True)
class ValuePattern:
    """What `regex` finds in a value is replaced by the name of its rule ("tenant:employee-number")."""

    rule: str
    regex: str

    @property
    def word(self) -> str:
        """In lower case, with hyphens: never the word of a platform detector, which are in upper case."""
        return self.rule.rpartition(":")[2]


def check_regex(regex: str) -> None:
    """Raises BadRegex for what is no RE2, can match the empty text, or could cost too much."""
    _checked(regex)


class PatternSet:
    """At most MAX_PATTERNS patterns. Raises BadRegex: for one of them, or when there are too many."""

    def __init__(self, patterns: Sequence[ValuePattern]) -> None:
        if not 0 < len(patterns) <= MAX_PATTERNS:
            raise BadRegex(f"expected 1 to {MAX_PATTERNS} patterns of a tenant, got {len(patterns)}")
        self.patterns = tuple(patterns)
        self._engines = [_checked(pattern.regex) for pattern in patterns]
        options = _options(SET_MEMORY)
        self._set: Any = re2.Set.SearchSet(options)
        for position, pattern in enumerate(patterns):
            if self._set.Add(pattern.regex) != position:
                raise BadRegex(f"{pattern.rule}: RE2 does not take it into a set")
        self._set.Compile()
        self._begins = [_range(engine) for engine in self._engines]

    def hits(self, text: str) -> bool:
        return bool(self._set.Match(text.encode("utf-8", "replace")))

    def spans(self, text: str, over: Callable[[], bool] = bool) -> Iterator[tuple[int, int, ValuePattern]]:
        """Start, end and pattern of each match, pattern by pattern. Once `over` says so, all of the text."""
        text = text.encode("utf-8", "replace").decode()  # a lone surrogate is one character, before and after
        for position in sorted(self._set.Match(text.encode()) or ()):
            pattern = self.patterns[position]
            for count, found in enumerate(self._engines[position].finditer(text), 1):
                if over() or count > MAX_FOUND:
                    yield 0 if over() else found.start(), len(text), pattern
                    break
                if found.end() > found.start():
                    yield found.start(), found.end(), pattern

    def tail(self, text: str) -> int:
        """Where the last characters of a cut text may begin a match; its length if nowhere. Too early rather than too late."""
        for start in range(max(0, len(text) - MAX_TAIL), len(text)):
            head = text[start : start + _RANGE].encode("utf-8", "replace")[:_RANGE]
            if any(low[: len(head)] <= head <= high[: len(head)] for low, high in self._begins):
                return start
        return len(text)


@lru_cache(maxsize=256)
def pattern_set(patterns: tuple[ValuePattern, ...]) -> PatternSet:
    """One for each list of patterns in the process. Raises BadRegex."""
    return PatternSet(patterns)


def found_in(regex: str, text: str) -> bool:
    """Whether the pattern finds something. Raises BadRegex."""
    return next(pattern_set((ValuePattern("", regex),)).spans(text), None) is not None


@lru_cache(maxsize=512)
def _checked(regex: str) -> Any:
    if not 0 < len(regex) <= MAX_REGEX:
        raise BadRegex(f"a regex has 1 to {MAX_REGEX} characters; this one has {len(regex)}")
    try:
        regex.encode()
    except UnicodeEncodeError:
        raise BadRegex("a regex is valid UTF-8; this one has half of a surrogate pair") from None
    if _ANY_BYTE.search(regex):
        raise BadRegex(r"\C (any byte) can cut a character in two: write . or a class")
    try:
        engine: Any = re2.compile(regex, _options(_PATTERN_MEMORY))
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else error.args[0]
        raise BadRegex(f"{regex[:80]!r} is no RE2 pattern: {reason}; see github.com/google/re2/wiki/Syntax") from None
    inner = engine._regexp  # noqa: SLF001 -- the wrapper shows the size of one direction only
    if (size := max(inner.ProgramSize(), inner.ReverseProgramSize())) > MAX_PROGRAM:
        raise BadRegex(
            f"{regex[:80]!r} compiles to {size} instructions, at most {MAX_PROGRAM}: fewer or smaller repeats and classes"
        )
    if any(found.start() == found.end() for probe in _PROBES for found in engine.finditer(probe)):
        raise BadRegex(f"{regex[:80]!r} can match the empty text, so it would find something everywhere: use + for *")
    return engine


def _range(engine: Any) -> tuple[bytes, bytes]:
    """The least and the greatest that a match may begin with; everything where RE2 cannot tell."""
    known, low, high = engine._regexp.PossibleMatchRange(_RANGE)  # noqa: SLF001 -- the wrapper has it for whole texts only
    return (low, high) if known else (b"", b"\xff" * _RANGE)


def _options(memory: int) -> Any:
    options = re2.Options()
    options.max_mem = memory
    options.log_errors = False
    return options
