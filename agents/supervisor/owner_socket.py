"""The host's owner speaks to the running agent: one JSON line in, one out, over a Unix socket that root alone may open.

    {"do": "list"}                                        -> {"agent", "tenant", "probes": [...]}
    {"do": "stop", "which": ID | NAME | "*", "reason"}    -> {"stopped": [...], "still": [...]}
    {"do": "reload"}                                      -> {"stopped": [...]}
    anything that cannot be done                          -> {"error": "..."}

It needs no control plane. One socket an agent, <pid>.sock in the directory that the agents of a host share;
`agents.cli.owner` is the other end.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from agents.admission.model import HostPolicy

MAX_LINE: Final = 64 << 10  # bytes of a question; ids and a reason
ANSWER_SECONDS: Final = 30.0  # a stop waits for the kernel to let go, which takes a tenth of a second
MAX_REASON: Final = 500  # characters; it is shown beside the end of the probe
EVERY: Final = "*"
_PEER: Final = struct.Struct("3i")  # struct ucred: pid, uid, gid

_LOG: Final = logging.getLogger(__name__)


class CannotDo(Exception):
    """What was asked for cannot be done; the text says why, to the host's owner."""


class Owned(Protocol):
    """The supervisor, as far as the host's owner uses it."""

    def listed(self) -> Sequence[dict[str, Any]]: ...
    async def stop_here(self, which: Collection[str] | None, reason: str) -> tuple[list[str], list[str]]: ...
    async def rules_changed(self, policy: HostPolicy) -> list[str]: ...


class OwnerSocket:
    """`read_policy` reads the host's file again; raises CannotDo when it cannot be used, and nothing changes then."""

    def __init__(self, owned: Owned, read_policy: Callable[[], HostPolicy], who: dict[str, str]) -> None:
        self._owned = owned
        self._read_policy = read_policy
        self._who = who

    async def reload(self) -> list[str]:
        """What ended by it. Raises CannotDo."""
        policy = await asyncio.to_thread(self._read_policy)
        stopped = await self._owned.rules_changed(policy)
        _LOG.info("the host's rules were read again; %d probes ended", len(stopped))
        return stopped

    @asynccontextmanager
    async def opened(self, directory: Path) -> AsyncIterator[None]:
        """Listening while the block runs. An agent without its socket works on: `systemctl stop` ends everything too."""
        path = directory / f"{os.getpid()}.sock"
        try:
            server = await asyncio.start_unix_server(self._asked, sock=_listening(path), limit=MAX_LINE)
        except OSError as error:
            _LOG.warning("`probegate-agent list|stop|reload` cannot reach this agent: %s", error)
            yield
            return
        try:
            yield
        finally:
            server.close()
            path.unlink(missing_ok=True)

    async def _asked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await self._answer(reader, writer)
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (OSError, TimeoutError, ValueError) as error:
            _LOG.warning("a question of the host's owner was not answered: %s", error or "it took too long")
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> dict[str, Any]:
        if _uid(writer) not in {0, os.geteuid()}:
            return {"error": "only root may ask this"}
        question = json.loads(await reader.readline())
        try:
            match question:
                case {"do": "list"}:
                    return {**self._who, "probes": list(self._owned.listed())}
                case {"do": "stop", "which": str(which), "reason": str(reason)} if len(reason) <= MAX_REASON:
                    stopped, still = await self._owned.stop_here(None if which == EVERY else {which}, reason)
                    return {"stopped": stopped, "still": still}
                case {"do": "reload"}:
                    return {"stopped": await self.reload()}
                case _:
                    return {"error": "that is none of list, stop and reload"}
        except CannotDo as error:
            return {"error": str(error)}


def _listening(path: Path) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = path.parent.stat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise PermissionError(f"{path.parent} may be written by others")
    path.unlink(missing_ok=True)  # of an agent that was killed and had this pid
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listening.bind(str(path))
    except OSError:
        listening.close()
        raise
    finally:
        os.umask(mask)
    return listening


def _uid(writer: asyncio.StreamWriter) -> int:
    """Of the process at the other end, as the kernel says (SO_PEERCRED)."""
    peer = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    uid: int = _PEER.unpack(peer)[1]
    return uid
