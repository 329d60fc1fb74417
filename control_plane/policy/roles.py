"""policies/roles.yaml -> RoleBook: which role allows and denies which permission.

Read strictly: an unknown key, a permission that does not exist, an include that goes in a circle stops the start-up.
A misspelt deny must never be a missing deny.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from control_plane.policy.model import Permission

ROLES_FILE: Final = Path(__file__).resolve().parents[2] / "policies" / "roles.yaml"
_ROLE_NAME: Final = re.compile(r"[a-z][a-z-]{1,38}[a-z]")
_KEYS: Final = frozenset({"description", "includes", "allow", "deny", "excludes", "platform"})


class BadRoles(Exception):
    """The file cannot be used as it stands; the text says which role and what was expected."""


@dataclass(frozen=True)
class Role:
    name: str
    description: str
    includes: tuple[str, ...]
    allow: tuple[Permission, ...]
    deny: tuple[Permission, ...]
    excludes: tuple[str, ...]  # roles that the same person must not hold in the same tenant
    platform: bool  # held in the platform's own tenant only


@dataclass(frozen=True)
class RoleBook:
    roles: Mapping[str, Role]

    def allowing(self, permission: Permission) -> tuple[str, ...]:
        """The roles that hold a permission themselves, not only through another role: the ones to ask for."""
        return tuple(name for name, role in self.roles.items() if permission in role.allow)

    def closure(self, names: tuple[str, ...]) -> frozenset[str]:
        """The roles named and those that they include."""
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in found and name in self.roles:
                found.add(name)
                waiting.extend(self.roles[name].includes)
        return frozenset(found)

    def denying(self, names: tuple[str, ...], permission: Permission) -> tuple[str, ...]:
        return tuple(sorted(name for name in self.closure(names) if permission in self.roles[name].deny))


def load_roles(text: str) -> RoleBook:
    """Raises BadRoles."""
    document = yaml.safe_load(text)
    if not isinstance(document, dict) or document.get("kind") != "Roles" or not isinstance(document.get("roles"), dict):
        raise BadRoles("expected a document of kind Roles with a mapping `roles`")
    book = RoleBook({str(name): _role(str(name), body) for name, body in document["roles"].items()})
    for role in book.roles.values():
        for other in (*role.includes, *role.excludes):
            if other not in book.roles:
                raise BadRoles(f"role {role.name!r} names role {other!r}, which does not exist")
        if any(role.name in book.closure((included,)) for included in role.includes):
            raise BadRoles(f"role {role.name!r} includes itself in a circle")
    return book


def read_roles(path: Path = ROLES_FILE) -> RoleBook:
    return load_roles(path.read_text(encoding="utf-8"))


def _role(name: str, body: Any) -> Role:
    if not _ROLE_NAME.fullmatch(name):
        raise BadRoles(f"role name {name!r}: expected lower-case letters and dashes")
    if not isinstance(body, dict) or not set(body) <= _KEYS:
        raise BadRoles(f"role {name!r}: expected the keys {', '.join(sorted(_KEYS))}, found {body!r}")
    return Role(
        name=name,
        description=str(body.get("description", "")),
        includes=_words(name, "includes", body),
        allow=_permissions(name, "allow", body),
        deny=_permissions(name, "deny", body),
        excludes=_words(name, "excludes", body),
        platform=body.get("platform", False) is True,
    )


def _words(name: str, key: str, body: Mapping[str, Any]) -> tuple[str, ...]:
    words = body.get(key, [])
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise BadRoles(f"role {name!r}: {key} must be a list of words, found {words!r}")
    return tuple(words)


def _permissions(name: str, key: str, body: Mapping[str, Any]) -> tuple[Permission, ...]:
    try:
        return tuple(Permission(word) for word in _words(name, key, body))
    except ValueError as error:
        raise BadRoles(f"role {name!r}, {key}: {error}; permissions are {', '.join(Permission)}") from error
