"""Values masked a second on one core, ours and Presidio's patterns on the same rows: all distinct, and repeated."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Final

import numpy as np
import pyarrow as pa

from agents.masking import texts
from agents.masking.budget import Budget
from agents.masking.scanning import scanner
from bench.figure import Figure
from bench.mask_presidio import PEER, analyse
from bench.mask_rows import mixed

ROWS: Final = 100_000
PEER_ROWS: Final = 2_000  # it takes a millisecond a row
REPEATED: Final = 1_000_000
DISTINCT: Final = 1_000
ROUNDS: Final = 5
SHARE: Final = 0.1
_ENOUGH: Final = 3600.0  # seconds: a figure is no batch


def measure() -> list[Figure]:
    rows = mixed(ROWS, SHARE)
    with _one_core():
        distinct = _rate(pa.array(rows))
        repeated = _rate(_repeated())
    without = analyse([], rows[:PEER_ROWS], phones=False)
    with_phones = analyse([], rows[:PEER_ROWS])
    slow = PEER_ROWS / with_phones.seconds if with_phones else 0.0
    fast = PEER_ROWS / without.seconds if without else 0.0
    what = f"{ROWS:,} distinct rows, {SHARE:.0%} with one entity, one core"
    return [
        Figure("mask_values_per_s", "values/s", round(distinct), round(slow), PEER, f"{what}; phones on both sides"),
        Figure(
            "mask_values_per_s_no_phones", "values/s", round(distinct), round(fast), f"{PEER}, no phones", f"{what}"
        ),
        Figure(
            "mask_repeated_per_s",
            "values/s",
            round(repeated),
            round(slow),
            PEER,
            f"{REPEATED:,} rows of {DISTINCT:,} values",
        ),
    ]


def _rate(array: pa.Array) -> float:
    cut = np.zeros(len(array), dtype=bool)
    scanner().warm(len(array))
    taken = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        texts.detect(array, cut, budget=Budget(_ENOUGH))
        taken.append(time.perf_counter() - start)
    return len(array) / median(taken)


def _repeated() -> pa.Array:
    chance = np.random.default_rng(3)
    return pa.array(mixed(DISTINCT, SHARE)).take(pa.array(chance.integers(0, DISTINCT, REPEATED)))


@contextmanager
def _one_core() -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
