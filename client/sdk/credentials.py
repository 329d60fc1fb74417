"""Where the tokens are kept: one file, readable by its owner only, a context a control plane.

Entered by `login`, read by `api`, which also writes refreshed tokens back. The file is
$PROBEGATE_CONFIG, or probegate/credentials.json below $XDG_CONFIG_HOME or ~/.config.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

from client.sdk.errors import ClientError, NotSignedIn

DEFAULT_SERVER: Final = "http://127.0.0.1:8440"
EXPIRY_MARGIN: Final = 30  # seconds: a token this close to its end is refreshed first


@dataclass(frozen=True)
class Context:
    """One control plane as one person. `expires_at` is unix seconds; tokens are secrets and not shown."""

    name: str
    server: str
    tenant: str = ""
    issuer: str = ""
    client_id: str = ""
    access_token: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    expires_at: float = 0.0
    issuer_name: str = ""  # as the control plane calls it, when it has several
    flow: str = "browser"  # how the person signed in: again the same way when a step-up asks for it

    def is_fresh(self) -> bool:
        return bool(self.access_token) and time.time() < self.expires_at - EXPIRY_MARGIN


def default_path() -> Path:
    if named := os.environ.get("PROBEGATE_CONFIG"):
        return Path(named)
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "probegate" / "credentials.json"


@dataclass
class Credentials:
    """All contexts, and which one is used."""

    path: Path
    contexts: dict[str, Context] = field(default_factory=dict)
    active: str = ""

    @classmethod
    def load(cls, path: Path | None = None) -> Credentials:
        """Read the file; an absent one is an empty set. Raises ClientError for one that cannot be read.

        A personal token in PROBEGATE_TOKEN goes before the file: it says its tenant itself, PROBEGATE_SERVER where.
        """
        if token := os.environ.get("PROBEGATE_TOKEN", ""):
            return cls._by_token(token, path or default_path())
        where = path or default_path()
        try:
            text = where.read_text()
        except FileNotFoundError:
            return cls(where)
        except OSError as problem:
            raise ClientError(f"cannot read {where}: {problem.strerror}") from problem
        try:
            stored = json.loads(text)
            contexts = {name: Context(**value) for name, value in stored["contexts"].items()}
            return cls(where, contexts, str(stored["active"]))
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            raise ClientError(
                f"{where} is not a credentials file ({problem}); move it away and sign in again"
            ) from problem

    @classmethod
    def _by_token(cls, token: str, path: Path) -> Credentials:
        server = os.environ.get("PROBEGATE_SERVER", DEFAULT_SERVER).rstrip("/")
        _, _, rest = token.partition("_")
        context = Context("token", server, rest.rpartition("_")[0], access_token=token, expires_at=float("inf"))
        return cls(path, {context.name: context}, context.name)

    def current(self) -> Context:
        """The context in use. Raises NotSignedIn."""
        if self.active not in self.contexts:
            raise NotSignedIn("not signed in: run `probegate login --server URL`")
        return self.contexts[self.active]

    def put(self, context: Context, *, activate: bool = True) -> None:
        self.contexts[context.name] = context
        if activate:
            self.active = context.name
        self.save()

    def forget_tokens(self, name: str) -> None:
        self.contexts[name] = replace(self.contexts[name], access_token="", refresh_token="", expires_at=0.0)
        self.save()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time, with what the others have written: a refresh token is good once, so two must not use it."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = self.path.with_name(f".{self.path.name}.lock")
        with os.fdopen(os.open(lock, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.contexts = type(self).load(self.path).contexts or self.contexts
            yield

    def save(self) -> None:
        """Write whole or not at all, mode 0600 from the first byte."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = json.dumps(
            {"active": self.active, "contexts": {name: asdict(c) for name, c in self.contexts.items()}}, indent=2
        )
        fresh = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        fresh.replace(self.path)
