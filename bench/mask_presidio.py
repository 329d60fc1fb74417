"""Presidio in an environment of its own: it brings spaCy, which nothing of ours needs. Made at the first run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.figure import ROOT

VERSION: Final = "2.2.366"
PEER: Final = f"Presidio {VERSION}, patterns only"
PYTHON: Final = "PROBEGATE_BENCH_PRESIDIO"  # an interpreter that has presidio-analyzer
_ENVIRONMENT: Final = ROOT / ".cache" / "bench" / "presidio"
_INSTALL_SECONDS: Final = 600


@dataclass(frozen=True)
class Answer:
    spans: list[list[tuple[int, int, str]]]
    seconds: float


def analyse(texts: Sequence[str], timed: Sequence[str], *, phones: bool = True) -> Answer | None:
    """None, loudly, when Presidio cannot be installed here."""
    python = _interpreter()
    if python is None:
        return None
    asked = json.dumps({"texts": list(texts), "timed": list(timed), "phones": phones})
    script = Path(__file__).with_name("mask_peer.py")
    done = subprocess.run(
        ["taskset", "-c", "0", python, str(script)], input=asked, capture_output=True, text=True, check=True
    )
    given = json.loads(done.stdout)
    return Answer([[(a, b, kind) for a, b, kind in spans] for spans in given["spans"]], given["seconds"])


def _interpreter() -> str | None:
    if named := os.environ.get(PYTHON):
        return named
    python = _ENVIRONMENT / "bin" / "python"
    if python.exists():
        return str(python)
    try:
        subprocess.run([sys.executable, "-m", "venv", str(_ENVIRONMENT)], check=True)
        subprocess.run(
            [str(python), "-m", "pip", "install", "-q", f"presidio-analyzer=={VERSION}"],
            check=True,
            timeout=_INSTALL_SECONDS,
        )
    except (subprocess.SubprocessError, OSError) as error:
        print(f"mask: SKIPPED the peer: presidio-analyzer could not be installed ({error})")
        return None
    return str(python)
