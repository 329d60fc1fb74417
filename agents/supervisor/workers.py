"""The few threads that all lives share, since a thread a probe would cost each its own heap.

`rows` drains, decodes, masks, arms and detaches: milliseconds. `files` reads /proc and executables: up to seconds, which
rows must not wait for. A life has at most one call in either at a time.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

ROWS_THREADS: Final = 2  # one batch that takes long to mask does not keep all other rings waiting
FILES_THREADS: Final = 2  # nor one big executable the look at /proc


def _rows() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(ROWS_THREADS, thread_name_prefix="rows")


def _files() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(FILES_THREADS, thread_name_prefix="files")


@dataclass(frozen=True)
class Workers:
    rows: ThreadPoolExecutor = field(default_factory=_rows)
    files: ThreadPoolExecutor = field(default_factory=_files)

    def stop(self) -> None:
        """No new work; what runs is not waited for."""
        self.rows.shutdown(wait=False)
        self.files.shutdown(wait=False)
