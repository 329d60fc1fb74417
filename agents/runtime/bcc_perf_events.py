"""The one place that knows bcc: uprobes as perf events, for kernels without a usable uprobe_multi.

`bcc` is Debian's python3-bpfcc and lives in dist-packages, outside any virtual environment; PyPI's `bcc` is an unrelated
project. So it is loaded from Debian's folder by its path, here only, and nothing else of that folder becomes importable.
"""

from __future__ import annotations

import ctypes
import errno
import importlib.util
import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from agents.runtime.model import ArmFailed, ArmReason

DEBIAN_PACKAGE: Final = "python3-bpfcc"
DIST_PACKAGES: Final = Path("/usr/lib/python3/dist-packages")
EVERY_PROCESS: Final = -1  # the program filters by PROCESSES itself
_ON_ENTRY, _ON_RETURN = 0, 1  # enum bpf_probe_attach_type of libbpf.h in bcc
_NO_REFERENCE_COUNTER: Final = 0


class BccMissing(Exception):
    """bcc is not installed or does not load; says what to install."""


def open_uprobe(prog_fd: int, path: str, offset: int, *, on_return: bool) -> int:
    """A perf event at `offset` of the file with the program on it, enabled. Raises ArmFailed, BccMissing."""
    name = f"pg_{os.getpid()}_{offset:x}".encode()  # used only where the uprobe PMU is missing (before 4.17)
    kind = _ON_RETURN if on_return else _ON_ENTRY
    # bpf_attach_uprobe has a seventh argument that bcc's Python declaration leaves out: without the explicit zero
    # libbcc would read a semaphore's offset from whatever stands on the stack.
    arguments = (prog_fd, kind, name, os.fsencode(path), offset, EVERY_PROCESS, _NO_REFERENCE_COUNTER)
    fd = int(library().bpf_attach_uprobe(*arguments))
    if fd < 0:
        code = ctypes.get_errno()
        reason = ArmReason.NOT_PERMITTED if code in {errno.EPERM, errno.EACCES} else ArmReason.ATTACH
        raise ArmFailed(reason, f"no perf event could be opened at offset {offset:#x}: {os.strerror(code)}")
    return fd


def close_uprobe(event_fd: int) -> None:
    """Disable the event and close it; when this returns the program runs no more at that place."""
    library().bpf_close_perf_event_fd(event_fd)


def expect_installed() -> None:
    """Raises BccMissing; loads nothing."""
    if not (DIST_PACKAGES / "bcc" / "__init__.py").exists():
        raise BccMissing(f"there is no bcc in {DIST_PACKAGES}: install Debian's package {DEBIAN_PACKAGE}")


@lru_cache(maxsize=1)
def library() -> Any:
    """The C library behind bcc. Raises BccMissing."""
    expect_installed()
    package = DIST_PACKAGES / "bcc"
    spec = importlib.util.spec_from_file_location(
        "bcc", package / "__init__.py", submodule_search_locations=[str(package)]
    )
    if spec is None or spec.loader is None:
        raise BccMissing(f"bcc in {package} is no Python package: reinstall Debian's package {DEBIAN_PACKAGE}")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get("bcc")
    sys.modules["bcc"] = module  # its own modules import each other by this name
    try:
        spec.loader.exec_module(module)
    except (ImportError, OSError) as error:
        if before is None:
            del sys.modules["bcc"]
        else:
            sys.modules["bcc"] = before
        raise BccMissing(f"bcc does not load ({error}): reinstall Debian's package {DEBIAN_PACKAGE}") from error
    return module.lib
