"""C, C++ and Rust functions of compiled programs. Expectations are the psABI's, worked out by hand."""

import pytest

from agents.binaries.model import (
    Array,
    Enumeration,
    Integer,
    Language,
    Pointer,
    ReturnMethod,
    Slice,
    String,
    Struct,
    TrapClass,
    Unresolved,
    UnresolvedReason,
    VariantPart,
)
from language.model import At
from tests.builders.places import arguments, location, results
from tests.builders.programs import PROGRAMS, build_c, build_rust

NATIVE = PROGRAMS / "native"

C_CASES = {
    "integers": ("rdi rsi rdx rcx r8 r9", ["rax"]),
    "many": ("rdi rsi rdx rcx r8 r9 [rsp+8] [rsp+16]", ["rax"]),
    "small": ("rdi rsi", ["rax"]),
    "two": ("0+8:rdi,8+8:rsi rdx", ["0+8:rax 8+8:rdx"]),
    "big": ("[rsp+8] rsi", ["[rax+0]"]),
    "mix": ("0+8:!in_vector_register,8+8:rdi !in_vector_register", ["0+8:!in_vector_register 8+8:rax"]),
    "floats": ("!in_vector_register rdi !in_vector_register", ["!in_vector_register"]),
    "flagged": ("rdi rsi", ["rax"]),
    "nothing": ("rdi rsi", []),
    "narrow": ("rdi", ["rax"]),
    "hidden": ("rdi rsi", ["rax"]),
}


@pytest.mark.parametrize("flag", ["-O0", "-O2"])
@pytest.mark.parametrize("name", C_CASES)
def test_where_c_arguments_and_results_are_whatever_the_optimiser_does(binaries, name, flag):
    probe = binaries.resolve(str(build_c(NATIVE / "shapes.c", flag)), name, At.ENTRY_AND_RETURN, None)

    expected_arguments, expected_results = C_CASES[name]
    assert [location(v.location).replace(" ", ",") for v in probe.arguments] == expected_arguments.split(" ")
    assert results(probe) == expected_results
    assert (probe.language, probe.return_method, probe.returns) == (Language.C, ReturnMethod.URETPROBE, ())


@pytest.mark.parametrize("flag", ["-O0", "-O2"])
def test_the_return_address_is_on_top_where_a_return_probe_is_armed(binaries, flag):
    program = str(build_c(NATIVE / "shapes.c", flag, "-fcf-protection"))
    for name in C_CASES:
        probe = binaries.resolve(program, name, At.ENTRY_AND_RETURN, None)
        assert probe.entry.cfa_displacement == 8
        assert probe.entry.address > probe.low_pc or probe.entry.trap_class is TrapClass.STEPPED


def test_c_types_keep_bit_fields_enumerators_and_names(binaries, c_shapes):
    flagged = binaries.resolve(str(c_shapes), "flagged", At.ENTRY, None)
    pointer = flagged.types[flagged.arguments[0].type]
    flags = flagged.types[pointer.target]
    union = flagged.types[flagged.arguments[1].type]

    assert isinstance(pointer, Pointer)
    assert [(m.name, m.bit_offset, m.bit_size) for m in flags.members] == [
        ("ready", 0, 1),
        ("level", 1, 3),
        ("rest", 4, 12),
    ]
    assert union.union
    assert {m.offset for m in union.members} == {0}
    integers = binaries.resolve(str(c_shapes), "integers", At.ENTRY, None)
    colour = integers.types[integers.arguments[5].type]
    assert colour == Enumeration("colour", 4, True, (("RED", 0), ("GREEN", 5), ("BLUE", -1)))
    big = binaries.resolve(str(c_shapes), "big", At.ENTRY, None)
    values = big.types[big.types[big.arguments[0].type].members[0].type]
    assert isinstance(values, Array)
    assert (values.count, values.size) == (5, 40)
    total = binaries.resolve(str(c_shapes), "sum", At.ENTRY_AND_RETURN, None)
    assert total.types[total.results[0].type] == Integer("word", 8, signed=False)


def test_a_c_function_that_was_inlined_everywhere_says_so(binaries, c_shapes):
    with pytest.raises(Unresolved, match="noinline") as refused:
        binaries.resolve(str(c_shapes), "inlined", At.ENTRY, None)

    assert refused.value.reason is UnresolvedReason.INLINED_AWAY


def test_a_program_without_debug_information_says_how_to_build_it(binaries):
    bare = build_c(NATIVE / "shapes.c", "-O2", "-g0")

    with pytest.raises(Unresolved, match="rebuild with -g") as refused:
        binaries.resolve(str(bare), "many", At.ENTRY, None)

    assert refused.value.reason is UnresolvedReason.NO_DEBUG_INFO


@pytest.mark.parametrize(
    "flags", [("-gdwarf-4",), ("-gz=zlib",), ("-gdwarf-4", "-fdebug-types-section"), ("-fno-pie", "-no-pie")]
)
def test_every_form_of_debug_information_gives_the_same_answer(binaries, c_shapes, flags):
    other = binaries.resolve(str(build_c(NATIVE / "shapes.c", "-O2", *flags)), "two", At.ENTRY_AND_RETURN, None)
    usual = binaries.resolve(str(c_shapes), "two", At.ENTRY_AND_RETURN, None)

    assert (arguments(other), results(other)) == (arguments(usual), results(usual))
    assert (other.file, other.line) == (usual.file, usual.line)
    assert sorted(t.name for t in other.types.values()) == sorted(t.name for t in usual.types.values())


CPP_CASES = {
    "shop::Order::total": ({"this": "rdi", "factor": "rsi"}, ["rax"]),
    "Order::count": ({"a": "rdi"}, ["rax"]),
    "shop::charge(int)": ({"amount": "rdi"}, ["rax"]),
    "shop::describe": ({"text": "[rsi+0]", "order": "[rdx+0]"}, ["[rax+0]"]),  # classes that are not trivial to copy
    "shop::boxed": ({"value": "rsi"}, ["[rax+0]"]),
    "shop::largest<int>": ({"a": "rdi", "b": "rsi"}, ["rax"]),
}


@pytest.mark.parametrize("flag", ["-O0", "-O2"])
@pytest.mark.parametrize("name", CPP_CASES)
def test_where_cpp_arguments_and_results_are(binaries, name, flag):
    probe = binaries.resolve(str(build_c(NATIVE / "shapes.cpp", flag)), name, At.ENTRY_AND_RETURN, None)

    assert (arguments(probe), results(probe)) == CPP_CASES[name]
    assert probe.language is Language.CPP


def test_overloads_are_told_apart_by_their_parameters(binaries, cpp_shapes):
    with pytest.raises(Unresolved, match=r"shop::charge\(const Order &, Level\), shop::charge\(int\)") as refused:
        binaries.resolve(str(cpp_shapes), "shop::charge", At.ENTRY, None)

    assert refused.value.reason is UnresolvedReason.AMBIGUOUS
    assert binaries.resolve(str(cpp_shapes), "charge(const Order&, Level)", At.ENTRY, None).line == 29


def test_a_base_class_is_embedded(binaries, cpp_shapes):
    probe = binaries.resolve(str(cpp_shapes), "shop::Order::total", At.ENTRY, None)
    order = probe.types[probe.types[probe.arguments[0].type].target]

    assert isinstance(order, Struct)
    assert next((m.name, m.embedded) for m in order.members) == ("Base", True)
    level = next(probe.types[m.type] for m in order.members if m.name == "level_")
    assert level == Enumeration("Level", 1, False, (("Low", 1), ("High", 9)))


RUST_CASES = {
    "shapes::integers": ({"a": "rdi", "b": "rsi", "c": "rdx", "d": "rcx", "e": "r8"}, ["rax"]),
    "shapes::texts": ({"name": "0+8:rdi 8+8:rsi", "numbers": "0+8:rdx 8+8:rcx"}, ["rax"]),
    "shapes::run": ({"command": "rdi", "times": "rsi"}, ["rax"]),
    "shapes::find": ({"order": "rdi", "id": "rsi"}, ["rax"]),
    "shapes::parse": ({"text": "0+8:rsi 8+8:rdx"}, ["!no_location"]),
    "Order::rename": ({"self": "rdi", "name": "0+8:rsi 8+8:rdx"}, ["0+8:rax 8+8:rdx"]),
}


@pytest.mark.parametrize("name", RUST_CASES)
def test_where_rust_arguments_and_results_are(binaries, rust_shapes, name):
    probe = binaries.resolve(str(rust_shapes), name, At.ENTRY_AND_RETURN, None)

    assert (arguments(probe), results(probe)) == RUST_CASES[name]
    assert probe.language is Language.RUST


def test_optimised_rust_is_exact_or_absent(binaries):
    program = str(build_rust(NATIVE / "shapes.rs", "-O"))
    run = binaries.resolve(program, "shapes::run", At.ENTRY, None)
    texts = binaries.resolve(program, "shapes::texts", At.ENTRY, None)

    assert arguments(run) == {"command": "rdi", "times": "rsi"}
    assert arguments(texts)["name"].startswith("0+8:!optimised_out")


def test_rust_types(binaries, rust_shapes):
    texts = binaries.resolve(str(rust_shapes), "shapes::texts", At.ENTRY, None)
    name, numbers = (texts.types[v.type] for v in texts.arguments)
    assert isinstance(name, String)
    assert isinstance(numbers, Slice)
    assert (numbers.size, texts.types[numbers.element]) == (16, Integer("u32", 4, signed=False))

    run = binaries.resolve(str(rust_shapes), "shapes::run", At.ENTRY, None)
    command = run.types[run.types[run.arguments[0].type].target]
    assert isinstance(command, VariantPart)
    assert [(v.name, len(v.discriminants)) for v in command.variants] == [("Quit", 1), ("Move", 1), ("Write", 0)]
    move = run.types[command.variants[1].type]
    assert {m.name for m in move.members} == {"x", "y"}


def test_a_line_of_c_has_its_locals(binaries):
    program = build_c(NATIVE / "shapes.c", "-O0")
    probe = binaries.resolve(str(program), "sum", At.LINE, ("shapes.c", 30))

    assert {v.name for v in probe.arguments} == {"list", "limit", "total"}
    assert arguments(probe)["total"] == "[rbp-8]"
    assert (probe.entry.cfa_register.value, probe.entry.cfa_displacement) == ("rbp", 16)


def test_functions_that_share_name_and_parameters_are_told_apart_by_their_symbols(binaries, rust_shapes):
    listed = [f.name for f in binaries.functions(str(rust_shapes), "core::num::error::fmt", 50)]

    assert len(listed) == len(set(listed)) > 1
    for name in listed:
        assert binaries.resolve(str(rust_shapes), name, At.ENTRY, None).function == name
