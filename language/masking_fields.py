"""Which fields an expression shows: the paths that masking rules look at.

`o.Items[:8]` shows o.Items; `len(o.Items)` its length; `a.X + b.Y` both; `latency()` a value that no program chose.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from language.expressions import children
from language.masking_model import Kind
from language.syntax import Attribute, Builtin, Deref, Expression, Index, Len, Name, Ret, Slice

_BUILTIN_KINDS: Final = {
    "latency": Kind.LATENCY,
    "stack": Kind.STACK,
    "goid": Kind.IDENTIFIER,
    "pid": Kind.IDENTIFIER,
    "tid": Kind.IDENTIFIER,
    "comm": Kind.COMM,
}


@dataclass(frozen=True)
class Reference:
    """One field, or a builtin (then `path` is empty). `kind` is None for a value whose type the binary decides."""

    path: tuple[str, ...]
    kind: Kind | None = None

    @property
    def text(self) -> str:
        return ".".join(self.path) or str(self.kind)


def references(expression: Expression) -> Iterator[Reference]:
    """Every field and builtin that the expression reads, each by its longest path."""
    path = field_path(expression)
    if path is not None:
        yield Reference(path)
        return
    match expression:
        case Builtin(name):
            yield Reference((), _BUILTIN_KINDS[name])
        case Len(value):
            yield from (Reference(inside.path, Kind.LENGTH) for inside in references(value))
        case _:
            for child in children(expression):
                yield from references(child)


def field_path(expression: Expression) -> tuple[str, ...] | None:
    """The names that lead to a field; indices, slices and pointers add none. None when it is no plain field."""
    match expression:
        case Name(name):
            return (name,)
        case Ret(index):
            return (f"ret({index})",)
        case Attribute(value, field):
            path = field_path(value)
            return None if path is None else (*path, field)
        case Index(value) | Slice(value) | Deref(value):
            return field_path(value)
        case _:
            return None
