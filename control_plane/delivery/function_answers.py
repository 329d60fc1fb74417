"""What agents answer to "which functions?" -> one list without repeats. Hostile bytes in, bounded plain values out.

An agent answers with the JSON that `probegate-agent functions -o json` prints. Names and types come from the symbols of
programs, which anybody may have written: control characters are taken out before somebody's terminal sees them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from control_plane.foundation.identifiers import AgentId

MAX_NAME: Final = 2048  # characters; mangled generic names get long
MAX_VALUES: Final = 64  # arguments or results of one function
MAX_LINE: Final = 1 << 31


class UnreadableAnswer(Exception):
    """An agent's answer is not the list that was agreed on."""


@dataclass(frozen=True)
class Value:
    name: str
    type: str


@dataclass(frozen=True)
class Function:
    name: str
    file: str
    line: int
    language: str
    arguments: tuple[Value, ...]
    results: tuple[Value, ...]
    inlined_copies: int


@dataclass(frozen=True)
class FunctionsOf:
    """What one agent answered, or why it did not."""

    agent: AgentId
    functions: tuple[Function, ...]
    problem: str


@dataclass(frozen=True)
class FoundFunction:
    """One function and the agents on whose hosts it is the same."""

    function: Function
    agents: tuple[AgentId, ...]


def read(text: str, limit: int) -> tuple[Function, ...]:
    """Raises UnreadableAnswer."""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableAnswer("the agent's answer is not JSON: update the agent") from error
    if not isinstance(parsed, list):
        raise UnreadableAnswer("the agent's answer is not a list of functions: update the agent")
    return tuple(_function(each) for each in parsed[:limit])


def merge(answers: Iterable[FunctionsOf]) -> tuple[FoundFunction, ...]:
    """Each function once, in the order in which the agents named them first."""
    found: dict[Function, list[AgentId]] = {}
    for answer in answers:
        for function in answer.functions:
            found.setdefault(function, []).append(answer.agent)
    return tuple(FoundFunction(function, tuple(dict.fromkeys(agents))) for function, agents in found.items())


def _function(came: Any) -> Function:
    if not isinstance(came, dict) or not isinstance(came.get("name"), str):
        raise UnreadableAnswer("the agent's answer holds something that is no function: update the agent")
    return Function(
        name=_text(came["name"]),
        file=_text(came.get("file")),
        line=_number(came.get("line")),
        language=_text(came.get("language")),
        arguments=_values(came.get("arguments")),
        results=_values(came.get("results")),
        inlined_copies=_number(came.get("inlined_copies")),
    )


def _values(came: Any) -> tuple[Value, ...]:
    listed = came[:MAX_VALUES] if isinstance(came, list) else []
    return tuple(Value(_text(each.get("name")), _text(each.get("type"))) for each in listed if isinstance(each, dict))


def _text(came: Any) -> str:
    return "".join(letter for letter in came[:MAX_NAME] if letter.isprintable()) if isinstance(came, str) else ""


def _number(came: Any) -> int:
    return came if isinstance(came, int) and not isinstance(came, bool) and 0 <= came < MAX_LINE else 0
