"""PROBEGATE_ISSUERS and PROBEGATE_WORKLOAD_ISSUERS: JSON text -> the issuers that are believed, and for what.

Read by `settings`; `bootstrap` builds verifiers and sign-ins from it. An unknown key stops the start-up: a misspelt
restriction would be none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_ISSUER_KEYS: Final = frozenset(
    {
        "issuer",
        "name",
        "label",
        "audience",
        "algorithms",
        "types",
        "jwks_uri",
        "name_claim",
        "groups_claim",
        "scopes",
        "resource",
        "console_client_id",
        "console_client_secret_file",
        "cli_client_id",
    }
)
_WORKLOAD_KEYS: Final = frozenset({"issuer", "algorithms", "types", "jwks_uri"})
RESERVED_NAME: Final = "probegate"  # the embedded issuer's


@dataclass(frozen=True)
class ExternalIssuer:
    """One OpenID provider whose access tokens are believed; people sign in there where a client id is given."""

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    types: tuple[str, ...]
    jwks_uri: str | None
    name_claim: str
    groups_claim: str = "groups"
    name: str = ""  # in addresses and on the command line
    label: str = ""
    scopes: tuple[str, ...] = ("openid", "profile")
    resource: str = ""
    console_client_id: str = ""
    console_client_secret_file: str = ""
    cli_client_id: str = ""


@dataclass(frozen=True)
class WorkloadIssuer:
    """An issuer of pipelines' tokens that tenants may name in their trust rules."""

    issuer: str
    algorithms: tuple[str, ...]
    types: tuple[str, ...]
    jwks_uri: str | None


def read_issuers(text: str | None) -> tuple[ExternalIssuer, ...]:
    """Raises ValueError: what was expected, what came."""
    found = tuple(_issuer(entry) for entry in _entries(text))
    for what, values in (("issuer", [one.issuer for one in found]), ("name", [one.name for one in found])):
        if len(set(values)) != len(values):
            raise ValueError(f"every {what} must be there once, got {', '.join(values)}")
    return found


def read_workload_issuers(text: str | None) -> tuple[WorkloadIssuer, ...]:
    """Raises ValueError."""
    return tuple(_workload(entry) for entry in _entries(text))


def _entries(text: str | None) -> list[Any]:
    if not text:
        return []
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from error
    if not isinstance(document, list) or not document:
        raise ValueError("expected a JSON list of objects, at least one")
    return document


def _issuer(entry: Any) -> ExternalIssuer:
    issuer = _named(entry, _ISSUER_KEYS)
    host = urlsplit(issuer).netloc
    name = str(entry.get("name", re.sub(r"[^a-z0-9]+", "-", host.lower()).strip("-")))
    if not _NAME.fullmatch(name) or name == RESERVED_NAME:
        raise ValueError(f"name must be lower-case letters, digits and dashes, not {RESERVED_NAME!r}, got {name!r}")
    scopes = _word_list(entry, "scopes", ("openid", "profile"))
    if "openid" not in scopes:
        raise ValueError("scopes must hold openid: without it there is no ID token")
    return ExternalIssuer(
        issuer=issuer,
        audience=str(entry.get("audience", "probegate")),
        algorithms=_word_list(entry, "algorithms", ("RS256", "ES256")),
        types=tuple(word.lower() for word in _word_list(entry, "types", ("at+jwt",))),
        jwks_uri=str(entry["jwks_uri"]) if "jwks_uri" in entry else None,
        name_claim=str(entry.get("name_claim", "name")),
        groups_claim=str(entry.get("groups_claim", "groups")),
        name=name,
        label=str(entry.get("label", host)),
        scopes=scopes,
        resource=str(entry.get("resource", "")),
        console_client_id=str(entry.get("console_client_id", "")),
        console_client_secret_file=str(entry.get("console_client_secret_file", "")),
        cli_client_id=str(entry.get("cli_client_id", "")),
    )


def _workload(entry: Any) -> WorkloadIssuer:
    return WorkloadIssuer(
        issuer=_named(entry, _WORKLOAD_KEYS),
        algorithms=_word_list(entry, "algorithms", ("RS256", "ES256")),
        types=tuple(word.lower() for word in _word_list(entry, "types", ("jwt",))),
        jwks_uri=str(entry["jwks_uri"]) if "jwks_uri" in entry else None,
    )


def _named(entry: Any, keys: frozenset[str]) -> str:
    if not isinstance(entry, dict) or not isinstance(entry.get("issuer"), str) or not set(entry) <= keys:
        raise ValueError(f"expected objects with `issuer` and some of {', '.join(sorted(keys))}, got {entry!r}")
    issuer: str = entry["issuer"]
    return issuer


def _word_list(entry: Mapping[str, Any], key: str, default: tuple[str, ...]) -> tuple[str, ...]:
    words = entry.get(key, list(default))
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise ValueError(f"{key} must be a list of words, got {words!r}")
    return tuple(words)
