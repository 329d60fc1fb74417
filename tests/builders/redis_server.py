"""A private real redis-server for one test: on a Unix socket in a directory of its own, ended by its pid."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass
class RedisServer:
    """`url` stays the same when it is killed and started again; what it held does not."""

    directory: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.directory / "redis.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        options = ["--port", "0", "--unixsocket", str(self.socket), "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(
            ["redis-server", *options, "--dir", str(self.directory)], stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"redis-server did not start in {self.directory}")
            time.sleep(0.01)

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
            self.socket.unlink(missing_ok=True)

    def freeze(self) -> None:
        """SIGSTOP: it still accepts connections, and answers nothing."""
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGCONT)

    def _answers(self) -> bool:
        asked = subprocess.run(
            ["redis-cli", "-s", str(self.socket), "ping"], check=False, capture_output=True, timeout=5
        )
        return asked.stdout.strip() == b"PONG"


@contextlib.contextmanager
def redis_server() -> Iterator[RedisServer]:
    """Skips where Debian's `redis-server` is missing."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    directory = Path(tempfile.mkdtemp(prefix="pg-redis-"))  # short: a socket's path has at most 107 bytes
    server = RedisServer(directory)
    try:
        server.start()
        yield server
    finally:
        server.thaw()
        server.kill()
        shutil.rmtree(directory, ignore_errors=True)
