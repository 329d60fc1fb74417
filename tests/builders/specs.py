"""Signed specifications as the control plane makes them, for agents under test: one template, and what a test changes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from wire.dsse import SPEC_PAYLOAD_TYPE, seal
from wire.v1 import spec_pb2

from language import canonical
from language.model import At, Capture, LimitSpec, ProbeSpec, TargetSpec, Template

ME = "spiffe://probegate/agent/ag_1"


def template(
    captures: Mapping[str, str] | None = None,
    function: str = "shop/money.Sum",
    at: At = At.ENTRY,
    where: str | None = None,
    limits: LimitSpec | None = None,
) -> Template:
    shown = captures if captures is not None else {"units": "l.Units"}
    return Template(
        name="sums",
        description="",
        labels=(),
        parameters=(),
        target=TargetSpec(),
        probe=ProbeSpec(function, at, None, where, tuple(Capture(*each) for each in shown.items())),
        table="sums",
        masking=(),
        limits=limits or LimitSpec(),
    )


def spec(
    made: Template,
    tracepoint_id: str = "tp_1",
    version: int = 1,
    *,
    service: str = "shop",
    pids: tuple[int, ...] = (),
    audience: str = ME,
    tenant: str = "acme",
    ttl: timedelta = timedelta(minutes=5),
    action: str = "allow",
) -> spec_pb2.ProbeSpec:
    sealed = spec_pb2.ProbeSpec(
        tracepoint_id=tracepoint_id,
        version=version,
        tenant=tenant,
        audience=[audience],
        template=canonical.to_bytes(made),
        table=made.table,
        table_version=1,
        requested_by="user:ada",
        name="sums",
    )
    sealed.template_digest = canonical.digest(sealed.template)
    sealed.target.service = service
    sealed.target.pids.extend(pids)
    now = datetime.now(UTC)
    sealed.issued_at.FromDatetime(now)
    sealed.not_after.FromDatetime(now + timedelta(hours=1))
    sealed.ttl.FromTimedelta(ttl)
    for capture in made.probe.captures:
        sealed.masking.add(column=capture.column, action=action, rule="test")
    return sealed


def envelope(sealed: spec_pb2.ProbeSpec, key: Ed25519PrivateKey) -> bytes:
    return seal(sealed.SerializeToString(), SPEC_PAYLOAD_TYPE, key)
