"""Whatever types a binary has: a plan loads in the kernel's verifier, or our own budget refuses it and names the column."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.binaries.model import (
    Array,
    Boolean,
    Enumeration,
    Float,
    Header,
    InRegister,
    Integer,
    Map,
    MapGroups,
    Member,
    Optional,
    Piece,
    Pointer,
    Register,
    Slice,
    String,
    Struct,
    TypeId,
    Variable,
)
from agents.compiler.model import CannotCompile, CaptureRequest, CompileRequest, Refusal
from agents.compiler.service import compile_probe
from agents.runtime.maps import ProbeMaps
from agents.runtime.model import AttachMethod
from agents.runtime.programs import load
from language import expressions
from language.model import At, LimitSpec
from tests.builders.compiler_types import shop_probe

pytestmark = pytest.mark.host

PLANS = 2000 if os.environ.get("PROBEGATE_LONG") else 100
LEAVES = (
    Integer("int", 8, signed=True),
    Integer("uint8", 1, signed=False),
    Boolean("bool", 1),
    Float("f", 8),
    String("string"),
    String("String", 24, Header(8, 16)),
    String("std::string", 32),
    Enumeration("level", 1, signed=False, members=(("LOW", 1), ("HIGH", 200))),
)
KINDS = ("leaf", "pointer", "slice", "array", "struct", "vector", "optional", "map")


class Table:
    """Types as they are made up; each gets the next number."""

    def __init__(self) -> None:
        self.types = {}

    def add(self, made):
        number = TypeId(1_000_000 + len(self.types))
        self.types[number] = made
        return number


def go_map(table, key, value, *, swiss):
    """As go_maps would find it: large values are stored as pointers."""
    stored = value if table.types[value].size <= 128 else table.add(Pointer("*V", value))
    first, second = (-(-table.types[each].size // 8) * 8 for each in (key, stored))
    slot = first + second
    if swiss:
        groups = MapGroups(True, 32, 16, 24, 16, 8 + 8 * slot, 0, 8, 8 + first, slot, slot, key, stored, (0, 127))
    else:
        size = 16 + 8 * slot
        groups = MapGroups(False, 24, 16, 9, 0, size, 0, 8, 8 + 8 * first, first, second, key, stored, (5, 255))
    return Map("map[K]V", key, value, groups=groups)


@st.composite
def types(draw, table, depth):
    kind = draw(st.sampled_from(("leaf",) if depth == 0 else KINDS))
    if kind == "leaf":
        return table.add(draw(st.sampled_from(LEAVES)))
    if kind == "struct":
        members, at = [], 0
        for index in range(draw(st.integers(1, 6))):
            inner = draw(types(table, depth - 1))
            members.append(Member(f"F{index}", at, inner))
            at += -(-table.types[inner].size // 8) * 8
        return table.add(Struct("S", at, tuple(members)))
    inner = draw(types(table, depth - 1))
    size = table.types[inner].size
    if kind == "pointer":
        return table.add(Pointer("*T", inner))
    if kind == "slice":
        return table.add(Slice("[]T", inner))
    if kind == "vector":
        return table.add(Slice("vector<T>", inner, 24, Header(0, 8, unit=max(size, 1))))
    if kind == "optional":
        return table.add(Optional("optional<T>", -(-size // 8) * 8 + 8, flag=size, value=0, type=inner))
    if kind == "map":
        return table.add(go_map(table, table.add(draw(st.sampled_from(LEAVES))), inner, swiss=draw(st.booleans())))
    count = draw(st.integers(0, 40))
    return table.add(Array("[n]T", count * size, inner, count))


@given(st.data())
@settings(max_examples=PLANS, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_plan_loads_or_is_refused_with_its_column(data):
    table = Table()
    columns = []
    for index, register in enumerate((Register.RAX, Register.RBX, Register.RCX)[: data.draw(st.integers(1, 3))]):
        pointed = data.draw(types(table, 4))
        pointer = table.add(Pointer("*Arg", pointed))
        columns.append(Variable(f"a{index}", pointer, (Piece(0, 8, InRegister(register)),)))
    shop = shop_probe()
    resolved = replace(shop, arguments=tuple(columns), types={**shop.types, **table.types})
    limits = LimitSpec(
        ttl=timedelta(minutes=1),
        max_string=data.draw(st.integers(1, 512)),
        max_items=data.draw(st.integers(1, 32)),
        max_depth=data.draw(st.integers(0, 5)),
    )
    captures = tuple(CaptureRequest(each.name, expressions.parse(each.name)) for each in columns)
    try:
        program = compile_probe(resolved, CompileRequest(At.ENTRY, None, captures, limits))
    except CannotCompile as refused:
        assert refused.reason is Refusal.TOO_LARGE
        assert refused.column in {each.name for each in columns}
        return
    maps = ProbeMaps(program.maps)
    try:
        for one in program.programs:
            load(one, maps, AttachMethod.UPROBE_MULTI, sleepable=True).close()
    finally:
        maps.close()
