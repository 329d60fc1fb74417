"""The few threads that all lives share, since a thread a probe would cost each its own heap.

`rows` drains, decodes, masks, arms and detaches: milliseconds. `files` reads /proc and executables: up to seconds, which
rows must not wait for. A life has at most one call in either at a time. `ends` takes probes out of their targets and does
nothing else: a batch of another probe that takes seconds to mask must not keep one attached that has to go.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

ROWS_THREADS: Final = 2  # one batch that takes long to mask does not keep all other rings waiting
FILES_THREADS: Final = 2  # nor one big executable the look at /proc
ENDS_THREADS: Final = 8  # each waits a tenth of a second for the kernel, not for a core: a lock on many is quick


def _rows() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(ROWS_THREADS, thread_name_prefix="rows")


def _files() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(FILES_THREADS, thread_name_prefix="files")


def _ends() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(ENDS_THREADS, thread_name_prefix="ends")


@dataclass(frozen=True)
class Workers:
    rows: ThreadPoolExecutor = field(default_factory=_rows)
    files: ThreadPoolExecutor = field(default_factory=_files)
    ends: ThreadPoolExecutor = field(default_factory=_ends)

    def stop(self) -> None:
        """No new work; what runs is not waited for."""
        self.rows.shutdown(wait=False)
        self.files.shutdown(wait=False)
        self.ends.shutdown(wait=False)
