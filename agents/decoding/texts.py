"""Lengths and bytes of all rows -> one string column, assembled by numpy: text as UTF-8, bytes as lower-case hex."""

from __future__ import annotations

import codecs
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from agents.decoding.records import Mask, Numbers, offsets_of, validity

_HEX: Final = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), dtype=np.uint8).reshape(256, 2)


def text_column(data: npt.NDArray[np.uint8], lengths: Numbers, alive: Mask, cut: Mask, shown: Numbers) -> pa.Array:
    """The first `lengths` bytes of each row of `data` (n, capacity) as text; bytes that are no UTF-8 as U+FFFD.

    A row in `cut` that ends within a character ends before it: what is shown stays a prefix of the text. A row with U+FFFD
    has its first `shown` bytes only: of others the length in UTF-8 tells how much of them goes beyond.
    """
    lengths = np.where(alive, lengths, 0)
    flat = _joined(data, lengths)
    offsets = offsets_of(lengths)
    if _is_utf8(flat, offsets):
        return _strings(len(alive), offsets, flat.tobytes(), alive)
    return _repaired(flat.tobytes(), offsets, alive, cut, np.minimum(shown, lengths))


def hex_column(data: npt.NDArray[np.uint8], lengths: Numbers, alive: Mask) -> pa.Array:
    lengths = np.where(alive, lengths, 0)
    return _strings(len(alive), offsets_of(2 * lengths), _HEX[_joined(data, lengths)].tobytes(), alive)


def _joined(data: npt.NDArray[np.uint8], lengths: Numbers) -> npt.NDArray[np.uint8]:
    widest = int(lengths.max(initial=0))
    return data[:, :widest][np.arange(widest) < lengths[:, None]]


def _is_utf8(flat: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int32]) -> bool:
    """Whether every row is: the whole is, and no row begins within a character."""
    if not (flat >= 0x80).any():
        return True
    starts = offsets[:-1][offsets[:-1] < len(flat)]
    if ((flat[starts] & 0xC0) == 0x80).any():
        return False
    try:
        return "\ufffd" not in flat.tobytes().decode("utf-8")
    except UnicodeDecodeError:
        return False


def _repaired(flat: bytes, offsets: npt.NDArray[np.int32], alive: Mask, cut: Mask, shown: Numbers) -> pa.Array:
    texts: list[str | None] = []
    for row, there in enumerate(alive.tolist()):
        raw = flat[offsets[row] : offsets[row + 1]]
        text = _decoded(raw, whole=not cut[row])
        if len(raw) > shown[row] and "\ufffd" in text:
            text = _decoded(raw[: shown[row]], whole=not cut[row])
        texts.append(text if there else None)
    return pa.array(texts, pa.string())


def _decoded(raw: bytes, *, whole: bool) -> str:
    return codecs.getincrementaldecoder("utf-8")("replace").decode(raw, final=whole)


def _strings(count: int, offsets: npt.NDArray[np.int32], data: bytes, alive: Mask) -> pa.Array:
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(data), validity(alive))
