"""A tenant's policy as it would be -> the Plan: who gains and loses what, what is odd, whether its tests hold. Pure.

`changing` shows it, `policy_kind` refuses what cannot be applied and asks for a second person by it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from control_plane.foundation.errors import Invalid
from control_plane.policy.comparing import (
    Change,
    Finding,
    compare,
    failed_tests,
    guarded,
    held_before,
    lint,
    ways_by,
)
from control_plane.policy.document import PolicyDocument
from control_plane.policy.index import Snapshot
from control_plane.policy.model import Asker, Permission


@dataclass(frozen=True)
class Plan:
    """What an apply would do. `needs` says why a second person must agree; empty when nobody must."""

    digest: str
    changes: tuple[Change, ...]
    findings: tuple[Finding, ...]
    failed_tests: tuple[str, ...]
    not_held: tuple[str, ...]
    needs: tuple[str, ...]


def planned(snapshot: Snapshot, document: PolicyDocument, source: str, asker: Asker, at: datetime) -> Plan:
    """As `asker` would apply it, who may hold more or less of what it gives."""
    after = with_policy(snapshot, document)
    changes = compare(snapshot, after)
    bare = with_policy(snapshot, PolicyDocument())
    not_held = tuple(
        change.words()
        for change in changes
        if change.gains and not held_before(snapshot, asker, change) and not _is_the_roles_own(bare, change)
    )
    own = _own_gains(snapshot, after, asker)
    return Plan(
        digest_of(source),
        changes,
        lint(document, after),
        failed_tests(document, after, at),
        not_held,
        (*guarded(changes, snapshot, after), *own),
    )


def refuse_bad(plan: Plan) -> None:
    """Raises Invalid: a serious finding, a test that fails."""
    serious = [finding.text for finding in plan.findings if finding.serious]
    if serious:
        raise Invalid("the policy cannot be applied: " + "; ".join(serious), code="bad_policy")
    if plan.failed_tests:
        raise Invalid("the policy's own tests fail: " + "; ".join(plan.failed_tests), code="policy_tests_failed")


def with_policy(snapshot: Snapshot, document: PolicyDocument) -> Snapshot:
    """The same tenant under another policy."""
    return replace(snapshot, rules=document.rules, groups=document.group_roles())


def digest_of(source: str) -> str:
    return "sha256:" + hashlib.sha256(source.encode()).hexdigest()


def _is_the_roles_own(bare: Snapshot, change: Change) -> bool:
    """Whether policies/roles.yaml gives it anyway: lifting what a tenant's own deny took away grants nothing new."""
    if change.action.startswith("role "):
        return False
    own = ways_by(bare, change.roles, "", Permission(change.action), change.name)
    return any(way.covers(change.way) for way in own)


def _own_gains(before: Snapshot, after: Snapshot, asker: Asker) -> Iterable[str]:
    """What the groups of the one who asks would newly stand for: nobody gives that to themselves alone."""
    old, new = (snapshot.roles_of(asker.subject, asker.groups) for snapshot in (before, after))
    return [f"it gives the role {role} to the one who asks for it" for role in sorted(set(new) - set(old))]
