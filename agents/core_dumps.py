"""No core of this process on any disk: its memory holds values that masking has not seen yet, and keys.

Used by the commands that capture, before anything is captured; `agents.masking` hides values, this hides memory.
"""

from __future__ import annotations

import ctypes
import os
import resource
from typing import Final

_PR_SET_DUMPABLE: Final = 4  # prctl(2)


def forbid_core_dumps() -> None:
    """For good, for this process and what it starts. Raises OSError where the kernel refuses: then nothing may run."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    # A pipe in core_pattern (systemd-coredump, apport) ignores the limit, but not this; nor does ptrace by the same user.
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"PR_SET_DUMPABLE: {os.strerror(number)}")
