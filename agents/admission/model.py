"""A specification that passed admission, why another one did not, and what this host allows.

`AdmittedSpec` leaves towards `agents.stages`; `HostPolicy` is read from the host's own file by `agents.settings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

from language.masking_rules import BoundRule
from language.model import LimitSpec, ParameterScalar, TargetSpec, Template

MAX_TTL: Final = timedelta(hours=24)  # a forgotten probe must not outlive the day it was asked for
MAX_SPEC_LIFETIME: Final = timedelta(days=7)  # not_after - issued_at; bounds how long a seen version is remembered
CLOCK_SKEW: Final = timedelta(minutes=5)  # hosts without working NTP drift by less
MIN_HASH_KEY: Final = 32  # bytes; a shorter HMAC-SHA256 key can be searched for


class RefusalReason(StrEnum):
    """Stable words: they stand in a NACK, in the audit log and in the texts people see."""

    TOO_BIG = "too_big"
    BAD_ENVELOPE = "bad_envelope"
    BAD_SIGNATURE = "bad_signature"
    BAD_SPEC = "bad_spec"
    WRONG_TENANT = "wrong_tenant"
    WRONG_AUDIENCE = "wrong_audience"
    DIGEST_MISMATCH = "digest_mismatch"
    BAD_TEMPLATE = "bad_template"
    REPLAYED = "replayed"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    OVER_LOCAL_LIMITS = "over_local_limits"
    DENIED_BY_HOST = "denied_by_host"
    BAD_PARAMETERS = "bad_parameters"
    UNMASKED_FIELD = "unmasked_field"
    WEAK_MASKING = "weak_masking"
    BAD_TARGET = "bad_target"
    NO_STATE = "no_state"
    ENDED = "ended"
    LOCKED = "locked"


class Refused(Exception):
    """A spec that this agent does not run. `reason` is stable, `detail` tells a person what came and what to do."""

    def __init__(self, reason: RefusalReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        # Which spec it was about, for the NACK. Of a bad signature only a claim; "" when not even that can be read.
        self.tracepoint_id = ""
        self.version = 0


HOST_OWNER: Final = "host_owner"  # an end that holds for every later version of a tracepoint too


class AlreadyEnded(Refused):
    """This version ran here and has ended for good, for instance by max_hits; no reproach to who sent it."""

    def __init__(self, end_reason: str) -> None:
        super().__init__(RefusalReason.ENDED, f"this version has run on this host and ended: {end_reason}")
        self.end_reason = end_reason


@dataclass(frozen=True)
class HostLimits:
    """The most this host gives to one probe, whoever signed it. Defaults are generous: the server's caps are lower."""

    ttl: timedelta = MAX_TTL
    max_events_per_second: int = 20_000  # a ring drained ten times a second holds this many small records
    max_hits: int = 10_000_000
    max_string: int = 4096  # bytes; one page a string
    max_items: int = 256
    max_depth: int = 8
    cpu: float = 0.05  # of one core
    host_cpu: float = 0.25  # of one core, all probes of the host together: five probes at their limit


@dataclass(frozen=True)
class HostPolicy:
    """What the host's owner says, over everybody's head. Patterns are shell globs over the whole name."""

    deny_functions: tuple[str, ...] = ()
    deny_paths: tuple[str, ...] = ()
    limits: HostLimits = field(default_factory=HostLimits)
    allow_unmasked: bool = True  # `probegate-agent try --unmasked`: root on this host could read the memory anyway
    allow_dry_runs: bool = False  # a reviewer's look at live calls, masked, of a version that nobody has approved yet

    def denied_function(self, function: str) -> str | None:
        """The pattern that denies it, or None."""
        return _first(self.deny_functions, function)

    def denied_path(self, path: str) -> str | None:
        return _first(self.deny_paths, path)


@dataclass(frozen=True)
class AdmittedRule:
    """The masking of one column. `key` is empty unless the action is token."""

    bound: BoundRule
    key: bytes = b""
    key_id: str = ""


@dataclass(frozen=True)
class AdmittedSpec:
    """A probe this agent may run until `not_after`.

    Proves: a pinned key signed it for this tenant and this agent; it is the newest version seen and in time; template,
    parameters, target, masking and limits agree with each other and with the host's policy. Does not prove that a
    process matches, that its executable is allowed by `HostPolicy.denied_path`, or that the function exists: the
    next steps do. Minted by `agents.admission.service` only.
    """

    tracepoint_id: str
    version: int
    tenant: str
    name: str
    requested_by: str
    template: Template
    template_digest: str
    parameters: Mapping[str, ParameterScalar]
    target: TargetSpec
    rules: tuple[AdmittedRule, ...]
    limits: LimitSpec  # the least of template and spec; `limits.ttl` is what was granted
    table: str
    table_version: int
    not_after: datetime
    remaining: timedelta  # from the moment of admission: the least of ttl (from first sight), not_after, the host's cap

    @property
    def content(self) -> tuple[object, ...]:
        """What the probe does, without how long: a higher version with equal content is a renewal."""
        shape = self.limits
        return (
            self.template_digest,
            tuple(sorted(self.parameters.items())),
            self.target,
            self.rules,
            (shape.max_events_per_second, shape.sample, shape.max_hits, shape.cpu),
            (shape.max_string, shape.max_items, shape.max_depth),
            (self.table, self.table_version),
        )


@dataclass(frozen=True)
class AdmittedDryRun:
    """A reviewer's look that this host allows: once, for seconds, a few rows.

    Proves: all that an AdmittedSpec does but an approval, that the host's owner allows dry runs, and that this one has not
    been here before. Never started as a tracepoint. Minted by `agents.admission.service` only.
    """

    spec: AdmittedSpec
    environment: str


def _first(patterns: tuple[str, ...], name: str) -> str | None:
    return next((pattern for pattern in patterns if fnmatchcase(name, pattern)), None)
