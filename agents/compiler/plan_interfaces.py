"""A Go interface's two words -> its type's name and the value it holds, for the concrete types that debug info knows.

The first word leads to the type (an itab holds it at +8, `runtime.itab` / `abi.ITab`; an empty interface is the type
itself). The second word is the value for pointer-shaped types and points to the value for all others (Go's
`types.IsDirectIface`). The type's name is always shown; the value for the first MAX_CASES types that may be there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agents.absence import Reason
from agents.binaries import model as binary
from agents.binaries.model import TypeId
from agents.compiler import layout
from agents.compiler.layout import Guards, Node, Status
from agents.compiler.reads import AtLoaded, Body, Copy, StatusOk, Steps, Switch, Unrelocate, Zero
from agents.compiler.space import Block, RecordTooLarge, Segment, Space

if TYPE_CHECKING:
    from agents.compiler.plan_values import ValuePlanner, Where

MAX_CASES: Final = 48  # types whose values are read; the chain of comparisons and the code of each case grow with it
MAX_INNER_CASES: Final = 8  # the same for an interface within an interface's value: a wrapped error
MAX_BOXES: Final = 2  # interfaces within interfaces whose values are read
MAX_CASE_BYTES: Final = 2048  # a concrete type that needs more of the record than this is shown by name only
TYPE_IN_ITAB: Final = 8
WORD: Final = 8


def node(planner: ValuePlanner, held: binary.Interface, offset: int, where: Where, guards: Guards) -> Node:
    """The interface whose words stand in the record at `offset`."""
    steps = where.steps
    word, type_guards, steps = _type_word(planner, held, offset, steps)
    unrelocated = planner.space.take(WORD)
    steps.add(Unrelocate(word, unrelocated))
    cases: list[tuple[int, Node]] = []
    bodies: list[tuple[int, Body]] = []
    forks: list[Space] = []
    readable = where.depth > 0 and where.boxes < MAX_BOXES
    if readable:
        for implementation in _chosen(held, where.boxes):
            planned = _case(planner, implementation, offset + WORD, replace(where, steps=steps))
            if planned is not None:
                value, body, fork = planned
                cases.append((implementation.word, value))
                bodies.append((implementation.word, body))
                forks.append(fork)
    planner.space.join(forks)
    if bodies:
        steps.add(Switch(unrelocated, tuple(bodies)))
    names = tuple((each.word, each.name) for each in held.implementations)
    otherwise = Reason.UNSUPPORTED_TYPE if readable else Reason.DEPTH
    return layout.Boxed(offset, unrelocated, type_guards, names, tuple(cases), otherwise, guards)


def _type_word(planner: ValuePlanner, held: binary.Interface, offset: int, steps: Steps) -> tuple[int, Guards, Steps]:
    """Where in the record the type's address is, what guards it, and the steps that run when it is there."""
    if held.empty:
        return offset, (), steps
    word, status = planner.space.take(WORD), planner.space.status()
    steps.add(Copy(AtLoaded(offset, TYPE_IN_ITAB), WORD, word, status, Status.NIL))
    return word, (status,), steps.under(StatusOk(status))


def _chosen(held: binary.Interface, boxes: int) -> tuple[binary.Implementation, ...]:
    """The types whose values are read; `agents.binaries` lists the likely ones first."""
    known = [each for each in held.implementations if each.type is not None]
    return tuple(known[: MAX_INNER_CASES if boxes else MAX_CASES])


def _case(
    planner: ValuePlanner, implementation: binary.Implementation, value_word: int, where: Where
) -> tuple[Node, Body, Space] | None:
    """How the value of one concrete type is read; None when that needs too much room."""
    if implementation.type is None:
        return None
    outer = planner.space
    fork = outer.fork()
    planner.space = fork
    steps = Steps()
    inner = replace(where.deeper(), steps=steps, boxes=where.boxes + 1)
    try:
        value = _value(planner, implementation.type, value_word, inner)
    except RecordTooLarge:
        return None
    finally:
        planner.space = outer
    if fork.end - outer.end > MAX_CASE_BYTES:
        return None
    zeroed = tuple(Zero(chunk) for chunk in fork.chunks)
    return value, (*zeroed, *steps.freeze()), fork


def _value(planner: ValuePlanner, type_id: TypeId, value_word: int, where: Where) -> Node:
    direct = _is_direct(planner, type_id)
    if direct is None:
        return layout.Missing(Reason.UNSUPPORTED_TYPE, "how Go stores this type in an interface differs by release")
    if direct:
        return planner.node(type_id, Block((Segment(0, WORD, value_word),)), 0, _with_pointer(where))
    return planner.memory(type_id, AtLoaded(value_word), where)


def _with_pointer(where: Where) -> Where:
    """The pointer in the second word is the interface's own: following it is the step already counted."""
    return replace(where, depth=where.depth + 1)


def _is_direct(planner: ValuePlanner, type_id: TypeId) -> bool | None:
    """Whether the second word is the value itself; None when debug information cannot tell."""
    match planner.type(type_id):
        case binary.Pointer() | binary.Map():
            return True
        case binary.Opaque(size=size):
            return size == WORD
        case binary.Struct(members=members):
            sized = [each for each in members if planner.type(each.type).size]
            if len(sized) != 1 or not _is_direct(planner, sized[0].type):
                return False
            return True if len(members) == 1 else None
        case binary.Array(element=element, count=1):
            return _is_direct(planner, element)
        case _:
            return False
