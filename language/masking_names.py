"""What a field is called, and whether a masking pattern means it.

A field is a path of segments: `o.Card.Number` is ("o", "Card", "Number"); indices and slices add none, a map's key
adds one. Patterns travel as text in `PathRule.path`, so the control plane that binds them, the compiler that leaves
dropped bytes out and the agent's masking read them with this one module:

    Card.Number            from the start of the path; `*` is one segment, `**` any number of them
    words:cvv|card+number  the words of the path end with one of these, over camelCase, snake_case, kebab-case, acronyms
    words:^number          the same, but from the path's first word: what is left when the capture named the "card" before
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

WORDS_PREFIX: Final = "words:"
KIND_PREFIX: Final = "kind:"
ANY_DEPTH: Final = "**"
MAX_PATTERN: Final = 512  # characters: a whole list of words fits, and matching stays cheap
MAX_SEGMENTS: Final = 16  # deeper than any capture may go

# An acronym followed by a word (HTTPServer), a word with its digits (cvv2, Number), an acronym, digits alone.
_WORD: Final = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+[0-9]*|[A-Z]+[0-9]*|[0-9]+|[^\W\d_A-Za-z]+")
_WORD_TOKEN: Final = re.compile(r"\*?[a-z0-9]+\*?")
_SEGMENT: Final = re.compile(r"[^.\s|:\[\]]+")


class BadPattern(ValueError):
    """A pattern outside the grammar; `str()` says what was expected."""


@lru_cache(maxsize=4096)
def words(name: str) -> tuple[str, ...]:
    """The lower-case words of one identifier: `APIKey_v2` -> ("api", "key", "v2")."""
    return tuple(word.lower() for word in _WORD.findall(name))


@dataclass(frozen=True)
class Phrase:
    """Consecutive words; `anchored` ones start at the path's first word."""

    tokens: tuple[str, ...]
    anchored: bool = False

    def ends(self, path: Sequence[tuple[str, ...]]) -> bool:
        """Whether the phrase stands in the path's words and reaches into its last segment."""
        flat = [word for segment in path for word in segment]
        last = len(flat) - len(path[-1]) if path else 0
        starts = (0,) if self.anchored else range(len(flat) - len(self.tokens) + 1)
        return any(
            start + len(self.tokens) > last and self._stands(flat[start : start + len(self.tokens)])
            for start in starts
            if start + len(self.tokens) <= len(flat)
        )

    def after(self, path: Sequence[tuple[str, ...]]) -> tuple[Phrase, ...]:
        """What is left of the phrase for the names inside a value whose own path has these words."""
        flat = [word for segment in path for word in segment]
        if self.anchored:
            head, rest = self.tokens[: len(flat)], self.tokens[len(flat) :]
            return (Phrase(rest, anchored=True),) if rest and self._equal(head, flat) else ()
        begun = tuple(
            Phrase(self.tokens[taken:], anchored=True)
            for taken in range(1, min(len(flat), len(self.tokens) - 1) + 1)
            if self._equal(self.tokens[:taken], flat[-taken:])
        )
        return (self, *begun)

    def text(self) -> str:
        return ("^" if self.anchored else "") + "+".join(self.tokens)

    def _stands(self, found: Sequence[str]) -> bool:
        return self._equal(self.tokens, found)

    @staticmethod
    def _equal(tokens: Sequence[str], found: Sequence[str]) -> bool:
        return len(tokens) == len(found) and all(map(_is_word, tokens, found))


@dataclass(frozen=True)
class WordsPattern:
    phrases: tuple[Phrase, ...]

    def matches(self, path: Sequence[str]) -> bool:
        split = [words(segment) for segment in path]
        return bool(split) and any(phrase.ends(split) for phrase in self.phrases)

    def after(self, path: Sequence[str]) -> tuple[WordsPattern, ...]:
        split = [words(segment) for segment in path]
        left = tuple(dict.fromkeys(rest for phrase in self.phrases for rest in phrase.after(split)))
        return (WordsPattern(left),) if left else ()

    def text(self) -> str:
        return WORDS_PREFIX + "|".join(phrase.text() for phrase in self.phrases)


@dataclass(frozen=True)
class SegmentsPattern:
    segments: tuple[str, ...]

    def matches(self, path: Sequence[str]) -> bool:
        return any(not rest or set(rest) == {ANY_DEPTH} for rest in _consume(self.segments, tuple(path)))

    def after(self, path: Sequence[str]) -> tuple[SegmentsPattern, ...]:
        return tuple(SegmentsPattern(rest) for rest in sorted(_consume(self.segments, tuple(path))) if rest)

    def text(self) -> str:
        return ".".join(self.segments)


PathPattern = WordsPattern | SegmentsPattern


@lru_cache(maxsize=4096)
def parse_pattern(text: str) -> PathPattern:
    """Read a path pattern. Raises BadPattern."""
    if not text or len(text) > MAX_PATTERN:
        raise BadPattern(f"a path pattern has 1 to {MAX_PATTERN} characters; this one has {len(text)}")
    if text.startswith(WORDS_PREFIX):
        return words_pattern(text.removeprefix(WORDS_PREFIX).split("|"))
    segments = tuple(text.split("."))
    if len(segments) > MAX_SEGMENTS or not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise BadPattern(f"{text!r} is no path pattern: expected names or `*` or `**` with dots between, like o.Card.*")
    return SegmentsPattern(segments)


def words_pattern(phrases: Sequence[str]) -> WordsPattern:
    """A pattern of phrases, their words divided by spaces or `+`. Raises BadPattern."""
    read = []
    for phrase in phrases:
        tokens = tuple(re.split(r"[ +]", phrase.removeprefix("^")))
        if not all(_WORD_TOKEN.fullmatch(token) for token in tokens):
            raise BadPattern(f"{phrase!r} is no phrase: expected lower-case words divided by single spaces")
        read.append(Phrase(tokens, anchored=phrase.startswith("^")))
    if not read:
        raise BadPattern("a words pattern needs at least one word")
    return WordsPattern(tuple(read))


def path_matches(pattern: str, path: Sequence[str]) -> bool:
    """Whether the pattern means the field at `path`, segments relative to the captured value. Raises BadPattern."""
    return parse_pattern(pattern).matches(path)


def type_matches(pattern: str, type_name: str) -> bool:
    """Whether a DWARF type name is meant: `*` is any text; pointers, slices and arrays of a type count as the type."""
    bare = re.sub(r"^(?:\*|&|\[\d*\]|const |struct )+", "", type_name.strip()).removesuffix("*").strip()
    return glob_matches(pattern, bare) or glob_matches(pattern, type_name)


def glob_matches(pattern: str, text: str) -> bool:
    """Whether `text` is the pattern with any text for each `*`; in time linear in the text for each `*`."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    *middle, last = rest
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


def _is_word(token: str, word: str) -> bool:
    """Equal but for a plural `s` and trailing digits; a `*` at an end of the token leaves that end open."""
    if "*" in token:
        return glob_matches(token, word)
    return token in {word, word.rstrip("0123456789"), word.removesuffix("s")}


def _consume(pattern: tuple[str, ...], path: tuple[str, ...]) -> set[tuple[str, ...]]:
    """Every way the pattern can stand after the path was read: the rests of the pattern."""
    states = _closed({pattern})
    for segment in path:
        states = _closed(
            {
                rest if rest[0] == ANY_DEPTH else rest[1:]
                for rest in states
                if rest and (rest[0] == ANY_DEPTH or glob_matches(rest[0], segment))
            }
        )
    return states


def _closed(states: set[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """With `**` standing for nothing as well."""
    closed = set(states)
    for state in states:
        rest = state
        while rest and rest[0] == ANY_DEPTH:
            rest = rest[1:]
            closed.add(rest)
    return closed
