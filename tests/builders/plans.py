"""Approved, masked plans for tests of the steps after masking; the product mints them in one place each."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from control_plane.foundation.identifiers import SubjectId, TenantId
from control_plane.masking.model import FieldRule, MaskedPlan
from control_plane.signing.model import SealContext
from control_plane.templates.model import Approval, ApprovedTemplate
from control_plane.templates.requirements import Requirement
from language import canonical, yaml_front_end
from language.masking import Action
from language.model import ParameterScalar

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)

SOURCE = """
apiVersion: probegate/v1
kind: ProbeTemplate
metadata: {name: money-sum, description: Sums}
spec:
  parameters:
    minUnits: {type: int, min: 0, max: 1000, default: 0}
    currency: {type: string, choices: [USD, EUR], default: USD}
    loud: {type: bool, default: false}
  target: {service: shop}
  probe:
    function: example.com/shop/money.Sum
    at: entry+return
    capture: {currency: l.CurrencyCode, units: l.Units, latency: latency()}
  table: money_sums
  limits: {ttl: 10m, maxEventsPerSecond: 500, sample: 1/2, maxHits: 7000, cpu: 2%}
"""


def masked_plan(source: str = SOURCE, action: Action = Action.ALLOW, key: bytes = b"") -> MaskedPlan:
    template = yaml_front_end.load(source)
    written = canonical.to_bytes(template)
    digest = canonical.digest(written)
    approved = ApprovedTemplate(
        name=template.name,
        version=1,
        template=template,
        canonical=written,
        digest=digest,
        approvals=(Approval(SubjectId("issuer|bob"), NOW),),
        author=SubjectId("issuer|alice"),
        requirement=Requirement(1, frozenset(), timedelta(days=180), ()),
    )
    rules = tuple(FieldRule(capture.column, action, "platform:default", key=key) for capture in template.probe.captures)
    return MaskedPlan(approved, rules)


def seal_context(
    *audience: str,
    tracepoint_id: str = "tp_1",
    version: int = 1,
    tenant: str = "acme",
    now: datetime = NOW,
    life: timedelta = timedelta(minutes=10),
    parameters: Mapping[str, ParameterScalar] | None = None,
) -> SealContext:
    return SealContext(
        tracepoint_id=tracepoint_id,
        name="sums",
        version=version,
        tenant=TenantId(tenant),
        audience=audience,
        issued_at=now,
        not_after=now + life,
        ttl=life,
        target=yaml_front_end.load(SOURCE).target,
        requested_by=SubjectId("issuer|alice"),
        table_version=1,
        parameters={"minUnits": 0, "currency": "USD", "loud": False} if parameters is None else parameters,
    )
