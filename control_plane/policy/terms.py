"""The second half of a decision: a Grant with terms, and the facts that are known now -> nothing, or Denied.

The route decided before the body was read; the step that has read it calls `confirm` before it acts. Pure: the rules
travelled in the grant, so the answer is about the same version of the policy. The caller's refusal is in the log
through its own `audited` transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from control_plane.foundation.errors import Denied
from control_plane.policy.conditions import Facts, environment_of
from control_plane.policy.model import Grant
from control_plane.policy.rules import settle
from control_plane.policy.smallest import smallest_of_terms
from language.risk import RiskClass


def confirm(grant: Grant, facts: Facts) -> None:
    """Raises Denied: the rule, the condition that fails, and what to change."""
    if grant.terms is None:
        return
    ruling = settle(grant.terms.rules, facts)
    if ruling.allowed:
        return
    tenant = grant.resource.tenant
    fixes = smallest_of_terms(grant.terms.rules, facts)
    change = " and ".join(fix.words for fix in fixes) or "none in this tenant"
    if ruling.rule is not None:
        rule, condition = ruling.rule, ruling.rule.condition
        why = f"the rule {rule.id or rule.row(tenant)} denies it where {condition.words() if condition else 'always'}"
    elif ruling.failing:
        rule, failing = min(ruling.failing, key=lambda pair: len(pair[1]))
        why = f"the rule {rule.id or rule.row(tenant)} allows it but for {', '.join(failing)}"
    else:
        raise Denied(f"{grant.permission} is denied: no rule allows it", extra={"permission": grant.permission.value})
    raise Denied(
        f"{grant.permission} is denied: {why}. To be allowed: {change}",
        extra={
            "permission": grant.permission.value,
            "rule": rule.row(tenant),
            "missing": [fix.missing for fix in fixes],
            "smallest_change": change,
        },
    )


def rows_facts(
    at: datetime,
    *,
    labels: Mapping[str, str],
    service: str | None,
    template: str | None,
    field_classes: frozenset[str] | None,
) -> Facts:
    """What is known of rows: where their tracepoint was aimed, and which masking rules their columns stand under."""
    return Facts(
        at,
        environment=environment_of(labels),
        labels=labels,
        service=service,
        template=template,
        field_classes=field_classes,
    )


def request_facts(
    at: datetime,
    *,
    ttl: timedelta,
    labels: Mapping[str, str],
    service: str | None,
    template: str,
    risk: RiskClass | None,
) -> Facts:
    """What the request for a tracepoint says of itself. Labels and service are what the target is bound to."""
    return Facts(
        at,
        ttl=ttl,
        environment=environment_of(labels),
        labels=labels,
        risk=risk,
        service=service,
        template=template,
    )
