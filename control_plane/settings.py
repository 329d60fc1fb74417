"""The environment -> Settings. The only place that reads it; every name is listed here and in docs/operations.md.

A setting that cannot be used stops the start-up with what was expected. What is not set has a default for one machine;
the production profile has fewer defaults: it names its issuers, speaks HTTPS, and has no embedded issuer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

from control_plane.issuer_settings import ExternalIssuer, WorkloadIssuer, read_issuers, read_workload_issuers
from language import durations
from language.errors import TemplateError

T = TypeVar("T")
DEFAULT_HTTP: Final = "127.0.0.1:8440"
DEFAULT_GRPC: Final = "127.0.0.1:8441"
DEFAULT_LEASE: Final = timedelta(seconds=60)  # contact lost: probes are gone when it ends
LEASE_BOUNDS: Final = (
    timedelta(seconds=2),
    timedelta(minutes=5),
)  # shorter ends probes at every hiccup, longer leaves them behind
DEFAULT_TOKEN_LIFE: Final = timedelta(days=90)  # of a personal token at most: a quarter, then somebody looks at it
QUOTAS: Final = frozenset(
    {"active_tracepoints", "templates", "events_per_second", "bytes_per_day", "requests_per_second"}
)
DEFAULT_STEP_UP: Final = timedelta(minutes=15)  # how old a sign-in may be that approves what is risky
DEFAULT_MAX_TTL: Final = timedelta(hours=24)  # a forgotten probe must not outlive the day it was asked for


class BadSetting(Exception):
    """Names the variable, what was expected and what came."""


class Profile(StrEnum):
    DEVELOPMENT = "development"
    PRODUCTION = "production"


@dataclass(frozen=True)
class Listen:
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Settings:
    state: Path  # keys, the CA, the embedded database and Redis; readable by the server's user only
    database_url: str
    redis_url: str | None  # None: a private redis-server in the state directory
    http_listen: Listen
    grpc_listen: Listen
    public_url: str  # how people reach the API; the embedded issuer's name
    profile: Profile
    lease: timedelta
    max_ttl: timedelta
    max_token_life: timedelta
    step_up_age: timedelta
    step_up_acr: tuple[str, ...]
    issuers: tuple[ExternalIssuer, ...]
    workload_issuers: tuple[WorkloadIssuer, ...]
    embedded_issuer: bool
    # By name: what a tenant may use that has no limit of its own.
    quotas: Mapping[str, int] = field(default_factory=dict)
    approvals: Path | None = None  # the operator's own policies/approvals.yaml, in place of the one that comes along

    @property
    def keys(self) -> Path:
        return self.state / "keys"

    @property
    def https(self) -> bool:
        return self.public_url.startswith("https://")


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Raises BadSetting."""
    state = Path(environ.get("PROBEGATE_STATE", "probegate-state")).expanduser().absolute()
    profile = _profile(environ)
    http_listen = _listen(environ, "PROBEGATE_HTTP_LISTEN", DEFAULT_HTTP)
    settings = Settings(
        state=state,
        database_url=environ.get("PROBEGATE_DATABASE_URL") or f"sqlite+aiosqlite:///{state / 'probegate.db'}",
        redis_url=environ.get("PROBEGATE_REDIS_URL") or None,
        http_listen=http_listen,
        grpc_listen=_listen(environ, "PROBEGATE_GRPC_LISTEN", DEFAULT_GRPC),
        public_url=(environ.get("PROBEGATE_PUBLIC_URL") or f"http://{http_listen}").rstrip("/"),
        profile=profile,
        lease=_lease(environ),
        max_ttl=_duration(environ, "PROBEGATE_MAX_TTL", DEFAULT_MAX_TTL),
        max_token_life=_duration(environ, "PROBEGATE_MAX_TOKEN_LIFE", DEFAULT_TOKEN_LIFE),
        step_up_age=_duration(environ, "PROBEGATE_STEP_UP_AGE", DEFAULT_STEP_UP),
        step_up_acr=tuple(environ.get("PROBEGATE_STEP_UP_ACR", "").split()),
        issuers=_issuers(environ, "PROBEGATE_ISSUERS", read_issuers),
        workload_issuers=_issuers(environ, "PROBEGATE_WORKLOAD_ISSUERS", read_workload_issuers),
        quotas=_quotas(environ),
        embedded_issuer=_boolean(environ, "PROBEGATE_EMBEDDED_ISSUER", default=profile is Profile.DEVELOPMENT),
        approvals=Path(environ["PROBEGATE_APPROVALS"]).absolute() if environ.get("PROBEGATE_APPROVALS") else None,
    )
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    production = settings.profile is Profile.PRODUCTION
    if production and settings.embedded_issuer:
        raise BadSetting(
            "PROBEGATE_EMBEDDED_ISSUER: the embedded issuer is for one machine and for tests, and is refused in the "
            "production profile; name your OpenID provider in PROBEGATE_ISSUERS"
        )
    if not settings.embedded_issuer and not settings.issuers:
        raise BadSetting(
            "PROBEGATE_ISSUERS: without the embedded issuer at least one issuer must be named: nobody could sign in"
        )
    if not settings.https and (production or not _loopback(settings.public_url)):
        raise BadSetting(
            f"PROBEGATE_PUBLIC_URL: expected an https:// address, got {settings.public_url!r}; plain http is for the "
            "loopback address in the development profile only"
        )
    for name, issuers in (
        ("PROBEGATE_ISSUERS", [one.issuer for one in settings.issuers]),
        ("PROBEGATE_WORKLOAD_ISSUERS", [one.issuer for one in settings.workload_issuers]),
    ):
        for issuer in issuers:
            if not issuer.startswith("https://") and (production or not _loopback(issuer)):
                raise BadSetting(
                    f"{name}: {issuer!r} must be an https:// address; plain http is for the loopback address in the "
                    "development profile only"
                )
            if issuer == settings.public_url:
                raise BadSetting(f"{name}: {issuer!r} is this server itself")


def _profile(environ: Mapping[str, str]) -> Profile:
    text = environ.get("PROBEGATE_PROFILE", Profile.DEVELOPMENT)
    try:
        return Profile(text)
    except ValueError as error:
        raise BadSetting(f"PROBEGATE_PROFILE: expected development or production, got {text!r}") from error


def _listen(environ: Mapping[str, str], name: str, default: str) -> Listen:
    text = environ.get(name) or default
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isdecimal() or int(port) > 65535:
        raise BadSetting(f"{name}: expected HOST:PORT, got {text!r}")
    return Listen(host.removeprefix("[").removesuffix("]"), int(port))


def _duration(environ: Mapping[str, str], name: str, default: timedelta) -> timedelta:
    text = environ.get(name)
    if not text:
        return default
    try:
        return durations.parse(text)
    except (TemplateError, ValueError) as error:
        raise BadSetting(f"{name}: {error}") from error


def _quotas(environ: Mapping[str, str]) -> Mapping[str, int]:
    name, text = "PROBEGATE_QUOTAS", environ.get("PROBEGATE_QUOTAS") or "{}"
    try:
        found = json.loads(text)
    except ValueError as error:
        raise BadSetting(f'{name}: expected JSON like {{"templates": 200}}, got {text[:80]!r}') from error
    if not isinstance(found, dict) or not all(type(limit) is int and limit >= 0 for limit in found.values()):
        raise BadSetting(f'{name}: expected an object of whole numbers like {{"templates": 200}}, got {text[:80]!r}')
    if set(found) - QUOTAS:
        raise BadSetting(
            f"{name}: there is no quota {', '.join(sorted(set(found) - QUOTAS))}; quotas are {', '.join(sorted(QUOTAS))}"
        )
    return found


def _lease(environ: Mapping[str, str]) -> timedelta:
    text = environ.get("PROBEGATE_LEASE_SECONDS")
    if not text:
        return DEFAULT_LEASE
    if not text.isdecimal() or not LEASE_BOUNDS[0] <= timedelta(seconds=int(text)) <= LEASE_BOUNDS[1]:
        raise BadSetting(f"PROBEGATE_LEASE_SECONDS: expected 2 to 300 whole seconds, got {text!r}")
    return timedelta(seconds=int(text))


def _boolean(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = environ.get(name, "")
    if text not in {"", "true", "false"}:
        raise BadSetting(f"{name}: expected true or false, got {text!r}")
    return text == "true" if text else default


def _issuers(environ: Mapping[str, str], name: str, read: Callable[[str | None], T]) -> T:
    try:
        return read(environ.get(name))
    except ValueError as error:
        raise BadSetting(f"{name}: {error}") from error


def _loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
