"""The rules of one tenant in casbin: RoleBook and members -> an immutable Snapshot that answers yes or no.

The only module that imports casbin (PyPI `pycasbin`). What casbin would do wrong is closed off here: the model has no
eval() and no pattern match, every row is built from checked words (roles.py), the enforcer is never handed out, never
switched off, never writes, and any exception is a no. `decide.py` stands in front and checks the request.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import casbin

from control_plane.policy.roles import RoleBook

MODEL_FILE: Final = Path(__file__).resolve().parents[2] / "policies" / "model.conf"
_log = logging.getLogger(__name__)
for _name in ("casbin", "casbin.policy", "casbin.enforcer", "casbin.role"):
    # It logs each denial with all its fields; our log is the audit trail. A level, since `disabled` does not outlive
    # the next logging configuration.
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True)
class Ruling:
    allowed: bool
    rule: str  # the row that decided, "" when none matched


@dataclass(frozen=True)
class Snapshot:
    """One tenant's members and rules, as of one version. Never changed: a change makes a new one."""

    tenant: str
    version: int
    members: Mapping[str, tuple[str, ...]]  # subject -> roles held
    _enforcer: Any

    def roles_of(self, subject: str) -> tuple[str, ...]:
        return self.members.get(subject, ())

    def rule(self, subject: str, permission: str, name: str) -> Ruling:
        """Ask casbin. Everything but a clean `True` is a no."""
        try:
            allowed, row = self._enforcer.enforce_ex(subject, self.tenant, permission, name)
        except Exception:  # noqa: BLE001 - whatever goes wrong in there, the answer is no
            _log.exception("the policy of tenant %s failed on %s; answered no", self.tenant, permission)
            return Ruling(False, "error")
        return Ruling(allowed is True, ", ".join(row) if row else "")


def build_snapshot(tenant: str, version: int, members: Mapping[str, tuple[str, ...]], book: RoleBook) -> Snapshot:
    """Rows of the roles that somebody holds, and no others: a smaller table is a faster one."""
    model = casbin.Enforcer.new_model(text=MODEL_FILE.read_text(encoding="utf-8"))
    enforcer = casbin.Enforcer(model)
    enforcer.enable_auto_save(False)
    held = book.closure(tuple(sorted({role for roles in members.values() for role in roles})))
    for name in sorted(held):
        role = book.roles[name]
        # Denies first: the first of them that matches ends casbin's walk over the rows.
        for effect, permissions in (("deny", role.deny), ("allow", role.allow)):
            for permission in permissions:
                enforcer.add_policy(_role(name), tenant, permission.value, "*", effect)
        for included in role.includes:
            enforcer.add_grouping_policy(_role(name), _role(included), tenant)
    for subject, roles in members.items():
        for name in roles:
            enforcer.add_grouping_policy(subject, _role(name), tenant)
    if not enforcer.enabled:
        raise RuntimeError("casbin was switched off: every request would be allowed")
    return Snapshot(tenant, version, dict(members), enforcer)


def _role(name: str) -> str:
    return f"role:{name}"  # no subject can look like this: decide.py demands "<issuer>|<sub>"
