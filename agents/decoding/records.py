"""Records of one layout as numpy views: one field of all rows at once, no Python object for a row.

`Frame` also collects what could not be had (absences) and what was cut, by path and row; `service` turns both into the
map columns of a batch. Made by `service`, read by `values`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from agents.absence import Reason
from agents.compiler.layout import Guards, Status

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]

_REASONS: Final = {
    Status.NIL: Reason.NIL_POINTER,
    Status.OUT_OF_RANGE: Reason.OUT_OF_RANGE,
    Status.ENDLESS: Reason.LENGTH_UNKNOWN,
}


@dataclass
class Findings:
    """(path, rows, reason) and (path, rows, true lengths), in no order."""

    absent: list[tuple[str, Numbers, Reason]] = field(default_factory=list)
    cut: list[tuple[str, Numbers, npt.NDArray[np.uint64]]] = field(default_factory=list)


@dataclass(frozen=True)
class Frame:
    """Some rows. `rows` are their numbers in the batch; `fault` is what Status.FAULT means."""

    records: npt.NDArray[np.uint8]  # (n, record size), C order
    rows: Numbers
    fault: Reason
    findings: Findings

    @property
    def count(self) -> int:
        return int(self.records.shape[0])

    def column(self, offset: int, dtype: str) -> npt.NDArray[Any]:
        """One number of every row: a view without a copy."""
        kind = np.dtype(dtype)
        if not self.count:
            return np.empty(0, dtype=kind)
        return np.ndarray((self.count,), kind, self.records.data, offset, (self.records.shape[1],))

    def matrix(self, offset: int, dtype: str, width: int, stride: int) -> npt.NDArray[Any]:
        """`width` numbers of every row, `stride` bytes apart: a view of shape (n, width)."""
        kind = np.dtype(dtype)
        if not self.count or not width:
            return np.empty((self.count, width), dtype=kind)
        return np.ndarray((self.count, width), kind, self.records.data, offset, (self.records.shape[1], stride))

    def subset(self, mask: Mask) -> Frame:
        return Frame(np.ascontiguousarray(self.records[mask]), self.rows[mask], self.fault, self.findings)

    def checked(self, guards: Guards, alive: Mask, path: str) -> Mask:
        """Which of the rows in `alive` have all guards OK; why the others have not is noted under `path`."""
        for guard in guards:
            status = self.column(guard, "u1")
            bad = alive & (status != Status.OK)
            if bad.any():
                for value in np.unique(status[bad]):
                    self.note_absent(path, bad & (status == value), self._reason(int(value)))
                alive &= ~bad
        return alive

    def note_absent(self, path: str, mask: Mask, reason: Reason) -> None:
        if mask.any():
            self.findings.absent.append((path, self.rows[mask], reason))

    def note_cut(self, path: str, mask: Mask, lengths: npt.NDArray[np.uint64]) -> None:
        """`lengths` are those of all rows."""
        if mask.any():
            self.findings.cut.append((path, self.rows[mask], lengths[mask]))

    def _reason(self, status: int) -> Reason:
        known = {int(key): reason for key, reason in _REASONS.items()}
        return known.get(status, self.fault)


def validity(alive: Mask) -> pa.Buffer | None:
    """Arrow's bitmap of the rows that are not null; None when none is."""
    return None if alive.all() else pa.py_buffer(np.packbits(alive, bitorder="little").tobytes())


def offsets_of(lengths: Numbers) -> npt.NDArray[np.int32]:
    """Arrow's list offsets. A batch of more than 2 GiB of one column does not happen: the ring is smaller."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
