"""What a source text asks for: probes to deploy, tracepoints to delete, tables to show.

Left by `front_end.load`; templates go to review, the rest to `control_plane.tracepoints` and the client.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from language.model import TargetSpec, Template
from language.syntax import Expression


@dataclass(frozen=True)
class Deployment:
    """One tracepoint that the text asks for. Proves nothing about approval."""

    name: str  # of the tracepoint
    table: str
    template: Template
    target: TargetSpec
    ttl: timedelta


@dataclass(frozen=True)
class Filter:
    """Rows for which this holds; a Name is a column."""

    condition: Expression


@dataclass(frozen=True)
class Select:
    """These columns, in this order."""

    columns: tuple[str, ...]


@dataclass(frozen=True)
class Drop:
    """All columns but these."""

    columns: tuple[str, ...]


@dataclass(frozen=True)
class Head:
    """The first rows."""

    rows: int


Operation = Filter | Select | Drop | Head


@dataclass(frozen=True)
class Display:
    """One table to show, under a name, after these operations in order."""

    table: str
    name: str
    operations: tuple[Operation, ...] = ()


@dataclass(frozen=True)
class Script:
    templates: tuple[Deployment, ...]
    deletions: tuple[str, ...] = ()
    displays: tuple[Display, ...] = ()
