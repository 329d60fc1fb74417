"""Resolve one function of a big Go binary: the compiler, built from the toolchain's own source (33 MB).

The peer walks every DIE of the file with pyelftools, which is what a straightforward resolver does; it is run once.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Final

from elftools.elf.elffile import ELFFile

from bench.figure import ROOT, Figure
from bench.ours import resolve
from tests.builders.programs import go, go_environment

BINARY: Final = ROOT / ".cache" / "bench" / "compile"
FUNCTION: Final = "cmd/compile/internal/types.NewSignature"
FIRST_ROUNDS: Final = 3
CACHED_ROUNDS: Final = 7
PEER: Final = "pyelftools, every DIE"


def measure() -> list[Figure]:
    binary = _go_compiler()
    first, cached = [], []
    for _ in range(FIRST_ROUNDS):
        with tempfile.TemporaryDirectory(prefix="bench-") as cache:
            first.append(_seconds(binary, Path(cache)))
            cached += [_seconds(binary, Path(cache)) for _ in range(CACHED_ROUNDS)]
    scan = _full_scan(binary)
    size = f"cmd/compile, {binary.stat().st_size / 1e6:.0f} MB; lower is better"
    return [
        Figure("resolve_first_s", "s", round(median(first), 3), round(scan, 3), PEER, f"nothing cached; {size}"),
        Figure(
            "resolve_cached_ms", "ms", round(median(cached) * 1e3, 2), round(scan * 1e3), PEER, f"index cached; {size}"
        ),
    ]


def _seconds(binary: Path, cache: Path) -> float:
    start = time.perf_counter()
    resolve(binary, FUNCTION, cache)
    return time.perf_counter() - start


def _full_scan(binary: Path) -> float:
    found = 0
    start = time.perf_counter()
    with binary.open("rb") as file:
        for unit in ELFFile(file).get_dwarf_info().iter_CUs():
            for entry in unit.iter_DIEs():
                name = entry.attributes.get("DW_AT_name")
                found += name is not None and name.value == FUNCTION.encode()
    if not found:
        raise LookupError(f"{binary} has no {FUNCTION}: the toolchain renamed it; choose another function of it")
    return time.perf_counter() - start


def _go_compiler() -> Path:
    """Built once: a minute on two cores."""
    if BINARY.exists():
        return BINARY
    BINARY.parent.mkdir(parents=True, exist_ok=True)
    half = Path(tempfile.mkdtemp(dir=BINARY.parent)) / BINARY.name
    root = subprocess.run([go(), "env", "GOROOT"], check=True, capture_output=True, text=True, env=go_environment())
    source = Path(root.stdout.strip()) / "src" / "cmd" / "compile"
    environment = go_environment() | {"GOFLAGS": ""}  # the toolchain's own module is vendored
    subprocess.run([go(), "build", "-buildvcs=false", "-o", str(half), "."], cwd=source, check=True, env=environment)
    half.rename(BINARY)
    shutil.rmtree(half.parent)
    return BINARY
