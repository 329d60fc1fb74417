"""The agent as people start it: `probegate-agent ...` in a process of its own, and the shop that it traces."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from tests.builders.programs import PROGRAMS, ROOT, build_go

T = TypeVar("T")
PACKAGE: Final = "github.com/GoogleCloudPlatform/microservices-demo/src/checkoutservice"
SUM: Final = f"{PACKAGE}/money.Sum"


class Process:
    """A child whose output is collected as it comes, line by line."""

    def __init__(self, command: Sequence[str], env: dict[str, str] | None = None) -> None:
        self.child = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=dict(os.environ) | (env or {}),
            cwd=ROOT,
        )
        self.out: list[str] = []
        self.err: list[str] = []
        self._readers = [
            threading.Thread(target=self._collect, args=pair, daemon=True)
            for pair in ((self.child.stdout, self.out), (self.child.stderr, self.err))
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self.child.pid

    def until(self, true: Callable[[], T], seconds: float = 30.0) -> T:
        deadline = time.monotonic() + seconds
        while not (found := true()):
            if time.monotonic() > deadline:
                raise AssertionError(f"not seen within {seconds} s; stderr: {''.join(self.err[-30:])}")
            time.sleep(0.02)
        return found

    def ended(self, seconds: float = 60.0) -> int:
        """Its exit status, when all its output is read."""
        status = self.child.wait(seconds)
        for reader in self._readers:
            reader.join(5)
        return status

    def stop(self, number: int = signal.SIGINT) -> None:
        self.child.send_signal(number)

    @staticmethod
    def _collect(pipe: Any, lines: list[str]) -> None:
        with pipe:
            lines.extend(iter(pipe.readline, ""))


def loaded_by(pid: int) -> set[int]:
    """Ids of the BPF programs that a process holds."""
    return {int(fields["prog_id"]) for fields in _descriptors(pid) if "prog_id" in fields and "prog_tag" in fields}


def maps_of(pid: int) -> set[int]:
    """Ids of the BPF maps that a process holds."""
    return {int(fields["map_id"]) for fields in _descriptors(pid) if "map_id" in fields}


def links_of(pid: int) -> set[int]:
    """Ids of the BPF links that a process holds: where its programs are attached."""
    return {int(fields["link_id"]) for fields in _descriptors(pid) if "link_id" in fields}


def _descriptors(pid: int) -> Iterator[dict[str, str]]:
    """What the kernel says beside each descriptor of a process."""
    for each in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            text = each.read_text()
        except FileNotFoundError:
            continue  # closed meanwhile
        yield dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


@contextmanager
def running(command: Sequence[str], env: dict[str, str] | None = None) -> Iterator[Process]:
    process = Process(command, env)
    try:
        yield process
    finally:
        if process.child.poll() is None:
            process.child.kill()
        process.ended(10)


@contextmanager
def shop(*flags: str, env: dict[str, str] | None = None) -> Iterator[Process]:
    """The shop, placing an order every 20 ms; `calls` reads what it printed."""
    program = build_go(PROGRAMS / "shop")
    named = {"PROBEGATE_SERVICE": "shop-under-test"} | (env or {})  # never a service that other tests trace
    with running([str(program), *(flags or ("-every", "20ms"))], named) as process:
        process.until(lambda: process.out)
        yield process


def calls(process: Process) -> list[dict[str, Any]]:
    return [json.loads(line) for line in list(process.out) if line.endswith("\n")]


def agent(*arguments: str, config: Path | None = None) -> AbstractContextManager[Process]:
    return running(agent_command(*arguments), agent_environment(config))


def agent_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "agents", *arguments]


def agent_environment(config: Path | None = None) -> dict[str, str]:
    settings = {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}",
        "PROBEGATE_AGENT_CACHE": str(ROOT / ".cache" / "agent"),
    }
    return settings | ({"PROBEGATE_AGENT_CONFIG": str(config)} if config is not None else {})


def run_agent(*arguments: str, config: Path | None = None, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """One command to its end."""
    return subprocess.run(
        agent_command(*arguments),
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=dict(os.environ) | agent_environment(config),
        cwd=ROOT,
    )
