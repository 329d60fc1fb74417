"""Numbers for batches that no restart uses again: the gateway stores each number of a tracepoint once.

Numbers are taken from blocks that are written down before their first is used; a restart skips the rest of a block.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Final

BLOCK: Final = 4096  # one small write for this many batches
MAX_TRACEPOINTS: Final = 1000  # those used last; an ended tracepoint's number is not needed again

_LOG: Final = logging.getLogger(__name__)


class Sequences:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._reserved = _read(path)  # tracepoint -> first number that is not reserved
        self._next: dict[str, int] = {}

    def __call__(self, tracepoint_id: str) -> int:
        """The next number of this tracepoint, from 1 on. Raises OSError when it cannot be written down."""
        number = self._next.get(tracepoint_id) or self._reserved.get(tracepoint_id, 1)
        if number >= self._reserved.get(tracepoint_id, 1):
            self._reserve(tracepoint_id, number + BLOCK)
        self._next[tracepoint_id] = number + 1
        return number

    def _reserve(self, tracepoint_id: str, until: int) -> None:
        self._reserved.pop(tracepoint_id, None)
        self._reserved[tracepoint_id] = until  # last: dicts keep order, and the oldest go first
        for oldest in list(self._reserved)[:-MAX_TRACEPOINTS]:
            del self._reserved[oldest]
        half = self._path.with_suffix(".new")
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        half.write_text(json.dumps(self._reserved))
        half.rename(self._path)


def _read(path: Path) -> dict[str, int]:
    try:
        return {str(key): int(value) for key, value in json.loads(path.read_text()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError):
        # Unlike the memory of versions this guards nothing: at worst the first batches after it are taken for repeats.
        _LOG.warning(
            "%s is damaged and starts anew; batches of tracepoints that still run may be taken for repeats", path
        )
        return {}
