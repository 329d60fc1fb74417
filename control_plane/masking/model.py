"""The rule of each column as the agent gets it, the proof that every column has one, and a tenant's own rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from control_plane.foundation.identifiers import SubjectId
from control_plane.templates.model import ApprovedTemplate
from language.masking import Action, Treatment
from language.masking_patterns import ValuePattern
from language.masking_rules import BoundPath, BoundRule, Rule
from language.model import Template


@dataclass(frozen=True)
class FieldRule:
    """`FieldRule` of the wire: what the agent does to one column, and to what lies inside it.

    `key` is the tenant's key of this epoch, set only where the rule or one inside it makes tokens.
    """

    column: str
    action: Action
    rule: str
    key: bytes = field(default=b"", repr=False)
    key_id: str = ""
    paths: tuple[BoundPath, ...] = ()
    argument: str = ""
    patterns: tuple[ValuePattern, ...] = ()

    @property
    def treatment(self) -> Treatment:
        return Treatment(self.action, self.argument)


@dataclass(frozen=True)
class MaskedPlan:
    """An approved template with a masking rule for each of its captures, in their order.

    Proves: every capture has a rule of the platform or the tenant, as they stood in this transaction; no condition
    asks about a value that is hidden. Does not prove that a rule finds all that is personal in a value.
    Minted by `control_plane.masking.service` only.
    """

    approved: ApprovedTemplate
    rules: tuple[FieldRule, ...]


@dataclass(frozen=True)
class TenantRule:
    """One rule of a tenant, with who wrote it. `revision` rises with every change."""

    rule: Rule
    document: dict[str, object]
    revision: int
    changed_by: SubjectId
    changed_at: datetime

    @property
    def etag(self) -> str:
        return str(self.revision)


@dataclass(frozen=True)
class Decided:
    """A text's one template and what would be decided for it now. Proves no approval: nothing can be sealed of it."""

    template: Template
    rules: tuple[BoundRule, ...]


@dataclass(frozen=True)
class Preview:
    """What masking would do to the columns of a template that is not approved yet; or why it would be refused."""

    template: str
    columns: tuple[BoundRule, ...]
    refusal: str
