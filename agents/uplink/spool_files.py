"""Batches that wait for the control plane while it is away, as files: masked rows, since nothing else comes this far.

One file a batch in a directory of this very agent, mode 0700; what another agent or tenant left on this host is removed,
never sent. A batch is written whole or not at all; a process that dies loses none of them, a power cut may.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError
from wire.v1 import records_pb2

SUFFIX: Final = ".batch"
_HALF: Final = ".half"

_LOG: Final = logging.getLogger(__name__)


class SpoolFiles:
    """`agents.uplink.spool.Store`. `agent_id` names who the batches belong to."""

    def __init__(self, directory: Path, agent_id: str) -> None:
        self._directory = directory / agent_id
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for other in directory.iterdir():
            if other != self._directory and other.is_dir():
                shutil.rmtree(other, ignore_errors=True)

    def write(self, order: int, batch: records_pb2.Batch) -> None:
        """Raises OSError."""
        path = self._path(order)
        half = path.with_suffix(_HALF)
        try:
            with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(batch.SerializeToString())
            half.rename(path)
        except OSError:
            half.unlink(missing_ok=True)
            raise

    def read(self, order: int) -> records_pb2.Batch | None:
        """None when it is gone or damaged."""
        try:
            return records_pb2.Batch.FromString(self._path(order).read_bytes())
        except (OSError, DecodeError) as error:
            _LOG.warning("%s cannot be sent: %s", self._path(order), type(error).__name__)
            return None

    def remove(self, order: int) -> None:
        self._path(order).unlink(missing_ok=True)

    def kept(self) -> tuple[int, ...]:
        """What is there, oldest first."""
        for half in self._directory.glob(f"*{_HALF}"):
            half.unlink(missing_ok=True)  # it died while it wrote
        return tuple(sorted(int(file.stem) for file in self._directory.glob(f"*{SUFFIX}") if file.stem.isdigit()))

    def _path(self, order: int) -> Path:
        return self._directory / f"{order:016d}{SUFFIX}"
