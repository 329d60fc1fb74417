"""A Go map's groups -> its entries, each a key's node and a value's node.

In comes a map whose pointer stands in the record, out comes layout.Pairs. The header is copied, it leads to the first groups
of eight entries (as many as limits.maxItems needs, MAX_GROUPS at most), those are copied in one go, and what hangs on the
entries that are there is read as anywhere else. A map with more entries than are shown is cut, with its true length.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agents.absence import Reason
from agents.binaries import model as binary
from agents.binaries.model import MapGroups
from agents.compiler import layout
from agents.compiler.layout import Guards, Node, Status
from agents.compiler.reads import (
    AtLoaded,
    Compute,
    Copy,
    CopyCounted,
    ItemThere,
    StatusOk,
    StoreConstant,
    TagIn,
)
from agents.compiler.space import Block, Segment

if TYPE_CHECKING:
    from agents.compiler.plan_values import ValuePlanner, Where

ENTRIES: Final = 8  # of a group
MAX_GROUPS: Final = 4  # of one map: the code for each entry stands unrolled in the program
WORD: Final = 8


def node(planner: ValuePlanner, held: binary.Map, offset: int, where: Where, guards: Guards) -> Node:
    """The map whose pointer stands in the record at `offset`."""
    groups = held.groups
    if groups is None:
        why = f"{held.name}: {held.unread}; len() of it is known"
        return layout.Pointee(offset, layout.Missing(Reason.UNSUPPORTED_TYPE, why), guards)
    if where.depth <= 0:
        return layout.Pointee(offset, layout.Missing(Reason.DEPTH), guards)
    inner = where.deeper().within("")
    if any(planner.extent(each, inner).dropped for each in (groups.key, groups.value)):
        return layout.Pointee(offset, layout.Missing(Reason.DROPPED), guards)
    space = planner.space
    header, status = space.take(groups.header), space.status()
    inner.steps.add(Copy(AtLoaded(offset), groups.header, header, status))
    inner = inner.holding((status,))
    most = min(MAX_GROUPS, -(-planner.limits.max_items // ENTRIES) + 1)  # one more: they are seldom full
    base, count, found = _first_groups(planner, groups, header, inner, most)
    inner = replace(inner, steps=inner.steps.under(*map(StatusOk, found)))
    data, copied = space.take(most * groups.size), space.status()
    inner.steps.add(CopyCounted(AtLoaded(base), count, groups.size, most, data, copied))
    inner = inner.holding((*found, copied))
    entries = tuple(
        _entry(planner, groups, data + index * groups.size, slot, index, count, inner)
        for index in range(most)
        for slot in range(ENTRIES)
    )
    text_keys = isinstance(planner.type(held.key), binary.String)
    pairs = layout.Pairs(
        entries, header, count, groups.full, planner.limits.max_items, text_keys, (status, *found, copied)
    )
    return layout.Pointee(offset, pairs, guards)


def _first_groups(
    planner: ValuePlanner, groups: MapGroups, header: int, where: Where, most: int
) -> tuple[int, int, Guards]:
    """Where in the record the address of the first group stands, and how many groups there are; 0 or 1 guard."""
    space, steps = planner.space, where.steps
    base, count = space.take(WORD), space.take(WORD)
    directory, depth = header + groups.directory, header + groups.depth
    if not groups.swiss:
        steps.add(Compute(directory, base))
        steps.add(StoreConstant(1 << (most - 1).bit_length(), WORD, count))  # at least as many as are looked at
        for power in range((most - 1).bit_length()):
            few = steps.under(TagIn(depth, 1, signed=False, ranges=((power, power),)))
            few.add(StoreConstant(1 << power, WORD, count))
        return base, count, ()
    one, table, reference = space.status(), space.take(WORD), space.take(2 * WORD)
    small = steps.under(TagIn(depth, WORD, signed=False, ranges=((0, 0),)))
    small.add(Compute(directory, base))
    small.add(StoreConstant(1, WORD, count))
    small.add(StoreConstant(Status.OK, 1, one))
    large = steps.under(TagIn(depth, WORD, signed=False, ranges=((0, 0),), outside=True))
    hop = space.status()
    large.add(Copy(AtLoaded(directory), WORD, table, hop))
    there = large.under(StatusOk(hop))
    there.add(Copy(AtLoaded(table, groups.table), 2 * WORD, reference, one))
    last = there.under(StatusOk(one))
    last.add(Compute(reference, base))
    last.add(Compute(reference + WORD, count, plus=1))
    return base, count, (one,)


def _entry(
    planner: ValuePlanner, groups: MapGroups, group: int, slot: int, index: int, count: int, where: Where
) -> layout.Pair:
    control = group + groups.control + slot
    conditions = (ItemThere(count, index), TagIn(control, 1, signed=False, ranges=(groups.full,)))
    inner = replace(where, steps=where.steps.under(*conditions))
    nodes = []
    for type_id, start, step in (
        (groups.key, groups.keys, groups.key_step),
        (groups.value, groups.values, groups.value_step),
    ):
        size = planner.type(type_id).size
        block = Block((Segment(0, size, group + start + slot * step),))
        nodes.append(planner.node(type_id, block, 0, inner))
    return layout.Pair(control, index, nodes[0], nodes[1])
