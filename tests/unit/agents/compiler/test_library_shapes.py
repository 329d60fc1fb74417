"""Texts and lists with their headers where a library puts them, values that may be nothing, Go maps: from bytes to rows."""

from __future__ import annotations

import struct

import pytest

from agents.binaries.model import (
    Header,
    Integer,
    Language,
    Map,
    MapGroups,
    Optional,
    Pointer,
    Register,
    Slice,
    String,
    Variable,
)
from agents.compiler.model import CannotCompile, Refusal
from agents.compiler.service import compile_probe, explain_captures
from agents.decoding.rows import to_rows
from agents.decoding.service import decode
from language.model import LimitSpec
from tests.builders.bpf_machine import Machine
from tests.builders.compiler_types import Types, probe, registers, request

AT = 0x7000
SWISS = {"swiss": True, "header": 32, "directory": 16, "depth": 24, "table": 16, "size": 8 + 8 * 24, "control": 0, "keys": 8, "values": 24, "key_step": 24, "value_step": 24, "full": (0, 127)}  # fmt: skip


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}q", *values)


def seen(held, memory: dict[int, bytes], text: str = "deref(x)", **options):
    """One row of a C++ function whose only argument points at `held`, or the reason why there is none."""
    types = options.pop("types")
    pointer = types.add(Pointer("T *", types.add(held)))
    resolved = probe(types, [Variable("x", pointer, registers((Register.RDI, 0, 8)))], language=Language.CPP)
    compiled = compile_probe(resolved, request({"v": text}, **options))
    kernel = Machine(compiled, memory=memory)
    kernel.fire({Register.RDI: AT})
    return next(to_rows(decode(compiled.layout, kernel.matrix(), 0).columns), None)


@pytest.mark.parametrize(
    ("header", "raw"),
    [
        (Header(), words(0x8000, 5, 99)),
        (Header(8, 16), words(99, 0x8000, 5)),
        (Header(8, 0), words(5, 0x8000)),
        (Header(0, 8, unit=1), words(0x8000, 0x8005, 99)),
    ],
)
def test_a_text_is_found_wherever_its_pointer_and_length_are(header, raw):
    memory = {AT: raw, 0x8000: b"hello and more"}
    held = String("text", len(raw), header)

    assert seen(held, memory, types=Types())["v"] == "hello"
    assert seen(held, memory, "len(deref(x))", types=Types())["v"] == 5
    assert seen(held, memory, "deref(x)[1]", types=Types())["v"] == ord("e")
    assert seen(held, memory, "1", where='deref(x) == "hello"', types=Types()) is not None
    assert seen(held, memory, "1", where='deref(x) == "help!" or len(deref(x)) != 5', types=Types()) is None


def test_a_list_between_two_addresses_has_their_distance_in_items():
    types = Types()
    number = types.add(Integer("int", 4, signed=True))
    memory = {AT: words(0x8000, 0x800C, 0x9000), 0x8000: struct.pack("<4i", -1, 2, 3, 4)}
    held = Slice("vector<int>", number, 24, Header(0, 8, unit=4))

    assert seen(held, memory, types=types)["v"] == [-1, 2, 3]


def test_a_list_that_ends_before_it_begins_is_absent():
    types = Types()
    number = types.add(Integer("int", 4, signed=True))
    memory = {AT: words(0x8000, 0x7000, 0x9000), 0x8000: bytes(64)}
    row = seen(Slice("vector<int>", number, 24, Header(0, 8, unit=4)), memory, types=types)

    assert (row["v"], row["_absent"]) == (None, {"v": "bad_address"})


@pytest.mark.parametrize(("flag", "value"), [(1, 7), (0, None)])
def test_a_value_that_may_be_nothing_is_null_by_its_flag(flag, value):
    types = Types()
    number = types.add(Integer("int", 4, signed=True))
    held = Optional("optional<int>", 8, flag=4, value=0, type=number)

    row = seen(held, {AT: struct.pack("<iB3x", 7, flag)}, types=types)
    assert (row["v"], row.get("_absent")) == (value, None)


# --- maps --------------------------------------------------------------------------------------------------------


def map_type(types: Types) -> Map:
    key, value = types.add(String("string")), types.add(Integer("int", 8, signed=True))
    return Map("map[string]int", key, value, groups=MapGroups(**SWISS, key=key, value=value))


def group(*entries: tuple[int, int, int] | None) -> bytes:
    """Eight slots: the key's address and length, and the value; None: empty, with what was there before."""
    control = bytes(0x80 if each is None else 0x11 for each in entries).ljust(8, b"\x80")
    return control + b"".join(words(*(each or (0xBAD, 3, -1))) for each in (*entries, *[None] * (8 - len(entries))))


def shown(types: Types, memory: dict[int, bytes], **limits):
    held = types.add(map_type(types))
    resolved = probe(types, [Variable("m", held, registers((Register.RAX, 0, 8)))])
    compiled = compile_probe(resolved, request({"m": "m", "n": "len(m)"}, limits=LimitSpec(max_string=16, **limits)))
    kernel = Machine(compiled, memory=memory | {0x8000: b"onetwo", 0: b""})
    kernel.fire({Register.RAX: AT, Register.R14: 0x100})
    return next(to_rows(decode(compiled.layout, kernel.matrix(), 0).columns)), kernel


def test_a_small_map_is_its_one_group():
    row, kernel = shown(Types(), {AT: words(2, 0, 0x9000, 0), 0x9000: group((0x8000, 3, 1), None, (0x8003, 3, -2))})

    assert (row["m"], row["n"]) == ({"one": 1, "two": -2}, 2)
    assert not row.keys() & {"_absent", "_cut"}
    assert all(not 0xBAD <= address < 0xBAD + 16 for address, _ in kernel.reads)  # what was deleted is not followed


def test_of_a_large_map_the_first_table_is_shown_and_the_rest_said():
    memory = {
        AT: words(40, 0, 0xA000, 4),
        0xA000: words(0xB000),
        0xB000: words(0, 0, 0x9000, 1),  # groups, lengthMask: two groups
        0x9000: group((0x8000, 3, 1)) + group(None, (0x8003, 3, 2)) + bytes(200),
    }
    row, _ = shown(Types(), memory)

    assert (row["m"], row["n"], row["_cut"]) == ({"one": 1, "two": 2}, 40, {"m": 40})


def test_a_map_whose_memory_is_not_there_is_absent():
    row, _ = shown(Types(), {AT: words(2, 0, 0x9000, 0)})

    assert (row["m"], row["_absent"]) == (None, {"m": "bad_address"})


def test_a_map_too_large_for_a_record_is_absent_and_says_why():
    types = Types()
    held = types.add(map_type(types))
    resolved = probe(types, [Variable("m", held, registers((Register.RAX, 0, 8)))])
    limits = LimitSpec(max_string=4000, max_items=32)

    (said,) = explain_captures(resolved, request({"m": "m"}, limits=limits))
    assert dict(said.parts)["m"].detail.startswith("map[string]int: with its entries this probe would be too large")
    with pytest.raises(CannotCompile) as refused:
        text = types.add(Slice("[]string", types[held].key))
        large = probe(types, [Variable("m", held, registers((Register.RAX, 0, 8))), Variable("s", text, registers((Register.RBX, 0, 8), (Register.RCX, 8, 8), (Register.RDI, 16, 8)))])  # fmt: skip
        compile_probe(large, request({"m": "m", "s": "s"}, limits=limits))
    assert refused.value.reason is Refusal.TOO_LARGE
