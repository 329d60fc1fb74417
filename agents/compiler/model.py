"""What a compilation starts from, and the program it ends in.

Entered by `agents.stages` with a ResolvedProbe and a CompileRequest, left towards `agents.runtime`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from language.expressions import Expression
    from language.model import At, LimitSpec


@dataclass(frozen=True)
class CaptureRequest:
    """One column. `expression` has its parameters bound already (no Param nodes)."""

    column: str
    expression: Expression


@dataclass(frozen=True)
class CompileRequest:
    """What to capture. A column whose masking rule is `drop` is not here: it is never read."""

    at: At
    where: Expression | None
    captures: tuple[CaptureRequest, ...]
    limits: LimitSpec
