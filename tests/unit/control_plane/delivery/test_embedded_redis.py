"""The private redis-server: only ours can speak to it, it comes back when it dies, and it ends when we do."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from control_plane.delivery.embedded_redis import EmbeddedRedis
from control_plane.delivery.redis_store import RedisStore
from control_plane.foundation.clock import SystemClock
from control_plane.foundation.errors import DependencyUnavailable

pytestmark = pytest.mark.peer


async def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("not within 10 s")


def command_line(pid: int | None) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode()


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


async def test_it_answers_to_its_url_only(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / "redis", timedelta())
    await server.start()
    store, stranger = (
        RedisStore(server.url, SystemClock()),
        RedisStore(f"unix://{tmp_path}/redis/redis.sock", SystemClock()),
    )
    try:
        await store.alive()
        with pytest.raises(DependencyUnavailable):
            await stranger.alive()
        assert server.url.split("@")[0].removeprefix("unix://:") not in command_line(server.pid)
        assert not list((tmp_path / "redis").glob("*.rdb"))
        assert (tmp_path / "redis").stat().st_mode & 0o077 == 0
    finally:
        await store.close()
        await stranger.close()
        await server.stop()


async def test_it_comes_back_empty_when_it_dies(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path, timedelta())
    await server.start()
    store = RedisStore(server.url, SystemClock())
    running = asyncio.create_task(server.run())
    try:
        await store.restored()
        first = server.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await wait_until(lambda: server.pid != first)
        async with asyncio.timeout(10):
            while True:
                try:
                    assert await store.lost()
                    break
                except DependencyUnavailable:
                    await asyncio.sleep(0.05)
    finally:
        running.cancel()
        await store.close()
        await server.stop()


async def test_a_directory_with_a_long_name_is_no_obstacle(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / ("x" * 120), timedelta())
    await server.start()
    store = RedisStore(server.url, SystemClock())
    try:
        await store.alive()
    finally:
        await store.close()
        await server.stop()


async def test_it_ends_with_its_parent_even_when_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import asyncio, datetime, pathlib, sys\n"
        "from control_plane.delivery.embedded_redis import EmbeddedRedis\n"
        "async def main():\n"
        "    server = EmbeddedRedis(pathlib.Path(sys.argv[1]), datetime.timedelta())\n"
        "    await server.start()\n"
        "    print(server.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        str(tmp_path),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": ".:proto"},
    )
    child = int(await parent.stdout.readline())
    assert runs(child)
    parent.kill()
    await parent.wait()

    await wait_until(lambda: not runs(child))
