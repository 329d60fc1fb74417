"""A version of a template -> all that a reviewer decides by and that only other steps know.

Each field with its masking rule, its class and the type that a live agent found; who could run it and who could read its
rows; what the connected agents forecast. Nothing is armed for it and no value is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sqlalchemy import select
from wire.v1 import gateway_pb2

from control_plane.foundation.database import Database
from control_plane.foundation.errors import Conflict
from control_plane.foundation.identifiers import AgentId, TenantId
from control_plane.policy.model import Grant, Permission
from control_plane.policy.roles import RoleBook
from control_plane.policy.tables import MemberRow
from control_plane.templates.ports import Masks
from control_plane.templates.reading import version_of, version_row
from language import canonical
from language.masking import Action
from language.risk import RiskClass, assess

MAX_TEXT: Final = 1000  # characters of anything that an agent says
MAX_WHO: Final = 200


class Forecasters(Protocol):
    """`delivery.service.Fleet`."""

    async def forecasts(
        self, tenant: TenantId, question: gateway_pb2.ExplainQuestion
    ) -> tuple[tuple[AgentId, str, str], ...]: ...


@dataclass(frozen=True)
class Field:
    column: str
    expression: str
    type: str  # as the first agent that knows says; empty when none does
    action: str
    rule: str
    risk: RiskClass
    note: str  # why it is not readable there


@dataclass(frozen=True)
class Forecast:
    agent: str
    binds: bool
    processes: int
    sites: int
    trap_classes: tuple[str, ...]
    microseconds_per_call: float
    executable: str
    build_id: str
    problem: str


@dataclass(frozen=True)
class ReviewPage:
    fields: tuple[Field, ...]
    forecasts: tuple[Forecast, ...]
    who_can_run: tuple[str, ...]
    who_can_read: tuple[str, ...]


class Reviewing:
    def __init__(self, database: Database, masks: Masks, fleet: Forecasters, book: RoleBook) -> None:
        self._database = database
        self._masks = masks
        self._fleet = fleet
        self._book = book

    async def page(self, grant: Grant, name: str, version: int, service: str = "") -> ReviewPage:
        """As masking, members and agents are now. `service` names where to look. Raises NotFound, Conflict."""
        tenant = grant.resource.tenant
        async with self._database.transaction(tenant) as session:
            template = version_of(await version_row(session, tenant, name, version), ()).template
            rules = {rule.column: rule for rule in await self._masks.bound(session, tenant, template)}
            members = (
                await session.execute(
                    select(MemberRow.subject, MemberRow.role)
                    .where(MemberRow.tenant == tenant)
                    .order_by(MemberRow.subject)
                )
            ).all()
        if not rules:
            raise Conflict("masking refuses this template: see `probegate masking preview`", code="unmasked_field")
        risk = assess(template, list(rules.values()))
        question = gateway_pb2.ExplainQuestion(
            template=canonical.to_bytes(template),
            service=service,
            dropped=[column for column, rule in rules.items() if rule.action is Action.DROP],
        )
        answers = [
            (agent, _object(text), problem) for agent, text, problem in await self._fleet.forecasts(tenant, question)
        ]
        said = {
            str(capture.get("column")): capture
            for _, document, _ in reversed(answers)
            for capture in _objects(document.get("captures"))
        }
        return ReviewPage(
            fields=tuple(
                Field(
                    column=capture.column,
                    expression=capture.expression,
                    type=_text(said.get(capture.column, {}).get("type")),
                    action=str(rules[capture.column].treatment),
                    rule=rules[capture.column].rule,
                    risk=risk.of(capture.column),
                    note=_text(said.get(capture.column, {}).get("reason")),
                )
                for capture in template.probe.captures
            ),
            forecasts=tuple(_forecast(agent, document, problem) for agent, document, problem in answers),
            who_can_run=self._who(members, Permission.TRACEPOINT_REQUEST),
            who_can_read=self._who(members, Permission.RECORDS_READ),
        )

    def _who(self, members: Any, permission: Permission) -> tuple[str, ...]:
        """By the roles of now; requests are decided one by one all the same."""
        held: dict[str, tuple[str, ...]] = {}
        for subject, role in members:
            held[subject] = (*held.get(subject, ()), role)
        able = [
            subject
            for subject, roles in held.items()
            if any(permission in self._book.roles[role].allow for role in self._book.closure(roles))
            and not self._book.denying(roles, permission)
        ]
        return tuple(able[:MAX_WHO])


def _forecast(agent: str, document: Mapping[str, Any], problem: str) -> Forecast:
    traps = document.get("trap_classes")
    return Forecast(
        agent=agent,
        binds=document.get("binds") is True,
        processes=_number(document.get("processes")),
        sites=_number(document.get("sites")),
        trap_classes=tuple(_text(trap) for trap in traps[:10]) if isinstance(traps, list) else (),
        microseconds_per_call=float(_number(document.get("microseconds_per_call"), whole=False)),
        executable=_text(document.get("executable")),
        build_id=_text(document.get("build_id")),
        problem=_text(problem or document.get("problem")),
    )


def _object(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        found = {}
    return found if isinstance(found, dict) else {}


def _objects(found: Any) -> list[Mapping[str, Any]]:
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _text(found: Any) -> str:
    text = found if isinstance(found, str) else ""
    return "".join(letter if letter.isprintable() else "�" for letter in text[:MAX_TEXT])


def _number(found: Any, *, whole: bool = True) -> Any:
    known = isinstance(found, int if whole else int | float) and not isinstance(found, bool)
    return min(max(found, 0), 1 << 53) if known else 0
