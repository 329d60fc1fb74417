"""In which states a tenant can be, and what that means to its members. The moves between them: `tenants`."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from control_plane.policy.model import Permission


class TenantState(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETING = "deleting"
    DELETED = "deleted"


GONE: Final = frozenset({TenantState.DELETING.value, TenantState.DELETED.value})  # its members are told it is not there
# What members of a suspended tenant may still do, where their roles allow it: learn why, and read the log.
READABLE: Final = frozenset({Permission.TENANT_READ.value, Permission.AUDIT_READ.value})
