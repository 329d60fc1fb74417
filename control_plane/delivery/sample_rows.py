"""A template and sample rows -> what masking would show of them, field by field, as an agent of the tenant does it.

Masking is done on hosts, by the agent's code and version, so a connected agent is asked; the control plane has no other
way to look into a value. The rows pass through its memory and are neither kept nor logged, here or there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from wire.v1 import gateway_pb2, spec_pb2

from control_plane.delivery.service import Fleet
from control_plane.foundation.errors import Conflict, DependencyUnavailable, Invalid
from control_plane.masking.model import Decided
from control_plane.masking.service import MaskingService
from control_plane.policy.model import Grant
from language import canonical
from language.masking_rules import BoundRule

MAX_ROWS: Final = 50
MAX_CHARACTERS: Final = 64 * 1024  # of all rows as JSON; the agent takes no more
_MAX_REASON: Final = 500

_Position = Annotated[int, Field(ge=0, le=MAX_CHARACTERS)]
_Word = Annotated[str, Field(max_length=200)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class NearMissOut(_Strict):
    """`why`: no keyword, keyword too far, checksum, or out of scope."""

    start: _Position
    end: _Position
    why: _Word
    kinds: list[_Word] = Field(max_length=200)


class FieldShown(_Strict):
    """What would be shown of one field. `spans` are the hidden parts: start, end (characters of the value), kind, action."""

    row: int = Field(ge=0, lt=MAX_ROWS)
    column: _Word
    path: str = Field(max_length=4096)
    shown: str | int | float | bool | None
    action: _Word
    rule: _Word
    spans: list[tuple[_Position, _Position, _Word, _Word]] = Field(max_length=2000)
    near: list[NearMissOut] = Field(max_length=100)


_ANSWER: Final = TypeAdapter(list[FieldShown])


class SamplePreviews:
    """Asks the agents that are connected to this replica, one after the other, until one answers."""

    def __init__(self, masking: MaskingService, fleet: Fleet) -> None:
        self._masking = masking
        self._fleet = fleet

    async def show(self, grant: Grant, source: str, rows: Sequence[dict[str, Any]]) -> tuple[FieldShown, ...]:
        """Raises InvalidTemplate, Invalid, Conflict when no agent is connected, DependencyUnavailable when none answers."""
        sent = json.dumps(list(rows))
        if len(sent) > MAX_CHARACTERS:
            raise Invalid(f"the rows have {len(sent)} characters as JSON, at most {MAX_CHARACTERS}: send fewer")
        decided = await self._masking.decided(grant, source)
        _refuse_other_columns(decided, rows)
        question = gateway_pb2.ExplainQuestion(
            template=canonical.to_bytes(decided.template), masking=[_rule(each) for each in decided.rules], rows=sent
        )
        problems: list[str] = []
        for agent in self._fleet.connected(grant.resource.tenant):
            text, problem = await self._fleet.ask_one(grant.resource.tenant, agent, question)
            try:
                if not problem:
                    return tuple(_ANSWER.validate_json(text))
            except ValidationError:
                problem = "it answered something else: update the agent"
            problems.append(f"{agent}: {problem[:_MAX_REASON]}")
        if not problems:
            raise Conflict(
                "no agent of this tenant is connected to mask the rows: start one with `probegate-agent run`, "
                "or use `probegate-agent mask`, which needs none",
                code="no_agents",
            )
        raise DependencyUnavailable(f"no agent could mask the rows: {problems[0]}")


def _refuse_other_columns(decided: Decided, rows: Sequence[dict[str, Any]]) -> None:
    columns = [rule.column for rule in decided.rules]
    for row in rows:
        if other := next((column for column in row if column not in columns), None):
            raise Invalid(f"the template has no column {other[:64]!r}, only {', '.join(columns)}")


def _rule(bound: BoundRule) -> spec_pb2.FieldRule:
    return spec_pb2.FieldRule(
        column=bound.column,
        action=bound.action.value,
        rule=bound.rule,
        argument=bound.argument,
        paths=[
            spec_pb2.PathRule(
                path=each.path, type=each.type, action=each.action.value, rule=each.rule, argument=each.argument
            )
            for each in bound.paths
        ],
        patterns=[spec_pb2.ValuePattern(rule=each.rule, regex=each.regex) for each in bound.patterns],
    )
