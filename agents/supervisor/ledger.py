"""The ledger of `host_budget` as files in one directory of the host, one an agent, in memory (tmpfs) and gone with it.

Only root's agents write there. A file that has not been written for some windows says nothing any more: its agent rests
or is dead. A directory that others may write to is not used, since anybody could have our probes ended there.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from agents.stages.budget import WINDOW_NS
from agents.supervisor.host_budget import Share

FRESH_NS: Final = 3 * WINDOW_NS
FORGOTTEN_NS: Final = 60_000_000_000  # files of dead agents are removed
MAX_AGENTS: Final = 64  # tenants that probe one host
MAX_BYTES: Final = 64 << 10  # of one file: 64 probes

_LOG: Final = logging.getLogger(__name__)


class FileLedger:
    def __init__(self, directory: Path, boot_ns: Callable[[], int], name: str = "") -> None:
        self._directory = directory
        self._boot_ns = boot_ns
        self._own = directory / f"{name or os.getpid()}.json"
        self._usable = _prepared(directory)

    def publish(self, shares: Sequence[Share]) -> None:
        if not self._usable:
            return
        half = self._own.with_suffix(f".{os.getpid()}")
        try:
            half.write_text(json.dumps({"boot_ns": self._boot_ns(), "shares": [vars(share) for share in shares]}))
            half.rename(self._own)
        except OSError as error:
            _LOG.warning("other agents of this host do not hear what probes cost here: %s", error)

    def others(self) -> tuple[Share, ...]:
        if not self._usable:
            return ()
        files = [file for file in sorted(self._directory.glob("*.json")) if file != self._own][:MAX_AGENTS]
        return tuple(share for file in files for share in self._read(file))

    def _read(self, file: Path) -> list[Share]:
        try:
            with file.open() as opened:
                found = json.loads(opened.read(MAX_BYTES))
            age = self._boot_ns() - int(found["boot_ns"])
            if age > FORGOTTEN_NS or age < 0:
                file.unlink(missing_ok=True)
            if not 0 <= age <= FRESH_NS:
                return []
            return [
                Share(str(each["tenant"]), str(each["tracepoint_id"]), float(each["cpu"])) for each in found["shares"]
            ]
        except (OSError, ValueError, KeyError, TypeError):
            return []  # it is being replaced or is no ledger of ours


def _prepared(directory: Path) -> bool:
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = directory.stat()
    except OSError as error:
        _LOG.warning("%s cannot be used, other agents of this host are not counted: %s", directory, error)
        return False
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        _LOG.warning("%s may be written by others, other agents of this host are not counted", directory)
        return False
    return True
