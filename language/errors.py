"""What can be wrong with a template.

TemplateError            problem, line, column, and what to do
  ExpressionError        inside one expression
  UnsupportedName        PxL: a name outside the supported set, with the nearest supported one
"""

from __future__ import annotations

from language.model import Position


class TemplateError(Exception):
    """A template that cannot be used as it stands. `str()` is one line for a person."""

    def __init__(self, problem: str, position: Position | None = None) -> None:
        self.problem = problem
        self.position = position
        where = f"line {position.line}, column {position.column}: " if position else ""
        super().__init__(where + problem)


class ExpressionError(TemplateError):
    """An expression outside the language, or one that is used where it cannot be."""


class UnsupportedName(TemplateError):
    """A PxL name that Probegate does not offer."""
