"""When a rule holds: named, typed conditions over the facts of one request. No text is ever executed.

A fact that a permission never supplies leaves an allow without effect and a deny with it: what is not known is no
reason for a yes. A fact that comes later (the TTL stands in the body, the route decides before it is read) is
`pending`: the rule then travels in the Grant as one of its `Terms`, and the step that knows the facts confirms them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from language.durations import render
from language.risk import RiskClass

_RANK: Final = {risk: rank for rank, risk in enumerate(RiskClass)}
ENVIRONMENT_LABELS: Final = ("environment", "env")  # the target labels that name an environment, in this order
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class Fact(StrEnum):
    HOURS = "hours"
    ENVIRONMENT = "environment"
    TTL = "ttl_at_most"
    LABELS = "labels"
    RISK = "risk_at_most"
    SERVICE = "service"
    TEMPLATE = "template"
    FIELD_CLASS = "field_class"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a request. `pending` will be known before anything is done; None that is not pending never is."""

    at: datetime
    ttl: timedelta | None = None
    environment: str | None = None
    labels: Mapping[str, str] | None = None
    risk: RiskClass | None = None
    service: str | None = None
    template: str | None = None
    field_classes: frozenset[str] | None = None  # the masking rules that the columns stand under
    pending: frozenset[Fact] = frozenset()


@dataclass(frozen=True, slots=True)
class Hours:
    """From `start` to `end` in UTC; over midnight when `end` is the earlier one."""

    start: time
    end: time

    def contain(self, at: datetime) -> bool:
        now = at.astimezone(UTC).time()
        if self.start <= self.end:
            return self.start <= now < self.end
        return now >= self.start or now < self.end

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"


@dataclass(frozen=True, slots=True)
class Condition:
    """All that is set must hold; nothing set always holds."""

    hours: Hours | None = None
    environment: tuple[str, ...] = ()
    ttl_at_most: timedelta | None = None
    labels: tuple[tuple[str, str], ...] = ()
    risk_at_most: RiskClass | None = None
    service: tuple[str, ...] = ()
    template: tuple[str, ...] = ()
    field_class: tuple[str, ...] = ()  # of a deny only: what holds any of them
    _spoken: tuple[Fact, ...] = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "_spoken", tuple(fact for fact in Fact if getattr(self, fact.value)))

    def facts(self) -> tuple[Fact, ...]:
        """The facts it speaks of."""
        return self._spoken

    def failing(self, facts: Facts) -> tuple[Fact, ...]:
        """Those of its parts that do not hold; a pending one is not among them."""
        return tuple(fact for fact in self._spoken if fact not in facts.pending and not self._holds(fact, facts))

    def words(self) -> str:
        """One line, the same for equal conditions."""
        parts = {
            Fact.HOURS: str(self.hours) if self.hours else "",
            Fact.ENVIRONMENT: "|".join(self.environment),
            Fact.TTL: render(self.ttl_at_most) if self.ttl_at_most else "",
            Fact.LABELS: ",".join(f"{key}={value}" for key, value in self.labels),
            Fact.RISK: self.risk_at_most or "",
            Fact.SERVICE: "|".join(self.service),
            Fact.TEMPLATE: "|".join(self.template),
            Fact.FIELD_CLASS: "|".join(self.field_class),
        }
        return " ".join(f"{fact}:{text}" for fact, text in parts.items() if text)

    def needs(self, fact: Fact) -> str:
        """What a person would have to change to satisfy one part."""
        match fact:
            case Fact.HOURS:
                return f"ask between {self.hours} UTC"
            case Fact.ENVIRONMENT:
                return f"narrow the target to environment={' or '.join(self.environment)}"
            case Fact.TTL:
                return f"ask for a ttl of at most {render(self.ttl_at_most or timedelta(0))}"
            case Fact.LABELS:
                return "narrow the target to " + " and ".join(f"{key}={value}" for key, value in self.labels)
            case Fact.RISK:
                return f"use a template of risk class {self.risk_at_most} or less"
            case Fact.SERVICE:
                return f"target the service {' or '.join(self.service)}"
            case Fact.TEMPLATE:
                return f"use the template {' or '.join(self.template)}"
            case Fact.FIELD_CLASS:
                return f"read what holds {' or '.join(self.field_class)}"

    def _holds(self, fact: Fact, facts: Facts) -> bool:
        match fact:
            case Fact.HOURS:
                return self.hours is not None and self.hours.contain(facts.at)
            case Fact.ENVIRONMENT:
                return facts.environment in self.environment
            case Fact.TTL:
                return facts.ttl is not None and self.ttl_at_most is not None and facts.ttl <= self.ttl_at_most
            case Fact.LABELS:
                return facts.labels is not None and all(facts.labels.get(key) == value for key, value in self.labels)
            case Fact.RISK:
                return (
                    facts.risk is not None
                    and self.risk_at_most is not None
                    and _RANK[facts.risk] <= _RANK[self.risk_at_most]
                )
            case Fact.SERVICE:
                return facts.service in self.service
            case Fact.TEMPLATE:
                return facts.template in self.template
            case Fact.FIELD_CLASS:
                return facts.field_classes is not None and not facts.field_classes.isdisjoint(self.field_class)


def environment_of(labels: Mapping[str, str]) -> str | None:
    """The environment that a target is bound to: the agent matches labels, so nothing else can be reached by it."""
    return next((labels[name] for name in ENVIRONMENT_LABELS if name in labels), None)
