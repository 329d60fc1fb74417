"""What the host's owner decides: environment and the host's own file -> Settings, or BadSettings that says which line.

The only place that reads the environment. The file (PROBEGATE_AGENT_CONFIG, /etc/probegate/agent.yaml) may hold

    deny: {functions: ["crypto/*"], paths: ["/usr/sbin/sshd"]}       shell globs over the whole name
    limits: {ttl: 1h, maxEventsPerSecond: 1000, maxHits: 100000, maxString: 256, maxItems: 16, maxDepth: 3, cpu: 1%,
             hostCpu: 25%}                                       of one core, all probes of the host together
    allowUnmasked: false                                             `probegate-agent try --unmasked`

and nothing else: a misspelt limit would be no limit. The limits bind what the control plane signs; `try` is started by
root on this very host and keeps to the template's own. Next: `agents.bootstrap` builds the parts from it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml

from agents.admission.model import HostLimits, HostPolicy
from language import durations
from language.errors import TemplateError

DEFAULT_CONFIG: Final = Path("/etc/probegate/agent.yaml")
DEFAULT_STATE: Final = Path("/var/lib/probegate-agent")
ROOT_CACHE: Final = Path("/var/cache/probegate-agent")
DEFAULT_SHARED: Final = Path("/run/probegate-agent")
MAX_CORES: Final = 64
MAX_CONFIG: Final = 1 << 20  # bytes; a list of globs

_T = TypeVar("_T")
_LIMITS: Final = {
    "maxEventsPerSecond": "max_events_per_second",
    "maxHits": "max_hits",
    "maxString": "max_string",
    "maxItems": "max_items",
    "maxDepth": "max_depth",
}


class BadSettings(Exception):
    """The host's file or an environment variable cannot be used; the text names it and says what is expected."""


@dataclass(frozen=True)
class Settings:
    state: Path = DEFAULT_STATE  # PROBEGATE_AGENT_STATE: identity and seen versions
    cache: Path = ROOT_CACHE  # PROBEGATE_AGENT_CACHE: indexes of executables, can be deleted at any time
    shared: Path = DEFAULT_SHARED  # PROBEGATE_AGENT_SHARED: what probes cost, for the other agents of this host
    host: HostPolicy = field(default_factory=HostPolicy)


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Raises BadSettings. A file that PROBEGATE_AGENT_CONFIG names must exist; the default one may be missing."""
    env = os.environ if environ is None else environ
    named = env.get("PROBEGATE_AGENT_CONFIG")
    path = Path(named) if named else DEFAULT_CONFIG
    if named and not path.exists():
        raise BadSettings(f"PROBEGATE_AGENT_CONFIG names {path}, which does not exist")
    return Settings(
        state=Path(env.get("PROBEGATE_AGENT_STATE") or DEFAULT_STATE),
        cache=Path(env.get("PROBEGATE_AGENT_CACHE") or _default_cache(env)),
        shared=Path(env.get("PROBEGATE_AGENT_SHARED") or DEFAULT_SHARED),
        host=read_host_policy(path) if path.exists() else HostPolicy(),
    )


def read_host_policy(path: Path) -> HostPolicy:
    """Raises BadSettings: a host's rule that cannot be read must not be taken for no rule."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_CONFIG + 1)
        if len(raw) > MAX_CONFIG:
            raise BadSettings(f"{path} is bigger than {MAX_CONFIG} bytes")
        parsed = yaml.safe_load(raw)
    except (OSError, yaml.YAMLError, ValueError) as error:
        raise BadSettings(f"{path} cannot be read: {error}") from error
    try:
        top = _mapping(
            parsed if parsed is not None else {}, "the file", {"deny", "limits", "allowUnmasked", "allowDryRuns"}
        )
        deny = _mapping(top.get("deny", {}), "deny", {"functions", "paths"})
        return HostPolicy(
            deny_functions=_patterns(deny, "functions"),
            deny_paths=_patterns(deny, "paths"),
            limits=_limits(_mapping(top.get("limits", {}), "limits", {*_LIMITS, "ttl", "cpu", "hostCpu"})),
            allow_unmasked=_typed(top, "allowUnmasked", bool, default=True),
            allow_dry_runs=_typed(top, "allowDryRuns", bool, default=False),
        )
    except BadSettings as error:
        raise BadSettings(f"{path}: {error}") from error


def _default_cache(env: Mapping[str, str]) -> Path:
    if os.geteuid() == 0:
        return ROOT_CACHE
    return Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "probegate-agent"


def _limits(given: Mapping[str, Any]) -> HostLimits:
    numbers = {name: _positive(given, key, getattr(HostLimits(), name)) for key, name in _LIMITS.items()}
    cpu = _cpu(given, "cpu", HostLimits().cpu, most=1)
    return HostLimits(
        **numbers, ttl=_ttl(given), cpu=cpu, host_cpu=_cpu(given, "hostCpu", HostLimits().host_cpu, MAX_CORES)
    )


def _ttl(given: Mapping[str, Any]) -> timedelta:
    if "ttl" not in given:
        return HostLimits().ttl
    try:
        return durations.parse(str(given["ttl"]))
    except TemplateError as error:
        raise BadSettings(f"limits.ttl: {error}") from error


def _cpu(given: Mapping[str, Any], key: str, default: float, most: int) -> float:
    """`1%` or 0.01: a share of one core; at most `most` cores."""
    if key not in given:
        return default
    text = str(given[key])
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError as error:
        raise BadSettings(f"limits.{key} must be a share of one core such as 1%, not {text!r}") from error
    if not 0 < share <= most:
        raise BadSettings(f"limits.{key} must be over 0 and at most {most}00%, not {text!r}")
    return share


def _positive(given: Mapping[str, Any], key: str, default: int) -> int:
    number = _typed(given, key, int, default=default)
    if isinstance(number, bool) or number < 1:
        raise BadSettings(f"limits.{key} must be a whole number of at least 1, not {number!r}")
    return number


def _patterns(given: Mapping[str, Any], key: str) -> tuple[str, ...]:
    listed: list[Any] = _typed(given, key, list, default=[])
    if not all(isinstance(item, str) and item for item in listed):
        raise BadSettings(f"deny.{key} must be a list of patterns such as ['crypto/*']")
    return tuple(listed)


def _typed(given: Mapping[str, Any], key: str, kind: type[_T], *, default: _T) -> _T:
    value = given.get(key, default)
    if not isinstance(value, kind):
        raise BadSettings(f"{key} must be a {kind.__name__}, not {value!r}")
    return value


def _mapping(value: object, where: str, keys: set[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadSettings(f"{where} must be a mapping, not {value!r}")
    unknown = [str(key) for key in value if key not in keys]
    if unknown:
        raise BadSettings(f"{where} holds {', '.join(unknown)}; known here: {', '.join(sorted(keys))}")
    return value
