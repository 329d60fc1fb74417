"""Return addresses -> lists of function names, innermost first; an address without a name stands as hex."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from agents.compiler import layout
from agents.compiler.layout import Status
from agents.decoding.records import Frame, Mask

if TYPE_CHECKING:
    from agents.decoding.values import Symbolise


def column(node: layout.Stack, frame: Frame, alive: Mask, symbolise: Symbolise | None) -> pa.Array:
    lengths = frame.column(node.length_offset, "<u8").astype(np.int64) // 8
    addresses = frame.matrix(node.offset, "<u8", node.capacity, 8)
    caller = frame.column(node.caller_offset, "<u8")
    caller_known = np.ones(frame.count, dtype=np.bool_)
    for guard in node.caller_guards:
        caller_known &= frame.column(guard, "u1") == Status.OK
    pids = frame.column(node.pid_offset, "<u4")
    names: dict[tuple[int, int], str] = {}

    def named(pid: int, address: int) -> str:
        if (pid, address) not in names:
            names[pid, address] = (symbolise(pid, address) if symbolise else None) or f"0x{address:x}"
        return names[pid, address]

    stacks: list[list[str] | None] = []
    for row, there in enumerate(alive.tolist()):
        if not there:
            stacks.append(None)
            continue
        found = addresses[row, : lengths[row]].tolist()
        if caller_known[row] and found and (node.caller_missed or int(caller[row]) not in found[1:2]):
            found.insert(1, int(caller[row]))  # frame pointers lead past the caller where the frame is not set up yet
        stacks.append([named(int(pids[row]), address) for address in found])
    return pa.array(stacks, pa.list_(pa.string()))
