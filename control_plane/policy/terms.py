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
from language.risk import RiskClass


def confirm(grant: Grant, facts: Facts) -> None:
    """Raises Denied: the rule, the condition that fails, and what to change."""
    if grant.terms is None:
        return
    ruling = settle(grant.terms.rules, facts)
    if ruling.allowed:
        return
    tenant = grant.resource.tenant
    extra: dict[str, object] = {"permission": grant.permission.value}
    if ruling.rule is not None:
        rule, condition = ruling.rule, ruling.rule.condition
        words = condition.words() if condition else "always"
        raise Denied(
            f"{grant.permission} is denied: the rule {rule.id or rule.row(tenant)} denies it where {words}. Ask for "
            f"something that it does not speak of, or an administrator of {tenant} changes the rule",
            extra=extra | {"rule": rule.row(tenant), "missing": [words], "smallest_change": f"change rule {rule.id}"},
        )
    if not ruling.failing:
        raise Denied(f"{grant.permission} is denied: no rule allows it", extra=extra)
    nearest, failing = min(ruling.failing, key=lambda pair: len(pair[1]))
    change = " and ".join(nearest.condition.needs(fact) for fact in failing if nearest.condition)
    raise Denied(
        f"{grant.permission} is denied: the rule {nearest.id or nearest.row(tenant)} allows it but for "
        f"{', '.join(failing)}. To be allowed, {change}",
        extra=extra
        | {"rule": nearest.row(tenant), "missing": [str(fact) for fact in failing], "smallest_change": change},
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
