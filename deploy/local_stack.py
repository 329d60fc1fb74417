"""A whole Probegate on one machine, in a directory that goes away with it: server, agent, people, a shop to trace.

The demo shows it to a person, the integration tests ask it questions. Every part is a process of its own, started as
a user would start it, on ports that the system chose; ending the stack ends just those processes.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, Self

import httpx

from client.sdk import Api, Credentials, login

ROOT: Final = Path(__file__).resolve().parents[1]
BIN: Final = Path(sys.executable).parent
START_SECONDS: Final = 60.0  # a server's start on a busy machine: migrations, keys, redis
STOP_SECONDS: Final = 15.0
PACKAGE: Final = ROOT / "tests" / "programs" / "shop"


class StackFailed(Exception):
    """A part did not come up, or a command said no where yes was expected. The text holds what it printed."""


@dataclass(frozen=True)
class Person:
    name: str
    password: str
    roles: tuple[str, ...]


@dataclass
class LocalStack:
    """`directory` is private to this stack. `log` is where the parts' output goes, for a person to look at."""

    directory: Path
    tenant: str = "acme"
    lease_seconds: int = 60
    settings: Mapping[str, str] = field(default_factory=dict)
    started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    http_port: int = 0
    grpc_port: int = 0

    # --- the parts --------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def state(self) -> Path:
        return self.directory / "server"

    def environment(self) -> dict[str, str]:
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith("PROBEGATE_")},
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PROBEGATE_STATE": str(self.state),
            "PROBEGATE_HTTP_LISTEN": f"127.0.0.1:{self.http_port}",
            "PROBEGATE_GRPC_LISTEN": f"127.0.0.1:{self.grpc_port}",
            "PROBEGATE_LEASE_SECONDS": str(self.lease_seconds),
            **self.settings,
        }

    def start_server(self, people: Sequence[Person], administrator: Person) -> None:
        """Create the people and the tenant, then serve."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if not self.http_port:
            self.http_port, self.grpc_port = free_port(), free_port()
        external = "PROBEGATE_DATABASE_URL" in self.settings  # an embedded database makes its tables by itself
        tables = [(("migrate",), "")] if external else []
        added = [(("user", "add", person.name, "--password-stdin"), person.password) for person in people]
        created = (("tenant", "create", self.tenant, "--admin", administrator.name), "")
        members = [(("member", "add", self.tenant, each.name, *each.roles), "") for each in people if each.roles]
        self._server_commands([*tables, *added, created, *members])
        self.serve()

    def serve(self) -> None:
        self.start("server", [str(BIN / "probegate-server"), "serve"])
        self._wait_until_ready()

    def start_agent(
        self, token: str, name: str = "agent", arguments: Sequence[str] = (), host_file: str = ""
    ) -> subprocess.Popen[bytes]:
        """`host_file` is the text of the host's own rules, where the agent is to have some."""
        command = [str(BIN / "probegate-agent"), "run", "--server", f"127.0.0.1:{self.grpc_port}"]
        command += ["--join-token", token, "--state", str(self.directory / name), *arguments]
        if not host_file:
            return self.start(name, command)
        path = self.directory / f"{name}.yaml"
        path.write_text(host_file)
        return self.start(name, command, {"PROBEGATE_AGENT_CONFIG": str(path)})

    def join_agent(
        self, administrator: Person, name: str = "agent", seconds: float = 30.0, host_file: str = ""
    ) -> None:
        """Start an agent with a fresh token and wait until the control plane has seen it."""
        api = self.api(administrator)
        known = len(api.agents())
        token = self.run(administrator, "agent", "token").stdout.strip()
        process = self.start_agent(token, name, host_file=host_file)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends and process.poll() is None:
            if len(api.agents()) > known:
                return
            time.sleep(0.05)
        raise StackFailed(f"the agent did not join:\n{self.log_of(name)[-4000:]}")

    def agents(self, person: Person) -> list[dict[str, object]]:
        found = self.json(person, "agent", "ls")
        if not isinstance(found, list):
            raise StackFailed(f"expected a list of agents, got {found!r}")
        return found

    def start_shop(self, *arguments: str) -> subprocess.Popen[bytes]:
        """The shop; its printed calls go to `shop.log` in the directory."""
        return self.start("shop", [str(self.build_shop()), *arguments])

    def build_shop(self, path: str = "checkoutservice", *options: str) -> Path:
        """At this place below the directory; `options` are those of `go build`."""
        binary = self.directory / path
        if not binary.exists():
            cache = ROOT / ".cache" / "go-build"
            environment = {**self.environment(), "GOCACHE": str(cache), "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"}
            built = subprocess.run(
                [str(BIN / "go"), "build", *options, "-o", str(binary), "."],
                cwd=PACKAGE, env=environment, capture_output=True, text=True, check=False,
            )  # fmt: skip
            if built.returncode:
                raise StackFailed(f"the shop could not be built:\n{built.stderr}")
        return binary

    # --- the people -------------------------------------------------------------------------------------------------

    def sign_in(self, person: Person) -> None:
        """`probegate login`, with this process playing the browser at the issuer's page."""
        command = [str(BIN / "probegate"), "login", "--server", self.url, "--tenant", self.tenant, "--no-browser"]
        with subprocess.Popen(command, env=self.person_environment(person), stderr=subprocess.PIPE, text=True) as login:
            assert login.stderr is not None
            said = ""
            for line in login.stderr:
                said += line
                if line.startswith("http"):
                    browse_sign_in(line.strip(), person)
                    break
            said += login.stderr.read()
        if login.returncode:
            raise StackFailed(f"{person.name} could not sign in:\n{said}")

    def sign_in_all(self, people: Sequence[Person]) -> None:
        """The first by the command, the others the same way in this process: starting it takes longer than they do."""
        self.sign_in(people[0])
        for person in people[1:]:
            browse = functools.partial(browse_sign_in, person=person)
            self._credentials(person).put(login.by_browser(self.url, self.url, self.tenant, browse))

    def api(self, person: Person) -> Api:
        """What the commands ask, as this person, without the start of a process: to look at something again and again."""
        return Api(self._credentials(person))

    def _credentials(self, person: Person) -> Credentials:
        return Credentials.load(Path(self.person_environment(person)["PROBEGATE_CONFIG"]))

    def client_command(self, *arguments: str) -> list[str]:
        return [str(BIN / "probegate"), *arguments]

    def run(self, person: Person, *arguments: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """`probegate ...` as this person; never raises for an exit status."""
        return subprocess.run(
            self.client_command(*arguments),
            env=self.person_environment(person), capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip

    def json(self, person: Person, *arguments: str) -> object:
        """What `probegate ... -o json` prints. Raises StackFailed unless it ends with status 0."""
        done = self.run(person, *arguments, "-o", "json")
        if done.returncode:
            raise StackFailed(f"probegate {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
        return json.loads(done.stdout)

    def person_environment(self, person: Person) -> dict[str, str]:
        return self.environment() | {"PROBEGATE_CONFIG": str(self.directory / "people" / f"{person.name}.json")}

    # --- processes --------------------------------------------------------------------------------------------------

    def server_command(self, *arguments: str, text: str = "") -> str:
        return self._said([str(BIN / "probegate-server"), *arguments], text)

    def _server_commands(self, commands: Sequence[tuple[tuple[str, ...], str]]) -> None:
        """Several, each with its standard input, in one process."""
        listed = [{"arguments": arguments, "text": text} for arguments, text in commands]
        self._said([sys.executable, str(ROOT / "deploy" / "server_commands.py")], json.dumps(listed))

    def _said(self, command: Sequence[str], text: str) -> str:
        done = subprocess.run(
            command,
            env=self.environment(), input=text, capture_output=True, text=True, timeout=START_SECONDS, check=False,
        )  # fmt: skip
        if done.returncode:
            raise StackFailed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
        return done.stdout

    def start(
        self, name: str, command: Sequence[str], more: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """`more` is added to the stack's environment."""
        with self._log(name) as log:
            # setpriv: no part outlives whoever started the stack, however that ended
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *command], env=self.environment() | dict(more or {}), cwd=self.directory, stdout=log, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        self.started[name] = process
        return process

    def log_of(self, name: str) -> str:
        path = self.directory / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def kill(self, name: str) -> None:
        """SIGKILL: no goodbye."""
        process = self.started.pop(name)
        process.kill()
        process.wait(STOP_SECONDS)

    def stop(self, name: str) -> None:
        process = self.started.pop(name, None)
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)

    def close(self, *, keep: bool = False) -> None:
        """End everything that was started, the newest first."""
        for name in reversed(list(self.started)):
            self.stop(name)
        if not keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _log(self, name: str) -> IO[bytes]:
        return (self.directory / f"{name}.log").open("ab")

    def _wait_until_ready(self) -> None:
        ends = time.monotonic() + START_SECONDS
        while time.monotonic() < ends:
            if self.started["server"].poll() is not None:
                break
            try:
                if httpx.get(f"{self.url}/readyz", timeout=2.0).is_success:
                    return
            except httpx.HTTPError:
                pass  # not listening yet
            time.sleep(0.05)
        raise StackFailed(f"the server did not become ready:\n{self.log_of('server')[-4000:]}")


def browse_sign_in(address: str, person: Person) -> None:
    """What a browser and a person do with the sign-in page: read the form, fill it in, follow the way back."""
    with httpx.Client(timeout=10.0, follow_redirects=False) as browser:
        page = browser.get(address)
        fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text))
        fields = {name: value.replace("&amp;", "&").replace("&#34;", '"') for name, value in fields.items()}
        action = re.search(r'<form method="post" action="([^"]+)"', page.text)
        if action is None:
            raise StackFailed(f"the sign-in page holds no form ({page.status_code}):\n{page.text[:2000]}")
        answer = browser.post(
            str(page.url.join(action[1])), data=fields | {"name": person.name, "password": person.password}
        )
        if not answer.has_redirect_location:
            raise StackFailed(f"the issuer refused {person.name} ({answer.status_code}):\n{answer.text[:2000]}")
        browser.get(answer.headers["location"])


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
