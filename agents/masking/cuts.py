"""Which values of a batch were cut, read from its `_cut` column, and the path columns made safe to send.

A key is a path: the column's name or its expression, then fields and indices ("o.Items[2].Id"). Paths come from the
program's type names and are harmless; only what stands in brackets can come from data (a map's key).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

ANY_KEY: Final = "[*]"

_DATA_IN_BRACKETS: Final = re.compile(r"\[(?![0-9]*\]).*\]|\[(?![0-9]*\]).*$", re.DOTALL)
_INDEX: Final = re.compile(r"\[[^\]]*\]?|\(\*|\)|\*|&")
_PATH: Final = re.compile(r"(?:[\w.()*&$:<>,\- ]|\[(?:[0-9]*|\*)\])*")
MAX_PATH: Final = 512  # characters: deeper than any capture goes


@dataclass(frozen=True)
class Cut:
    """In `row` the value at `path` (fields below the column, without indices) is cut."""

    row: int
    path: tuple[str, ...]


def cuts_by_column(column: pa.Array | None, roots: dict[str, str]) -> dict[str, tuple[Cut, ...]]:
    """`_cut` -> the cuts of each column. `roots` maps what a path may begin with to its column.

    A path that belongs to no column counts for all of them: too much is hidden rather than too little.
    """
    found: dict[str, list[Cut]] = {name: [] for name in roots.values()}
    if column is None:
        return {}
    for row, entries in enumerate(column.to_pylist() if column.null_count < len(column) else ()):
        for key, _ in entries or ():
            name, path = _split(key, roots)
            for target in (name,) if name is not None else found:
                found[target].append(Cut(row, path))
    return {name: tuple(cuts) for name, cuts in found.items()}


def cut_values(
    cuts: Sequence[Cut], path: tuple[str, ...], rows: npt.NDArray[np.int64], *, inside: bool = False
) -> npt.NDArray[np.bool_]:
    """Which of a leaf's values are cut: those of a row whose cut stands at the leaf's path or around it.

    With `inside` also those with a cut somewhere below: for texts that hold many values.
    """
    affected = [
        cut.row for cut in cuts if path[: len(cut.path)] == cut.path or (inside and cut.path[: len(path)] == path)
    ]
    return np.isin(rows, affected) if affected else np.zeros(len(rows), dtype=bool)


def safe_path(key: str) -> str:
    """The path without anything that a program's data could have put there."""
    shown = _DATA_IN_BRACKETS.sub(ANY_KEY, key[:MAX_PATH])
    return shown if _PATH.fullmatch(shown) else "?"


def _split(key: str, roots: dict[str, str]) -> tuple[str | None, tuple[str, ...]]:
    matching = [root for root in roots if key == root or (key.startswith(root) and key[len(root)] in ".[")]
    if not matching:
        return None, ()
    root = max(matching, key=len)
    rest = _INDEX.sub("", key[len(root) :])
    return roots[root], tuple(part for part in rest.split(".") if part)
