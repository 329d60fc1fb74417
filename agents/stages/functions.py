"""The functions of an executable, as `probegate-agent functions -o json` and the gateway's FunctionsAnswer show them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Protocol

from agents.binaries.model import FunctionSummary

MAX_FUNCTIONS: Final = 1000  # a list that a person still scrolls through, and that fits into one message


class FunctionLister(Protocol):
    """`agents.binaries.service.Binaries`."""

    def functions(self, file: str, pattern: str | None, limit: int) -> tuple[FunctionSummary, ...]: ...


def as_json(functions: Iterable[FunctionSummary]) -> list[dict[str, Any]]:
    return [
        {
            "name": function.name,
            "file": function.file,
            "line": function.line,
            "language": function.language.value if function.language is not None else None,
            "arguments": [{"name": name, "type": kind} for name, kind in function.arguments],
            "results": [{"name": name, "type": kind} for name, kind in function.results],
            "inlined_copies": function.inlined_copies,
        }
        for function in functions
    ]
