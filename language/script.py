"""What a source text asks for: probes to deploy, tracepoints to delete, tables to show.

Left by `front_end.load`; templates go to review, the rest to `control_plane.tracepoints` and the client.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from language.frame_syntax import Operation
from language.model import TargetSpec, Template


@dataclass(frozen=True)
class Deployment:
    """One tracepoint that the text asks for. Proves nothing about approval."""

    name: str  # of the tracepoint
    table: str
    template: Template
    target: TargetSpec
    ttl: timedelta


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
