"""What has to be approved by whom: policies/approvals.yaml and a tenant's own rules -> the Requirement of one plan.

Pure. Classes come from `language.risk`; rules match like CODEOWNERS, by globs on the function, the executable and the
template's name. Everything that matches holds, and joining two requirements never asks for less than either: so neither
a tenant's rule nor a later, laxer one can lower what was in force. `counting` holds approvals against it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import yaml

from language import durations
from language.durations import render
from language.errors import TemplateError
from language.model import Template
from language.risk import Risk, RiskClass

APPROVALS_FILE: Final = Path(__file__).resolve().parents[2] / "policies" / "approvals.yaml"
MAX_APPROVALS: Final = 10  # more would only make people approve unread
MAX_PROCESSES: Final = 1_000_000  # the guard of a fleet that needs none
MIN_SOAK: Final = timedelta(seconds=1)  # the agents say how they are every five seconds, and at once what went wrong
MAX_SOAK: Final = timedelta(hours=1)
MAX_GLOBS: Final = 32
MAX_GLOB: Final = 200
_RULE_KEYS: Final = frozenset({"name", "functions", "executables", "templates", "approvals", "roles", "requests"})
_CLASS_KEYS: Final = frozenset({"approvals", "roles", "goodFor", "requests"})


class BadApprovals(Exception):
    """The rules cannot be used as they stand; the text says which and what was expected."""


@dataclass(frozen=True)
class Requirement:
    """`approvals` people, among them one of each of `roles`, each not longer ago than `good_for`; `why` is for the reviewer.

    `requests`: how many people have to say yes to each single request for it, besides.
    """

    approvals: int
    roles: frozenset[str]
    good_for: timedelta
    why: tuple[str, ...]
    requests: int = 0

    def joined(self, other: Requirement) -> Requirement:
        """Both hold. Commutative, associative, idempotent, and never less than either."""
        return Requirement(
            approvals=max(self.approvals, other.approvals),
            roles=self.roles | other.roles,
            good_for=min(self.good_for, other.good_for),
            why=tuple(dict.fromkeys((*self.why, *other.why))),
            requests=max(self.requests, other.requests),
        )

    def document(self) -> dict[str, Any]:
        return {
            "approvals": self.approvals,
            "roles": sorted(self.roles),
            "good_for": render(self.good_for),
            "why": list(self.why),
            "requests": self.requests,
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Requirement:
        return cls(
            approvals=int(document["approvals"]),
            roles=frozenset(document["roles"]),
            good_for=durations.parse(document["good_for"]),
            why=tuple(document["why"]),
            requests=int(document.get("requests", 0)),  # versions from before requests had reviews
        )

    def words(self) -> str:
        people = f"{self.approvals} approval{'s' if self.approvals != 1 else ''}"
        among = f", among them a {' and a '.join(sorted(self.roles))}" if self.roles else ""
        each = f"; and {self.requests} for each request" if self.requests else ""
        return f"{people}{among}, each good for {render(self.good_for)}{each}"


@dataclass(frozen=True)
class OwnerRule:
    """Plans that match need this much more. A list of globs that is empty matches everything."""

    name: str
    functions: tuple[str, ...]
    executables: tuple[str, ...]
    templates: tuple[str, ...]
    approvals: int
    roles: frozenset[str]
    requests: int = 0

    def matches(self, template: Template) -> bool:
        return (
            _any(self.functions, template.probe.function)
            and _any(self.executables, template.target.exe or "")
            and _any(self.templates, template.name)
        )


@dataclass(frozen=True)
class FleetGuard:
    """A request that reaches more than `processes` needs `approvals` more people and goes out in stages, `soak` apart."""

    processes: int
    approvals: int
    soak: timedelta

    def joined(self, other: FleetGuard) -> FleetGuard:
        """Both hold: never laxer than either."""
        return FleetGuard(
            min(self.processes, other.processes), max(self.approvals, other.approvals), max(self.soak, other.soak)
        )


DEFAULT_GUARD: Final = FleetGuard(100, 1, timedelta(minutes=1))


@dataclass(frozen=True)
class ApprovalPolicy:
    classes: Mapping[RiskClass, Requirement]
    rules: tuple[OwnerRule, ...]
    review_lapses: timedelta
    request_lapses: timedelta = timedelta(hours=24)
    fleet_guard: FleetGuard = DEFAULT_GUARD

    def requirement(self, template: Template, risk: Risk, tenant_rules: Iterable[OwnerRule] = ()) -> Requirement:
        """What this plan needs."""
        found = self.classes[RiskClass.METADATA]
        for risk_class in sorted(risk.classes):
            found = found.joined(self.classes[risk_class])
        for whose, rules in (("platform", self.rules), ("tenant", tenant_rules)):
            for rule in rules:
                if rule.matches(template):
                    found = found.joined(
                        Requirement(
                            rule.approvals, rule.roles, found.good_for, (f"{whose} rule {rule.name}",), rule.requests
                        )
                    )
        return found


def load_approvals(text: str) -> ApprovalPolicy:
    """Raises BadApprovals."""
    document = yaml.safe_load(text)
    if not isinstance(document, dict) or document.get("kind") != "Approvals":
        raise BadApprovals("expected a document of kind Approvals")
    classes = document.get("classes")
    if not isinstance(classes, dict) or set(classes) != set(RiskClass):
        raise BadApprovals(f"classes: expected each of {', '.join(RiskClass)}")
    return ApprovalPolicy(
        classes={RiskClass(name): _class(str(name), body) for name, body in classes.items()},
        rules=tuple(owner_rule(rule) for rule in document.get("rules", [])),
        review_lapses=_duration("reviewLapses", document.get("reviewLapses")),
        request_lapses=_duration("requestLapses", document.get("requestLapses")),
        fleet_guard=fleet_guard(document.get("fleetGuard")),
    )


def read_approvals(path: Path | None = None) -> ApprovalPolicy:
    """The operator's own file, or the one that comes with the server. Raises BadApprovals."""
    path = path or APPROVALS_FILE
    try:
        return load_approvals(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BadApprovals(f"{path} cannot be read: {error}") from error


def fleet_guard(document: Any) -> FleetGuard:
    """Raises BadApprovals."""
    if not isinstance(document, dict) or set(document) != {"processes", "approvals", "soak"}:
        raise BadApprovals(f"fleetGuard: expected processes, approvals and soak; {document!r:.200} came")
    soak = _duration("fleetGuard.soak", document["soak"])
    if not MIN_SOAK <= soak <= MAX_SOAK:
        raise BadApprovals(f"fleetGuard.soak: expected {render(MIN_SOAK)} to {render(MAX_SOAK)}, {render(soak)} came")
    return FleetGuard(
        processes=_count("fleetGuard.processes", document["processes"], MAX_PROCESSES),
        approvals=_count("fleetGuard.approvals", document["approvals"], MAX_APPROVALS),
        soak=soak,
    )


def owner_rule(document: Mapping[str, Any]) -> OwnerRule:
    """Raises BadApprovals; strict, since a misspelt key must never be a missing approval."""
    if not isinstance(document, dict) or not set(document) <= _RULE_KEYS or not document.get("name"):
        raise BadApprovals(f"a rule has a name and of {', '.join(sorted(_RULE_KEYS))}; {document!r:.200} came")
    name = str(document["name"])[:63]
    return OwnerRule(
        name=name,
        functions=_globs(name, document.get("functions", [])),
        executables=_globs(name, document.get("executables", [])),
        templates=_globs(name, document.get("templates", [])),
        approvals=_count(f"{name}.approvals", document.get("approvals", 1), MAX_APPROVALS),
        roles=frozenset(_globs(name, document.get("roles", []))),
        requests=_count(f"{name}.requests", document.get("requests", 0), MAX_APPROVALS),
    )


def _class(name: str, body: Any) -> Requirement:
    if not isinstance(body, dict) or not set(body) <= _CLASS_KEYS:
        raise BadApprovals(f"class {name}: expected {', '.join(sorted(_CLASS_KEYS))}")
    return Requirement(
        approvals=_count(f"{name}.approvals", body.get("approvals"), MAX_APPROVALS),
        roles=frozenset(_globs(name, body.get("roles", []))),
        good_for=_duration(f"{name}.goodFor", body.get("goodFor")),
        why=(f"class {name}",),
        requests=_count(f"{name}.requests", body.get("requests", 0), MAX_APPROVALS),
    )


def _any(globs: tuple[str, ...], text: str) -> bool:
    return not globs or any(fnmatchcase(text, glob) for glob in globs)


def _globs(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_GLOBS or not all(isinstance(glob, str) for glob in value):
        raise BadApprovals(f"{name}: expected a list of at most {MAX_GLOBS} texts, {value!r:.200} came")
    if any(not glob or len(glob) > MAX_GLOB for glob in value):
        raise BadApprovals(f"{name}: a text has 1 to {MAX_GLOB} characters")
    return tuple(value)


def _count(name: str, value: Any, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise BadApprovals(f"{name}: expected a number from 0 to {most}, {value!r:.80} came")
    return value


def _duration(name: str, value: Any) -> timedelta:
    try:
        return durations.parse(str(value))
    except TemplateError as error:
        raise BadApprovals(f"{name}: {error}") from error
