"""A private redis-server where no URL is given: a child that listens on a Unix socket only, keeps nothing and ends with us.

Enters: a directory of ours. Leaves: a URL with a random password. `setpriv --pdeathsig` has the kernel end the child
with its parent, however that ends; `run` starts it again when it dies alone, but only when every agent's lease has
ended: a loss is seen, no probe runs on through it. What it held is then published again (`SpecStore.lost`), since the
database is the truth and Redis only carries.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import quote

from control_plane.foundation.errors import DependencyUnavailable

START_SECONDS: Final = 10.0  # a loaded machine included; usual are 20 ms
SPAWN_PAUSE: Final = 0.5  # seconds; a server that cannot start must not spin
MAX_MEMORY: Final = "256mb"  # ten thousand specs of 16 KiB, and then writes fail rather than specs vanish
_SOCKET_PATH: Final = 100  # bytes; sockaddr_un holds 107, and the kernel's answer to more is obscure

log = logging.getLogger(__name__)


class EmbeddedRedis:
    """`start`, then `run` in a task; `stop` at the end."""

    def __init__(self, directory: Path, restart_after: timedelta) -> None:
        self._directory = directory
        self._restart_after = restart_after
        self._password = secrets.token_urlsafe(32)
        self._process: asyncio.subprocess.Process | None = None
        self._temporary: Path | None = None

    @property
    def url(self) -> str:
        return f"unix://:{self._password}@{quote(str(self._socket))}"

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def _socket(self) -> Path:
        return self._directory / "redis.sock"

    async def start(self) -> None:
        """Returns when it answers. Raises DependencyUnavailable when it cannot be started."""
        for program, package in (("redis-server", "redis-server"), ("setpriv", "util-linux")):
            if shutil.which(program) is None:
                raise DependencyUnavailable(
                    f"{program} is not installed: apt-get install {package}, or name a Redis in PROBEGATE_REDIS_URL"
                )
        if len(str(self._socket).encode()) > _SOCKET_PATH:
            self._temporary = self._directory = Path(tempfile.mkdtemp(prefix="probegate-redis-"))
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        await self._spawn()

    async def run(self) -> None:
        """Start it again whenever it dies, until cancelled."""
        while True:
            if self._process is not None:
                status = await self._process.wait()
                self._process = None
                log.error(
                    "the embedded redis-server ended with status %s: starting it again, empty, in %s when no probe lives",
                    status,
                    self._restart_after,
                )
                await asyncio.sleep(self._restart_after.total_seconds())
            await asyncio.sleep(SPAWN_PAUSE)
            try:
                await self._spawn()
            except DependencyUnavailable:
                log.exception("the embedded redis-server does not start; trying again")

    async def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()  # there is nothing to save
            await process.wait()
        self._socket.unlink(missing_ok=True)
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    async def _spawn(self) -> None:
        self._socket.unlink(missing_ok=True)
        process = await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig", "KILL", "redis-server", "-"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            cwd=self._directory,
        )
        self._process = process
        if process.stdin is not None:  # the configuration, and so the password, never stands in a command line
            process.stdin.write(self._configuration().encode())
            process.stdin.close()
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await self._answers():
                    if process.returncode is not None:
                        raise DependencyUnavailable(f"redis-server ended at once with status {process.returncode}")
                    await asyncio.sleep(0.02)
        except TimeoutError as error:
            process.kill()
            raise DependencyUnavailable(f"redis-server did not answer within {START_SECONDS:.0f} s") from error

    def _configuration(self) -> str:
        lines = (
            "port 0",
            f'unixsocket "{self._socket}"',
            "unixsocketperm 700",
            f"requirepass {self._password}",
            'save ""',
            "appendonly no",
            f"maxmemory {MAX_MEMORY}",
            "maxmemory-policy noeviction",
            "daemonize no",
        )
        return "\n".join(lines) + "\n"

    async def _answers(self) -> bool:
        """Whether it greets an unknown client with its demand for a password: it is up then."""
        try:
            reader, writer = await asyncio.open_unix_connection(str(self._socket))
        except OSError:
            return False
        try:
            writer.write(b"PING\r\n")
            async with asyncio.timeout(1.0):
                return (await reader.readline()).startswith(b"-NOAUTH")
        except (OSError, TimeoutError):
            return False
        finally:
            writer.close()
