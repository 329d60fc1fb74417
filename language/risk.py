"""A template and the masking that is bound to it -> its risk class, and why: computed from the plan, never declared.

    metadata      counts, latencies, lengths, stacks: nothing that the program computed with
    masked        values, each under a masking rule
    raw           a value that leaves the host as it is, or so much text that no detector vouches for it
    kernel-wide   a cost that others than the target pay: a hot function of the runtime, a shared library, a high budget

A plan can be in several at once; the highest names it, and each asks for its own reviewers. An author may declare a
class in the label `risk`; one lower than the computed one is refused. Used at submission and again at every dispatch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

from language import expressions
from language.errors import TemplateError
from language.masking import Action
from language.masking_fields import references
from language.masking_model import BoundRule
from language.model import Template

LABEL: Final = "risk"  # in metadata.labels: what the author believes the class to be
LONG_TEXT: Final = 1024  # bytes; above it a string is a document, and finding what is personal in it is guessing
HIGH_RATE: Final = 10_000  # events a second after sampling: a tenth of what one ring and one decoder can take
HIGH_CPU: Final = 0.05  # of one core; five times the default
# Called so often that a probe is paid by everything else on the host's cores: allocation, copying, locks, scheduling.
HOT_FUNCTIONS: Final = (
    "runtime.*",
    "internal/runtime/*",
    "sync.(*Mutex).*",
    "sync/atomic.*",
    "malloc",
    "free",
    "calloc",
    "realloc",
    "memcpy",
    "memmove",
    "memset",
    "strlen",
    "strcmp",
    "pthread_mutex_*",
    "read",
    "write",
    "__rust_alloc",
    "__rust_dealloc",
)
# Runtime functions that run once a collection or less: what people do want to look at.
COOL_FUNCTIONS: Final = ("runtime.gcStart", "runtime.gcMarkTermination", "runtime.gcMarkDone", "runtime.stopTheWorld*")


class RiskClass(StrEnum):
    """From the least to the greatest."""

    METADATA = "metadata"
    MASKED = "masked"
    RAW = "raw"
    KERNEL_WIDE = "kernel-wide"


_RANK: Final = {risk: rank for rank, risk in enumerate(RiskClass)}


class UnderstatedRisk(TemplateError):
    """The author declared less than was computed."""


@dataclass(frozen=True)
class Reason:
    """One thing that puts the plan into a class. `column` is empty when it is the probe as a whole."""

    risk: RiskClass
    column: str
    why: str


@dataclass(frozen=True)
class Risk:
    reasons: tuple[Reason, ...]

    @property
    def classes(self) -> frozenset[RiskClass]:
        """Every class with a reason; `metadata` is always there."""
        return frozenset({RiskClass.METADATA, *(reason.risk for reason in self.reasons)})

    @property
    def risk_class(self) -> RiskClass:
        """The greatest."""
        return max(self.classes, key=_RANK.__getitem__)

    def of(self, column: str) -> RiskClass:
        """One column's own class."""
        own = [reason.risk for reason in self.reasons if reason.column == column]
        return max(own, key=_RANK.__getitem__, default=RiskClass.METADATA)


def assess(template: Template, rules: Sequence[BoundRule]) -> Risk:
    """What the plan can show and cost. A column without a rule in `rules` counts as raw: empty means no."""
    by_column = {rule.column: rule for rule in rules}
    reasons = [
        Reason(risk, capture.column, why)
        for capture in template.probe.captures
        for risk, why in [_of_capture(template, capture.expression, by_column.get(capture.column))]
    ]
    return Risk((*reasons, *_costs(template)))


def refuse_understated(template: Template, risk: Risk) -> None:
    """Raises UnderstatedRisk when the label `risk` says less than was computed, or no class at all."""
    declared = dict(template.labels).get(LABEL)
    if declared is None:
        return
    if declared not in set(RiskClass):
        raise UnderstatedRisk(f"the label {LABEL} is one of {', '.join(RiskClass)}; {declared[:40]!r} came")
    if _RANK[RiskClass(declared)] < _RANK[risk.risk_class]:
        worst = next(reason for reason in risk.reasons if reason.risk is risk.risk_class)
        where = f" ({worst.column})" if worst.column else ""
        raise UnderstatedRisk(
            f"{template.name} declares the risk {declared}, but its plan is {risk.risk_class}{where}: {worst.why}; "
            f"declare {risk.risk_class}, leave the label out, or capture less"
        )


def _of_capture(template: Template, text: str, rule: BoundRule | None) -> tuple[RiskClass, str]:
    parameters = [parameter.name for parameter in template.parameters]
    read = [reference for reference in references(expressions.parse(text, parameters)) if reference.kind is None]
    if not read:
        return RiskClass.METADATA, "no value of the program: a count, a time, an identifier or a stack"
    if rule is None:
        return RiskClass.RAW, "no masking rule covers it"
    if rule.action is Action.DROP:
        return RiskClass.METADATA, f"never read ({rule.rule})"
    if rule.action is Action.ALLOW:
        return RiskClass.RAW, f"leaves the host as it is ({rule.rule})"
    if rule.action is Action.DETECT and template.limits.max_string > LONG_TEXT:
        return (
            RiskClass.RAW,
            f"texts of up to {template.limits.max_string} bytes, more than {LONG_TEXT}: too long to vouch for",
        )
    return RiskClass.MASKED, f"{rule.treatment} ({rule.rule})"


def _costs(template: Template) -> Iterator[Reason]:
    function, limits, target = template.probe.function, template.limits, template.target
    cool = any(fnmatchcase(function, glob) for glob in COOL_FUNCTIONS)
    if not cool and any(fnmatchcase(function, glob) for glob in HOT_FUNCTIONS):
        yield Reason(RiskClass.KERNEL_WIDE, "", f"{function} is called by everything the program does")
    if target.shared_object is not None and not target.pids:
        yield Reason(RiskClass.KERNEL_WIDE, "", f"{target.shared_object} is shared: every process that maps it pays")
    if limits.max_events_per_second > HIGH_RATE:
        yield Reason(
            RiskClass.KERNEL_WIDE, "", f"up to {limits.max_events_per_second} events a second, over {HIGH_RATE}"
        )
    if limits.cpu > HIGH_CPU:
        yield Reason(RiskClass.KERNEL_WIDE, "", f"up to {limits.cpu:.0%} of a core, over {HIGH_CPU:.0%}")
