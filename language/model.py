"""One template, however it was written: the model behind YAML and PxL.

Entered by the front ends, left towards `control_plane.templates` (review) and `agents`
(binding to a binary). Frozen and plain: equality and the canonical bytes follow from the fields.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from fractions import Fraction
from typing import Final

DEFAULT_TTL: Final = timedelta(minutes=10)  # long enough for one look at an incident
DEFAULT_MAX_EVENTS_PER_SECOND: Final = 1000  # what a person can still make sense of, and a small ring holds
DEFAULT_MAX_HITS: Final = 100_000
DEFAULT_MAX_STRING: Final = 256  # bytes
DEFAULT_MAX_ITEMS: Final = 16
DEFAULT_MAX_DEPTH: Final = 3
DEFAULT_CPU: Final = 0.01  # of one core


class At(StrEnum):
    """Where in the function a probe fires."""

    ENTRY = "entry"
    RETURN = "return"
    ENTRY_AND_RETURN = "entry+return"
    LINE = "line"


class ParameterType(StrEnum):
    INT = "int"
    STRING = "string"
    BOOL = "bool"


ParameterScalar = int | str | bool


@dataclass(frozen=True)
class ParameterSpec:
    """What a requester may choose. Bounds are inclusive; a string has a length bound or a choice list."""

    name: str
    type: ParameterType
    default: ParameterScalar | None = None
    min: int | None = None
    max: int | None = None
    max_length: int | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class TargetSpec:
    """Which processes a template may be used on. Every field that is set must match; a request narrows it only."""

    service: str | None = None
    exe: str | None = None
    pids: tuple[int, ...] = ()
    language: str | None = None
    pod: str | None = None  # "namespace/prefix", PxL's PodProcess
    labels: tuple[tuple[str, str], ...] = ()
    shared_object: str | None = None


@dataclass(frozen=True)
class Capture:
    """One column: its name and the text of its expression (`language.expressions.parse` reads it)."""

    column: str
    expression: str


@dataclass(frozen=True)
class ProbeSpec:
    function: str
    at: At
    line: tuple[str, int] | None  # (file, line) when at is LINE
    where: str | None
    captures: tuple[Capture, ...]


@dataclass(frozen=True)
class LimitSpec:
    ttl: timedelta = DEFAULT_TTL
    max_events_per_second: int = DEFAULT_MAX_EVENTS_PER_SECOND
    sample: Fraction = Fraction(1)  # 1/N
    max_hits: int = DEFAULT_MAX_HITS
    max_string: int = DEFAULT_MAX_STRING
    max_items: int = DEFAULT_MAX_ITEMS
    max_depth: int = DEFAULT_MAX_DEPTH
    cpu: float = DEFAULT_CPU


@dataclass(frozen=True)
class Template:
    """A template as its author wrote it, with every default filled in."""

    name: str
    description: str
    labels: tuple[tuple[str, str], ...]
    parameters: tuple[ParameterSpec, ...]
    target: TargetSpec
    probe: ProbeSpec
    table: str
    masking: tuple[
        tuple[str, str], ...
    ]  # column -> action the author proposes (language.masking.parse_treatment reads it)
    limits: LimitSpec = field(default_factory=LimitSpec)


@dataclass(frozen=True)
class Position:
    """A place in a source text, counted from 1."""

    line: int
    column: int
