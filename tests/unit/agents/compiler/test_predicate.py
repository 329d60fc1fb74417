"""`where` keeps the calls that Python's own reading of the same words keeps; what cannot be read is filtered."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.binaries.model import Language, Register
from agents.compiler.model import CannotCompile, Counter, Refusal
from agents.compiler.service import compile_probe
from language.model import At
from tests.builders.bpf_machine import Machine
from tests.builders.compiler_types import request, shop_probe

ORDER, CARD, TEXT, STACK, G = 0x20_0000, 0x10_0000, 0x40_0000, 0x30_0000, 0x60_0000
I64 = st.integers(-(1 << 63), (1 << 63) - 1)
EDGES = st.sampled_from([0, 1, -1, (1 << 63) - 1, -(1 << 63), 1 << 31, -(1 << 31)])
U64 = st.integers(0, (1 << 64) - 1) | st.sampled_from([0, 1 << 63, (1 << 64) - 1])
I8 = st.integers(-128, 127)


def wrap(value: int) -> int:
    """As 64 bits, signed."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


def kept(where: str, registers=None, memory=None, *, language=Language.GO) -> bool:
    program = compile_probe(shop_probe(language=language), request({"n": "n"}, where=where))
    machine = Machine(program, {STACK: bytes(512), G: bytes(256)} | (memory or {}))
    machine.fire({Register.RSP: STACK, Register.R14: G} | (registers or {}))
    counted = machine.counters[Counter.DELIVERED], machine.counters[Counter.FILTERED]
    assert counted in {(1, 0), (0, 1)}
    assert len(machine.records) == counted[0]
    return bool(machine.records)


def numbers(n=0, u=0, small=0):
    return {Register.RDI: n, Register.RSI: u, Register.R8: 0xABCD_EF00 | small & 0xFF}


@pytest.mark.parametrize("op", ["==", "!=", "<", "<=", ">", ">="])
@given(n=I64 | EDGES, u=U64, small=I8)
@settings(max_examples=25, deadline=None)
def test_a_comparison_is_exact_for_every_mix_of_signs_and_widths(op, n, u, small):
    python = {"n": n, "u": u, "small": small}
    for left, right in (
        ("n", "u"),
        ("u", "n"),
        ("small", "u"),
        ("u", "small"),
        ("small", "n"),
        ("n", "-5"),
        ("u", "9223372036854775808"),
    ):
        assert kept(f"{left} {op} {right}", numbers(n, u, small)) == eval(f"{left} {op} {right}", {}, python)


@given(n=I64 | EDGES, small=I8, divisor=st.integers(1, (1 << 31) - 1) | st.sampled_from([1, 2, 3, 7]))
@settings(max_examples=60, deadline=None)
def test_division_and_remainder_round_down_as_in_python(n, small, divisor):
    registers = numbers(n, 0, small)
    assert kept(f"n // {divisor} == {n // divisor}", registers)
    assert kept(f"n % {divisor} == {n % divisor}", registers)
    assert kept(f"small // {divisor} == {small // divisor} and small % {divisor} == {small % divisor}", registers)


@given(n=I64 | EDGES, small=I8)
@settings(max_examples=40, deadline=None)
def test_arithmetic_wraps_at_64_bits(n, small):
    registers = numbers(n, 0, small)
    assert kept(f"n + small == {wrap(n + small)}", registers)
    assert kept(f"n - small * 3 == {wrap(n - small * 3)}", registers)
    assert kept(f"n * small == {wrap(n * small)}", registers)


@given(u=U64, divisor=st.integers(1, 1000))
@settings(max_examples=25, deadline=None)
def test_unsigned_arithmetic_stays_unsigned(u, divisor):
    assert kept(f"u // {divisor} == {u // divisor} and u % {divisor} == {u % divisor}", numbers(u=u))


CONSTANTS = st.text(st.sampled_from("abé☃"), max_size=9) | st.just("x" * 70) | st.just("y" * 200)


@given(held=CONSTANTS, asked=CONSTANTS)
@settings(max_examples=80, deadline=None)
def test_text_is_compared_byte_by_byte(held, asked):
    raw = held.encode()
    registers = {Register.RBX: TEXT, Register.RCX: len(raw)}
    memory = {TEXT: raw + b"tail"}
    literal = repr(asked)
    assert kept(f"name == {literal}", registers, memory) == (held == asked)
    assert kept(f"name != {literal}", registers, memory) == (held != asked)
    assert kept(f"name.startswith({literal})", registers, memory) == raw.startswith(asked.encode())
    assert kept(f"name in ({literal}, 'other')", registers, memory) == (held in {asked, "other"})


@given(left=CONSTANTS, right=CONSTANTS)
@settings(max_examples=40, deadline=None)
def test_two_texts_of_the_target_are_compared(left, right):
    one, other = left.encode(), right.encode()
    memory = {TEXT: one + other, ORDER: struct.pack("<qQQQ", 1, TEXT + len(one), len(other), 0) + bytes(56)}
    registers = {Register.RBX: TEXT, Register.RCX: len(one), Register.RAX: ORDER}
    assert kept("name == o.Email", registers, memory) == (left == right)
    assert kept("name != o.Email", registers, memory) == (left != right)


@given(held=st.text(st.sampled_from("ab"), max_size=12), asked=st.text(st.sampled_from("ab"), max_size=12))
@settings(max_examples=60, deadline=None)
def test_a_c_string_is_compared_up_to_its_end(held, asked):
    registers, memory = {Register.RDX: TEXT}, {TEXT: held.encode() + b"\0after" + bytes(200)}
    assert kept(f"text == {asked!r}", registers, memory, language=Language.C) == (held == asked)
    assert kept(f"text.startswith({asked!r})", registers, memory, language=Language.C) == held.startswith(asked)


@pytest.mark.parametrize(
    "where",
    [
        "o.Total > 0",
        "not o.Total > 0",
        "o.Total > 0 or True",
        "name == 'abc'",
        "name != 'abc'",
        "list[3].Done",
        "not list[3].Done",
        "text == 'x'",
        "o.Card.Cvv == 0",
    ],
)
def test_a_value_that_is_needed_and_cannot_be_read_filters_the_hit(where):
    """o is nil, the text's address is unmapped, the list is too short, text is nil."""
    language = Language.C if where.startswith("text") else Language.GO
    assert not kept(where, {Register.RBX: 0x999_0000, Register.RCX: 3}, language=language)


def test_a_value_that_is_not_needed_for_the_answer_need_not_be_readable():
    assert kept("n == 0 or o.Total > 0", numbers())
    assert not kept("n == 1 and o.Total > 0", numbers())
    assert kept("o != None and o.Total > 0 or n == 0", numbers())


def test_nil_is_the_first_word_of_pointers_slices_maps_and_interfaces():
    for name in ("o", "m", "e", "list", "v"):
        assert kept(f"{name} == None")
        assert not kept(f"{name} != None")
    assert kept("e != None", {Register.R10: 0x5000})


def test_an_enumeration_is_compared_by_its_member_s_name():
    assert kept('color == "BLUE"', {Register.R13: 7})
    assert not kept('color == "RED"', {Register.R13: 7})


def test_a_bit_field_is_read_with_its_sign():
    assert kept("flags.low == -1 and flags.high == 2", {Register.R12: 0b0000000000010_111})


def test_the_length_of_a_map_is_its_count_and_0_for_nil():
    assert kept("len(m) == 0")
    assert kept("len(m) == 12", {Register.R9: ORDER}, {ORDER: struct.pack("<Q", 12)})


@pytest.mark.parametrize(
    ("where", "reason", "words"),
    [
        ("n", Refusal.WRONG_TYPE, "a condition is a comparison or a bool"),
        ("name > 3", Refusal.WRONG_TYPE, "only"),
        ('n == "x"', Refusal.WRONG_TYPE, "int is no text"),
        ("f > 1", Refusal.UNREADABLE, "in_vector_register"),
        ("wide > 1", Refusal.WRONG_TYPE, "no number"),
        ("c == 1", Refusal.WRONG_TYPE, "no number"),
        ("n // 0 == 1", Refusal.WRONG_TYPE, "positive constant"),
        ("n % small == 1", Refusal.WRONG_TYPE, "positive constant"),
        ("u + n == 1", Refusal.WRONG_TYPE, "mixes"),
        ("n == None", Refusal.WRONG_TYPE, "never nil"),
        ("name < o.Email", Refusal.WRONG_TYPE, "== and != only"),
        ('color == "GREEN"', Refusal.WRONG_TYPE, "RED, BLUE"),
        ("total > 1", Refusal.NOT_HERE, "at: return"),
        ("x > 1", Refusal.UNKNOWN_NAME, "no argument"),
    ],
)
def test_a_condition_that_makes_no_sense_is_refused(where, reason, words):
    with pytest.raises(CannotCompile) as refused:
        compile_probe(shop_probe(), request({"n": "n"}, where=where))
    assert refused.value.reason is reason
    assert refused.value.column == ""
    assert words in refused.value.detail


@pytest.mark.parametrize(
    ("where", "n", "total", "keeps"),
    [
        ("n > 3", 4, 0, True),
        ("n > 3", 3, 0, False),
        ("total > 3", 0, 4, True),
        ("total > n", 3, 4, True),
        ("total > n", 4, 4, False),
        ("total > n * 2 or n == 1", 1, 0, True),
        ("not (total > n or n == 1)", 2, 2, True),
        ("total == 0 or o.Total > 1", 1, 0, True),
        ("total == 0 or o.Total > 1", 1, 1, False),
        ("latency() >= 500 and n == 1", 1, 1, True),
        ("latency() < 500", 1, 1, False),
    ],
)
def test_a_pair_decides_at_the_entry_what_it_can_and_the_rest_at_the_return(where, n, total, keeps):
    program = compile_probe(shop_probe(), request({"n": "n", "t": "total"}, where=where, at=At.ENTRY_AND_RETURN))
    machine = Machine(program, {STACK: bytes(512), G: bytes(256)})
    registers = {Register.RSP: STACK, Register.R14: G}
    machine.fire(registers | {Register.RDI: n})
    machine.now += 500
    machine.fire(registers | {Register.RAX: total}, index=0)
    assert bool(machine.records) == keeps
    assert machine.counters[Counter.FILTERED] == (not keeps)
    assert machine.stash == {}


@pytest.mark.parametrize("where", ["total == u", "err != None and ret(0) > u"])
def test_what_the_entry_cannot_keep_for_the_return_is_refused(where):
    with pytest.raises(CannotCompile, match="unsigned 64-bit argument"):
        compile_probe(shop_probe(), request({"n": "n"}, where=where, at=At.RETURN))


def test_a_long_text_is_refused_for_a_c_string_that_is_read_in_one_piece():
    with pytest.raises(CannotCompile, match="120 bytes"):
        compile_probe(shop_probe(language=Language.C), request({"n": "n"}, where=f"text == {'x' * 130!r}"))
