"""The limits of an admitted probe: the least of what was approved and what was signed, never over the host's own."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction

from google.protobuf.duration_pb2 import Duration
from wire.v1 import spec_pb2

from agents.admission.model import HostLimits, RefusalReason, Refused
from language.model import LimitSpec, Template


def effective_limits(spec: spec_pb2.ProbeSpec, template: Template) -> LimitSpec:
    """Field by field the least of both. A number the spec leaves at 0 says nothing: the approved template's holds."""
    approved, signed = template.limits, spec.limits
    sample = approved.sample
    if signed.sample_numerator or signed.sample_denominator:
        if not 0 < signed.sample_numerator <= signed.sample_denominator:
            raise Refused(
                RefusalReason.BAD_SPEC,
                f"sample {signed.sample_numerator}/{signed.sample_denominator} is not between 0 and 1",
            )
        sample = min(sample, Fraction(signed.sample_numerator, signed.sample_denominator))
    if not (signed.cpu >= 0):  # NaN too
        raise Refused(RefusalReason.BAD_SPEC, f"the CPU limit {signed.cpu} is not a share of a core")
    ttls = [approved.ttl]
    ttls += [_duration(spec.ttl, "ttl")] if spec.HasField("ttl") else []
    ttls += [_duration(signed.ttl, "limits.ttl")] if signed.HasField("ttl") else []
    return LimitSpec(
        ttl=min(ttls),
        max_events_per_second=_least(approved.max_events_per_second, signed.max_events_per_second),
        sample=sample,
        max_hits=_least(approved.max_hits, signed.max_hits),
        max_string=_least(approved.max_string, signed.max_string),
        max_items=_least(approved.max_items, signed.max_items),
        max_depth=_least(approved.max_depth, signed.max_depth),
        cpu=min(approved.cpu, signed.cpu) if signed.cpu else approved.cpu,
    )


def refuse_over_limits(limits: LimitSpec, host: HostLimits) -> None:
    """The TTL is not among them: it is cut to the host's cap, since a shorter probe shows nothing else."""
    for name in ("max_events_per_second", "max_hits", "max_string", "max_items", "max_depth", "cpu"):
        asked, allowed = getattr(limits, name), getattr(host, name)
        if asked > allowed:
            raise Refused(
                RefusalReason.OVER_LOCAL_LIMITS,
                f"{name} is {asked}, this host allows {allowed}: lower it in the template",
            )
    if limits.max_events_per_second < 1 or limits.max_hits < 1:
        raise Refused(RefusalReason.BAD_SPEC, "a probe without events or hits shows nothing")


def _least(approved: int, signed: int) -> int:
    return min(approved, signed) if signed else approved


def _duration(came: Duration, field: str) -> timedelta:
    try:
        duration: timedelta = came.ToTimedelta()
    except (ValueError, OverflowError) as error:
        raise Refused(RefusalReason.BAD_SPEC, f"`{field}` is no duration: {error}") from error
    if duration <= timedelta(0):
        raise Refused(RefusalReason.EXPIRED, f"`{field}` is {duration}: nothing lives that short")
    return duration
