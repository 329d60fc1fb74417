"""Names of things, so that one cannot be passed for another."""

from __future__ import annotations

import secrets
from typing import NewType

TenantId = NewType("TenantId", str)  # slug: [a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?
SubjectId = NewType("SubjectId", str)  # "<issuer>|<sub>": never the e-mail
AgentId = NewType("AgentId", str)


def new_id(prefix: str) -> str:
    """A fresh unguessable identifier, e.g. `tp_8f0c…`: the prefix says what it names, 96 random bits follow."""
    return f"{prefix}_{secrets.token_hex(12)}"
