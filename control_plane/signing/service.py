"""A MaskedPlan and what the request adds to it -> SealedSpec: the payload is built here once, and these bytes are signed.

The payload is serialised deterministically, so that the same plan has the same digest on every replica; nobody needs
that to verify, since agents read the bytes that were signed. The template goes along as the canonical bytes that were
approved, never as fields copied out of it. Nothing else in the control plane holds the spec key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from google.protobuf.message import DecodeError
from wire import dsse
from wire.v1 import gateway_pb2, spec_pb2

from control_plane.foundation.errors import Conflict, Invalid
from control_plane.foundation.identifiers import AgentId, TenantId
from control_plane.masking.model import FieldRule, MaskedPlan
from control_plane.signing.model import SealContext, SealedDryRun, SealedSpec, Unapproved
from language.model import LimitSpec, ParameterScalar, TargetSpec, Template

DRY_RUN_HITS: Final = 10  # rows that a reviewer looks at; agents take a few more at most, whatever is signed
MAX_AUDIENCE: Final = 1000  # agents in one spec, some 50 KiB; more hosts than that need a staged rollout, not one spec


class Signer:
    """`retired` are public keys of earlier spec keys, which agents may still meet on specs that live."""

    def __init__(self, key: Ed25519PrivateKey, retired: tuple[Ed25519PublicKey, ...] = ()) -> None:
        self._key = key
        self._trusted: Mapping[str, Ed25519PublicKey] = {
            dsse.key_id(public): public for public in (key.public_key(), *retired)
        }

    @property
    def public_keys(self) -> Mapping[str, Ed25519PublicKey]:
        """By key id; the one that signs now is the first."""
        return self._trusted

    def verification_keys(self) -> list[gateway_pb2.VerificationKey]:
        """The same as the gateway tells them to agents, which pin them when they enrol."""
        return [
            gateway_pb2.VerificationKey(key_id=name, ed25519=public.public_bytes_raw())
            for name, public in self._trusted.items()
        ]

    def seal(self, plan: MaskedPlan, context: SealContext) -> SealedSpec:
        """The proof. Raises Invalid for a request that no agent could admit: no audience, no time left, no rule."""
        approved = plan.approved
        source = _Source(approved.template, approved.canonical, approved.digest, plan.rules)
        _refuse_hopeless(source, context)
        payload = _spec(source, context, approved.template.limits).SerializeToString(deterministic=True)
        try:
            envelope = dsse.seal(payload, dsse.SPEC_PAYLOAD_TYPE, self._key)
        except ValueError as error:
            raise Invalid(f"the specification is too big to send: {error}") from error
        return SealedSpec(
            envelope=envelope,
            tracepoint_id=context.tracepoint_id,
            version=context.version,
            tenant=context.tenant,
            audience=context.audience,
            not_after=context.not_after,
            digest="sha256:" + hashlib.sha256(payload).hexdigest(),
        )

    def seal_dry_run(self, version: Unapproved, context: SealContext, agent: AgentId, environment: str) -> SealedDryRun:
        """A look at live calls of a version that nobody has approved, under a payload type of its own. Raises Invalid."""
        source = _Source(version.template, version.canonical, version.digest, version.rules)
        _refuse_hopeless(source, context)
        limits = version.template.limits
        few = replace(limits, max_hits=min(limits.max_hits, DRY_RUN_HITS), ttl=min(limits.ttl, context.ttl))
        run = spec_pb2.DryRun(spec=_spec(source, context, few), environment=environment)
        payload = run.SerializeToString(deterministic=True)
        try:
            envelope = dsse.seal(payload, dsse.DRY_RUN_PAYLOAD_TYPE, self._key)
        except ValueError as error:
            raise Invalid(f"the dry run is too big to send: {error}") from error
        return SealedDryRun(
            envelope=envelope,
            id=context.tracepoint_id,
            agent=agent,
            digest="sha256:" + hashlib.sha256(payload).hexdigest(),
        )

    def reopen(self, envelope: bytes) -> SealedSpec:
        """The proof again, of an envelope that was kept. Raises Conflict unless one of our keys signed these bytes."""
        try:
            payload = dsse.open_envelope(envelope, dsse.SPEC_PAYLOAD_TYPE, self._trusted)
            spec = spec_pb2.ProbeSpec.FromString(payload)
        except (dsse.BadEnvelope, DecodeError) as error:
            raise Conflict(f"the kept envelope was not signed by this server: {error}", code="bad_envelope") from error
        return SealedSpec(
            envelope=envelope,
            tracepoint_id=spec.tracepoint_id,
            version=spec.version,
            tenant=TenantId(spec.tenant),
            audience=tuple(spec.audience),
            not_after=spec.not_after.ToDatetime(tzinfo=UTC),
            digest="sha256:" + hashlib.sha256(payload).hexdigest(),
        )


@dataclass(frozen=True)
class _Source:
    """What a payload is made of, whichever of the two it is for."""

    template: Template
    canonical: bytes
    digest: str
    rules: tuple[FieldRule, ...]


def _refuse_hopeless(source: _Source, context: SealContext) -> None:
    if not context.audience:
        raise Invalid("the specification is for no agent: an empty audience means nobody", code="no_agents")
    if len(context.audience) > MAX_AUDIENCE:
        raise Invalid(f"the specification is for {len(context.audience)} agents, at most {MAX_AUDIENCE} at a time")
    if context.not_after <= context.issued_at or context.ttl.total_seconds() <= 0:
        raise Invalid(f"the specification would be over before it is issued: not after {context.not_after}")
    ruled = [rule.column for rule in source.rules]
    captured = [capture.column for capture in source.template.probe.captures]
    if sorted(ruled) != sorted(captured):
        raise Invalid(f"the plan has rules for {ruled}, the template captures {captured}: each needs exactly one")


def _spec(source: _Source, context: SealContext, limits: LimitSpec) -> spec_pb2.ProbeSpec:
    spec = spec_pb2.ProbeSpec(
        tracepoint_id=context.tracepoint_id,
        version=context.version,
        tenant=context.tenant,
        audience=context.audience,
        template=source.canonical,
        template_digest=source.digest,
        parameters={name: _parameter(name, value) for name, value in context.parameters.items()},
        target=_target(context.target),
        masking=[_rule(rule) for rule in source.rules],
        limits=_limits(limits),
        table=source.template.table,
        table_version=context.table_version,
        requested_by=context.requested_by,
        name=context.name,
    )
    spec.issued_at.FromDatetime(context.issued_at)
    spec.not_after.FromDatetime(context.not_after)
    spec.ttl.FromTimedelta(context.ttl)
    return spec


def _parameter(name: str, value: ParameterScalar) -> spec_pb2.ParameterValue:
    if isinstance(value, bool):  # before int, which it is too
        return spec_pb2.ParameterValue(boolean=value)
    if isinstance(value, str):
        return spec_pb2.ParameterValue(text=value)
    if not -(1 << 63) <= value < 1 << 63:
        raise Invalid(f"parameter {name!r} is {value}: only numbers of 64 bits can be sent")
    return spec_pb2.ParameterValue(integer=value)


def _target(target: TargetSpec) -> spec_pb2.Target:
    return spec_pb2.Target(
        service=target.service or "",
        exe=target.exe or "",
        pids=target.pids,
        language=target.language or "",
        pod=target.pod or "",
        labels=dict(target.labels),
        shared_object=target.shared_object or "",
    )


def _rule(rule: FieldRule) -> spec_pb2.FieldRule:
    return spec_pb2.FieldRule(
        column=rule.column,
        action=rule.action.value,
        rule=rule.rule,
        key=rule.key,
        key_id=rule.key_id,
        argument=rule.argument,
        paths=[
            spec_pb2.PathRule(
                path=path.path, type=path.type, action=path.action.value, rule=path.rule, argument=path.argument
            )
            for path in rule.paths
        ],
        patterns=[spec_pb2.ValuePattern(rule=each.rule, regex=each.regex) for each in rule.patterns],
    )


def _limits(limits: LimitSpec) -> spec_pb2.Limits:
    sent = spec_pb2.Limits(
        max_events_per_second=limits.max_events_per_second,
        sample_numerator=limits.sample.numerator,
        sample_denominator=limits.sample.denominator,
        max_hits=limits.max_hits,
        max_string=limits.max_string,
        max_items=limits.max_items,
        max_depth=limits.max_depth,
        cpu=limits.cpu,
    )
    sent.ttl.FromTimedelta(limits.ttl)
    return sent
