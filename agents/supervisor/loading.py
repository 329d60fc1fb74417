"""What was being put into the kernel when the agent died, over restarts: a spec that took it down is not loaded again.

Written down before the first program of a spec is loaded and taken out when it is armed (or refused, which is an
answer too). What is still there when the agent starts is a tombstone until that tracepoint gets another version.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

MAX_TOMBSTONES: Final = 1000  # the newest; a spec is over after a week at most, and no host dies as often as that

_LOG: Final = logging.getLogger(__name__)


class Loading:
    """One agent's, in its state directory. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._now: dict[str, int] = {}
        self._dead = _read(path)  # what was loading in an earlier life, or died in a still earlier one

    @contextmanager
    def entered(self, tracepoint_id: str, version: int) -> Iterator[None]:
        """On disk from before the block until it is left, however. Raises OSError before the block."""
        with self._lock:
            self._dead.pop(tracepoint_id, None)
            self._write({**self._now, tracepoint_id: version}, lasting=True)
            self._now[tracepoint_id] = version
        try:
            yield
        finally:
            with self._lock:
                self._now.pop(tracepoint_id, None)
                self._write(self._now, lasting=False)

    def died_with(self, tracepoint_id: str, version: int) -> bool:
        """Whether an agent of this host died while it loaded this very version."""
        with self._lock:
            return self._dead.get(tracepoint_id) == version

    def _write(self, loading: dict[str, int], *, lasting: bool) -> None:
        """`lasting`: before anything risky it must survive the whole host. Afterwards a lost write only warns too much."""
        kept = dict(list(self._dead.items())[-MAX_TOMBSTONES:]) | loading
        half = self._path.with_suffix(".new")
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with half.open("w") as file:
            json.dump(kept, file)
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        half.rename(self._path)


def _read(path: Path) -> dict[str, int]:
    try:
        found = {str(key): int(value) for key, value in json.loads(path.read_text()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        # It is replaced whole, so this is no crash of ours. Refusing everything would not make anybody safer.
        _LOG.warning("%s is damaged and starts anew: %s", path, error)
        return {}
    for tracepoint_id, version in found.items():
        _LOG.warning(
            "version %d of %s was being loaded when the agent died; it is not loaded again", version, tracepoint_id
        )
    return found
