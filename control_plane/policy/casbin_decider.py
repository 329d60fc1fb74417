"""The meaning of the rules: a Snapshot in casbin, by policies/model.conf. Slow, and right by definition.

The only module that imports casbin (PyPI `pycasbin`). `index` answers the requests; this one answers `policy explain`
beside it, and the tests that compare the two. What casbin would do wrong is closed off here: the model has no eval()
and no pattern match, every row is built from checked words, the enforcer is never handed out, never switched off, never
writes, and any exception is a no.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

import casbin

from control_plane.policy.conditions import Condition, Facts
from control_plane.policy.index import Snapshot
from control_plane.policy.rules import Effect, applies

MODEL_FILE: Final = Path(__file__).resolve().parents[2] / "policies" / "model.conf"
_log = logging.getLogger(__name__)
for _name in ("casbin", "casbin.policy", "casbin.enforcer", "casbin.role"):
    # It logs each denial with all its fields; our log is the audit trail. A level, since `disabled` does not outlive
    # the next logging configuration.
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


class Reference:
    """One snapshot, asked of casbin."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._tenant = snapshot.tenant
        self._conditions: dict[str, Condition] = {}
        self._enforcer = self._built(snapshot)

    def allows(self, subject: str, permission: str, name: str, facts: Facts) -> bool:
        """Ask casbin. Everything but a clean `True` is a no."""
        try:
            allowed = self._enforcer.enforce(subject, self._tenant, permission, name, facts)
        except Exception:  # noqa: BLE001 - whatever goes wrong in there, the answer is no
            _log.exception("the policy of tenant %s failed on %s; answered no", self._tenant, permission)
            return False
        return allowed is True

    def _built(self, snapshot: Snapshot) -> Any:
        enforcer = casbin.Enforcer(casbin.Enforcer.new_model(text=MODEL_FILE.read_text(encoding="utf-8")))
        enforcer.enable_auto_save(False)
        enforcer.add_function("holds", self._holds)
        # Denies first: the first of them that matches ends casbin's walk over the rows.
        for rule in sorted((*snapshot.base.rules, *snapshot.rules), key=lambda row: row.effect, reverse=True):
            named = rule.condition.words() if rule.condition else ""
            if rule.condition:
                self._conditions[named] = rule.condition
            enforcer.add_policy(rule.subject, self._tenant, rule.action, rule.name, rule.effect.value, named)
        for role in snapshot.base.book.roles.values():
            for included in role.includes:
                enforcer.add_grouping_policy(f"role:{role.name}", f"role:{included}", self._tenant)
        for subject, roles in snapshot.members.items():
            for name in roles:
                # No subject can look like a role: `decide` demands "<issuer>|<sub>".
                enforcer.add_grouping_policy(subject, f"role:{name}", self._tenant)
        if not enforcer.enabled:
            raise RuntimeError("casbin was switched off: every request would be allowed")
        return enforcer

    def _holds(self, named: str, effect: str, facts: Facts) -> bool:
        return applies(Effect(effect), self._conditions[named] if named else None, facts)
