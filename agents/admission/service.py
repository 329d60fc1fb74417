"""Admit a signed specification, or refuse it with a reason. Nothing about who delivered it counts.

     1. size and envelope     bytes are a small, well-formed DSSE envelope     too_big, bad_envelope
     2. signature             by a key this agent pinned when it enrolled      bad_signature
     3. payload               parses as wire.v1.ProbeSpec                      bad_spec
     4. tenant                is the agent's                                   wrong_tenant
     5. audience              names this agent                                 wrong_audience
     6. version               none newer was seen, restarts included           replayed, no_state
     7. time                  issued, not over                                 not_yet_valid, expired
     8. template              is the one whose digest was approved; parses     digest_mismatch, bad_template
     9. parameters            within the template's bounds                     bad_parameters
    10. target                within the template's target, and not empty      bad_target
    11. masking               one rule for each capture, none looser           unmasked_field, weak_masking
    12. host                  its limits and its deny lists                    over_local_limits, denied_by_host

What passes all of them is an AdmittedSpec; `agents.stages` goes on with it. What does not is answered with a NACK.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from google.protobuf.message import DecodeError
from wire.dsse import DRY_RUN_PAYLOAD_TYPE, MAX_ENVELOPE, SPEC_PAYLOAD_TYPE, BadEnvelope, open_envelope, unsafe_payload
from wire.v1 import spec_pb2

from agents.admission.host_rules import HostRules
from agents.admission.limits import effective_limits, refuse_over_limits
from agents.admission.model import (
    CLOCK_SKEW,
    MAX_SPEC_LIFETIME,
    AdmittedDryRun,
    AdmittedSpec,
    AlreadyEnded,
    HostPolicy,
    RefusalReason,
    Refused,
)
from agents.admission.rules import admitted_rules
from agents.admission.seen_versions import Ended, Replay, SeenVersions, StateUnusable, StoppedHere
from language import canonical, narrowing, parameters
from language.errors import TemplateError
from language.model import ParameterScalar, TargetSpec, Template

ENVIRONMENT_LABELS: Final = ("environment", "env")  # of a process, as the control plane reads them
DRY_RUN_PREFIX: Final = "dry_"  # of its id; no tracepoint has one
DRY_RUN_LIFETIME: Final = timedelta(seconds=60)  # a reviewer waits for it
DRY_RUN_HITS: Final = 20  # enough to see what the columns look like
MAX_IDENTIFIER: Final = 128  # bytes; ids and names are shown, logged and used as keys


@dataclass(frozen=True)
class Identity:
    """Who this agent is, as its certificate says."""

    tenant: str
    spiffe_id: str


class Admission:
    """The agent's gate. `keys` are those pinned at enrolment; none of them means that nothing is admitted."""

    def __init__(
        self,
        identity: Identity,
        keys: Mapping[str, Ed25519PublicKey],
        host: HostPolicy | HostRules,
        seen: SeenVersions,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._identity = identity
        self._keys = keys
        self._rules = host if isinstance(host, HostRules) else HostRules(host)
        self._seen = seen
        self._now = now

    @property
    def _host(self) -> HostPolicy:
        return self._rules.now

    def admit(self, envelope: bytes) -> AdmittedSpec:
        """Raises Refused. It names the spec; before the signature is checked, by what the envelope claims."""
        try:
            payload = self._opened(envelope)
        except Refused as refused:
            refused.tracepoint_id, refused.version = _claimed(envelope)
            raise
        spec = _parsed(payload)
        try:
            return self._checked(spec, payload)
        except Refused as refused:
            refused.tracepoint_id, refused.version = spec.tracepoint_id, spec.version
            raise

    def admit_dry_run(self, envelope: bytes) -> AdmittedDryRun:
        """A reviewer's look, once. Raises Refused. The bounds are this agent's own, whatever was signed."""
        if not self._host.allow_dry_runs:
            raise Refused(
                RefusalReason.DENIED_BY_HOST,
                "this host allows no dry runs: its owner writes `allowDryRuns: true` into the agent's file",
            )
        payload = self._opened(envelope, DRY_RUN_PAYLOAD_TYPE)
        try:
            run = spec_pb2.DryRun.FromString(payload)
        except DecodeError as error:
            raise Refused(RefusalReason.BAD_SPEC, f"the signed payload is no wire.v1.DryRun: {error}") from error
        spec = run.spec
        _refuse_unfit(spec)
        if not spec.tracepoint_id.startswith(DRY_RUN_PREFIX) or len(spec.audience) != 1 or not run.environment:
            raise Refused(
                RefusalReason.BAD_SPEC, "a dry run is for one agent, names its environment and its own kind of id"
            )
        if _moment(spec, "not_after") - _moment(spec, "issued_at") > DRY_RUN_LIFETIME:
            raise Refused(RefusalReason.OVER_LOCAL_LIMITS, f"a dry run is good for {DRY_RUN_LIFETIME} at most")
        if run.environment not in {spec.target.labels.get(label, "") for label in ENVIRONMENT_LABELS}:
            raise Refused(RefusalReason.BAD_TARGET, f"the target is not bound to {run.environment!r} by a label")
        admitted = self._checked(spec, payload)
        if admitted.limits.max_hits > DRY_RUN_HITS or admitted.limits.ttl > DRY_RUN_LIFETIME:
            raise Refused(
                RefusalReason.OVER_LOCAL_LIMITS, f"a dry run takes {DRY_RUN_HITS} hits and {DRY_RUN_LIFETIME} at most"
            )
        self.retire(spec.tracepoint_id, spec.version, "dry_run")
        return AdmittedDryRun(admitted, run.environment)

    def retire(self, tracepoint_id: str, version: int, reason: str) -> None:
        """What ended for good is not started by the same envelope again, whoever sends it. Raises Refused."""
        self.retire_all([(tracepoint_id, version, reason)])

    def retire_all(self, ends: Sequence[tuple[str, int, str]]) -> None:
        """The same for several (tracepoint, version, reason) in one writing: all, or when it raises Refused none."""
        try:
            self._seen.retire_all(ends)
        except StateUnusable as error:
            raise Refused(RefusalReason.NO_STATE, str(error)) from error

    def _checked(self, spec: spec_pb2.ProbeSpec, payload: bytes) -> AdmittedSpec:
        self._addressed(spec)
        first_seen = self._newest(spec, payload)
        not_after = self._in_time(spec)
        template = _template(spec)
        bound = _parameters(spec, template)
        target = _target(spec, template)
        rules = admitted_rules(spec, template)
        limits = effective_limits(spec, template)
        self._host_allows(template, target)
        refuse_over_limits(limits, self._host.limits)
        until = min(first_seen + min(limits.ttl, self._host.limits.ttl), not_after)
        remaining = until - self._now()
        if remaining <= timedelta(0):
            raise Refused(RefusalReason.EXPIRED, f"its time to live of {limits.ttl} ended at {until.isoformat()}")
        return AdmittedSpec(
            tracepoint_id=spec.tracepoint_id,
            version=spec.version,
            tenant=spec.tenant,
            name=spec.name,
            requested_by=spec.requested_by,
            template=template,
            template_digest=spec.template_digest,
            parameters=bound,
            target=target,
            rules=rules,
            limits=limits,
            table=spec.table or template.table,
            table_version=spec.table_version,
            not_after=not_after,
            remaining=remaining,
        )

    def _opened(self, envelope: bytes, payload_type: str = SPEC_PAYLOAD_TYPE) -> bytes:
        if len(envelope) > MAX_ENVELOPE:
            raise Refused(
                RefusalReason.TOO_BIG, f"the envelope is {len(envelope)} bytes, at most {MAX_ENVELOPE} are read"
            )
        try:
            return open_envelope(envelope, payload_type, self._keys)
        except BadEnvelope as error:
            reason = RefusalReason.BAD_ENVELOPE if error.malformed else RefusalReason.BAD_SIGNATURE
            raise Refused(reason, error.detail) from error

    def _addressed(self, spec: spec_pb2.ProbeSpec) -> None:
        if not self._identity.tenant or not hmac.compare_digest(spec.tenant, self._identity.tenant):
            raise Refused(RefusalReason.WRONG_TENANT, "the spec is for another tenant than this agent serves")
        if self._identity.spiffe_id not in spec.audience:
            raise Refused(
                RefusalReason.WRONG_AUDIENCE,
                f"the spec is for {len(spec.audience)} agents, and {self._identity.spiffe_id} is none of them",
            )

    def _newest(self, spec: spec_pb2.ProbeSpec, payload: bytes) -> datetime:
        """Before the steps that can fail for this version alone: a refused newer version still outdates older ones."""
        issued = _moment(spec, "issued_at")
        if issued > self._now() + CLOCK_SKEW:
            raise Refused(
                RefusalReason.NOT_YET_VALID,
                f"issued at {issued.isoformat()}, which is more than {CLOCK_SKEW} ahead of this host's clock",
            )
        try:
            digest = "sha256:" + hashlib.sha256(payload).hexdigest()
            return self._seen.record(spec.tracepoint_id, spec.version, digest, issued)
        except Ended as error:
            raise AlreadyEnded(error.reason) from error
        except StoppedHere as error:
            raise Refused(RefusalReason.DENIED_BY_HOST, f"{error}: ask for another tracepoint") from error
        except Replay as error:
            raise Refused(RefusalReason.REPLAYED, str(error)) from error
        except StateUnusable as error:
            raise Refused(RefusalReason.NO_STATE, str(error)) from error

    def _in_time(self, spec: spec_pb2.ProbeSpec) -> datetime:
        issued, not_after = _moment(spec, "issued_at"), _moment(spec, "not_after")
        if not_after <= self._now():
            raise Refused(RefusalReason.EXPIRED, f"the spec was good until {not_after.isoformat()}")
        if not_after - issued > MAX_SPEC_LIFETIME:
            raise Refused(
                RefusalReason.OVER_LOCAL_LIMITS,
                f"the spec is good for {not_after - issued}, this agent accepts {MAX_SPEC_LIFETIME} at most",
            )
        return not_after

    def _host_allows(self, template: Template, target: TargetSpec) -> None:
        function = template.probe.function
        if pattern := self._host.denied_function(function):
            raise Refused(RefusalReason.DENIED_BY_HOST, f"this host denies functions like {pattern!r}: {function}")
        if target.exe is not None and (pattern := self._host.denied_path(target.exe)):
            raise Refused(RefusalReason.DENIED_BY_HOST, f"this host denies executables like {pattern!r}: {target.exe}")


def _claimed(envelope: bytes) -> tuple[str, int]:
    """Whoever sent it hears which of its envelopes was refused; nothing else is done with this."""
    try:
        spec = spec_pb2.ProbeSpec.FromString(unsafe_payload(envelope) or b"")
    except DecodeError:
        return "", 0
    return (spec.tracepoint_id, spec.version) if len(spec.tracepoint_id.encode()) <= MAX_IDENTIFIER else ("", 0)


def _parsed(payload: bytes) -> spec_pb2.ProbeSpec:
    spec = spec_pb2.ProbeSpec()
    try:
        spec.ParseFromString(payload)
    except DecodeError as error:
        raise Refused(RefusalReason.BAD_SPEC, f"the signed payload is no wire.v1.ProbeSpec: {error}") from error
    _refuse_unfit(spec)
    return spec


def _refuse_unfit(spec: spec_pb2.ProbeSpec) -> None:
    for field in ("tracepoint_id", "name", "table", "requested_by"):
        if len(getattr(spec, field).encode()) > MAX_IDENTIFIER:
            raise Refused(RefusalReason.BAD_SPEC, f"`{field}` is longer than {MAX_IDENTIFIER} bytes")
    if not spec.tracepoint_id or spec.version == 0:
        raise Refused(RefusalReason.BAD_SPEC, "the spec names no tracepoint, or its version is 0")


def _moment(spec: spec_pb2.ProbeSpec, field: str) -> datetime:
    if not spec.HasField(field):  # type: ignore[arg-type]  # the generated stub lists the names as literals
        raise Refused(RefusalReason.BAD_SPEC, f"the spec has no `{field}`")
    stamp = getattr(spec, field)
    try:
        moment: datetime = stamp.ToDatetime(UTC)
    except ValueError as error:
        raise Refused(RefusalReason.BAD_SPEC, f"`{field}` is no time: {error}") from error
    return moment


def _template(spec: spec_pb2.ProbeSpec) -> Template:
    digest = "sha256:" + hashlib.sha256(spec.template).hexdigest()
    if not hmac.compare_digest(digest, spec.template_digest):
        raise Refused(
            RefusalReason.DIGEST_MISMATCH,
            f"{spec.template_digest[:80]!r} was approved, the template that came with it is {digest}",
        )
    try:
        return canonical.from_bytes(spec.template)
    except TemplateError as error:
        raise Refused(RefusalReason.BAD_TEMPLATE, str(error)) from error


def _parameters(spec: spec_pb2.ProbeSpec, template: Template) -> Mapping[str, ParameterScalar]:
    given: dict[str, ParameterScalar | str] = {}
    for name, value in spec.parameters.items():
        kind = value.WhichOneof("value")
        if kind not in {"integer", "text", "boolean"}:
            raise Refused(RefusalReason.BAD_PARAMETERS, f"parameter {name!r} has no value that a template can take")
        given[name] = getattr(value, kind)
    try:
        return parameters.bind(template, given)
    except TemplateError as error:
        raise Refused(RefusalReason.BAD_PARAMETERS, str(error)) from error


def _target(spec: spec_pb2.ProbeSpec, template: Template) -> TargetSpec:
    came = spec.target
    requested = TargetSpec(
        service=came.service or None,
        exe=came.exe or None,
        pids=tuple(came.pids),
        language=came.language or None,
        pod=came.pod or None,
        labels=tuple(sorted(came.labels.items())),
        shared_object=came.shared_object or None,
    )
    try:
        return narrowing.narrow(template.target, requested)
    except TemplateError as error:
        raise Refused(RefusalReason.BAD_TARGET, str(error)) from error
