"""The compiled scanner kept on disk, so that an agent's start reads in milliseconds what takes seconds to compile.

In come the triggers' fingerprint and the engine's bytes, out come the same bytes or a miss. An engine's bytes are as good
as code: a file that is another's, that others could write, that is damaged or made of other triggers is a miss, never an
error, and the scanner is compiled again. The engine itself refuses what was made for another version or processor.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

FILE: Final = "scanner"  # in the agent's cache; one, since a new version of the agent has no use for the old one's
MAX_FILE: Final = 64 << 20  # bytes; a hundred triggers take 3 MB
FORMAT: Final = b"probegate scanner 1"
_OTHERS_MAY_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def fingerprint(engine: str, patterns: Sequence[str]) -> str:
    """Of what the bytes were made of: the engine's package version and every trigger, in order."""
    digest = hashlib.sha256()
    for text in (engine, *patterns):
        encoded = text.encode()
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()


def kept(folder: Path, made_of: str) -> bytes | None:
    """What was kept of these triggers, or None."""
    with suppress(OSError):
        handle = os.open(folder / FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(handle)
            ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
            if not ours or found.st_mode & _OTHERS_MAY_WRITE or found.st_size > MAX_FILE:
                return None
            head, _, body = file.read(MAX_FILE).partition(b"\n")
        if head == _head(made_of, body):
            return body
    return None


def keep(folder: Path, made_of: str, body: bytes) -> None:
    """For the next start. A folder that cannot be written only costs time then: nothing is raised."""
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=".new-")  # mode 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_head(made_of, body) + b"\n" + body)
            Path(name).replace(folder / FILE)
        finally:
            Path(name).unlink(missing_ok=True)


def _head(made_of: str, body: bytes) -> bytes:
    return b"%s %s %s" % (FORMAT, made_of.encode(), hashlib.sha256(body).hexdigest().encode())
