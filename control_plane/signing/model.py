"""What is sealed beyond the plan itself, and the proof that it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from control_plane.foundation.identifiers import AgentId, SubjectId, TenantId
from control_plane.masking.model import FieldRule
from language.model import ParameterScalar, TargetSpec, Template


@dataclass(frozen=True)
class SealContext:
    """What one request adds to an approved, masked template. `audience` holds SPIFFE ids (`wire.identity.agent_uri`)."""

    tracepoint_id: str
    name: str
    version: int
    tenant: TenantId
    audience: tuple[str, ...]
    issued_at: datetime
    not_after: datetime
    ttl: timedelta
    target: TargetSpec
    requested_by: SubjectId
    table_version: int
    parameters: Mapping[str, ParameterScalar] = field(default_factory=dict)


@dataclass(frozen=True)
class SealedSpec:
    """A signed spec, on its way to agents.

    Proves: this server's spec key signed exactly these bytes, made from a MaskedPlan. The other members repeat what
    the payload says, for those who carry it; agents read the payload only. Minted by `control_plane.signing.service`.
    """

    envelope: bytes
    tracepoint_id: str
    version: int
    tenant: TenantId
    audience: tuple[str, ...]
    not_after: datetime
    digest: str  # "sha256:<hex>" of the payload


@dataclass(frozen=True)
class Unapproved:
    """A version under review as a dry run takes it: its bytes, its rules, its computed class. Proves no approval.

    Only `Signer.seal_dry_run` takes it, and what that signs no agent takes for a tracepoint.
    """

    template: Template
    canonical: bytes
    digest: str
    rules: tuple[FieldRule, ...]


@dataclass(frozen=True)
class SealedDryRun:
    """A signed look for one agent, good for seconds, of a payload type of its own.

    Minted by `control_plane.signing.service`.
    """

    envelope: bytes
    id: str
    agent: AgentId
    digest: str  # "sha256:<hex>" of the payload
