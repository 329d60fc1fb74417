"""A built server -> a running one: HTTP, the agents' gateway and the background work in one event loop.

A signal ends it in order: no new requests, streams cut after a grace, background work cancelled, adapters closed by
`bootstrap`. If one of the parts fails, all end: a control plane that lacks a part must not look alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import Final

import uvicorn

from control_plane.bootstrap.server import Server, built
from control_plane.settings import Settings

GRACE: Final = 3  # seconds for open requests to finish; live streams are cut after it
KEEP_ALIVE: Final = 30  # seconds


class _Http(uvicorn.Server):
    """uvicorn without its own signal handlers: it would raise the signal again and kill the other parts."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(settings: Settings) -> None:
    """Until SIGINT or SIGTERM. Raises what stopped a part."""
    async with built(settings) as server:
        await _run(server)


async def _run(server: Server) -> None:
    settings = server.settings
    http = _Http(
        uvicorn.Config(
            server.app,
            host=settings.http_listen.host,
            port=settings.http_listen.port,
            log_config=None,  # `__main__` has configured logging
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE,
            timeout_keep_alive=KEEP_ALIVE,
            lifespan="off",
        )
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await server.gateway.start(settings.grpc_listen.host, settings.grpc_listen.port)
    try:
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(http.serve(), name="http")
            background = [tasks.create_task(start(), name=name) for name, start in server.work]
            tasks.create_task(_announce(http, settings), name="announce")
            stopping = tasks.create_task(stop.wait(), name="signal")
            await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
            http.should_exit = True
            await asyncio.wait((serving,))
            for task in (*background, stopping):
                task.cancel()
    finally:
        await server.gateway.stop()


async def _announce(http: _Http, settings: Settings) -> None:
    while not http.started:
        if http.should_exit:
            return
        await asyncio.sleep(0.02)
    print(
        f"probegate-server: {settings.public_url} for people, {settings.grpc_listen} for agents",
        file=sys.stderr,
        flush=True,
    )
