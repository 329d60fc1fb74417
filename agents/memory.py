"""Keep a long-running agent small: what a burst of rows needed goes back to the system.

glibc gives every thread a heap of its own and keeps what was freed; compiling the masking's patterns alone leaves 50 MB
behind. Two heaps are enough for the few threads that work (`agents.supervisor.workers`). Called by `agents.__main__`
before anything else is loaded.
"""

from __future__ import annotations

import ctypes
import os
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Final

HEAPS: Final = 2
BIG_BLOCK: Final = 256 << 10  # bytes; blocks from here on are pages of their own, gone when they are freed
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # malloc.h; setting the threshold also stops glibc from raising it


class _Without(MetaPathFinder):
    """Arrow looks for pandas when it first meets a Python list, and loads 40 MB of it where it happens to be installed."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        del path, target
        if fullname == "pandas":
            raise ModuleNotFoundError("an agent has no use for pandas", name=fullname)
        return None


def keep_small() -> None:
    """Once, before any thread is started and before Arrow is loaded."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # glibc; another C library has habits of its own
        libc.mallopt(_M_ARENA_MAX, HEAPS)
        libc.mallopt(_M_MMAP_THRESHOLD, BIG_BLOCK)
    os.putenv("ARROW_DEFAULT_MEMORY_POOL", "system")  # Arrow's own allocator keeps what was freed as well
    sys.meta_path.insert(0, _Without())


def give_back() -> None:
    """What is free goes back to the system: some milliseconds, so only now and then."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
