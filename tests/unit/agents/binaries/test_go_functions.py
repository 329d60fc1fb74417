"""Go functions of a compiled program: places, sites and types, checked against what the toolchain's disassembler shows."""

import re
import subprocess

import pytest

from agents.binaries.model import (
    Boolean,
    Integer,
    Interface,
    Language,
    Map,
    Opaque,
    Pointer,
    Register,
    ReturnMethod,
    Slice,
    String,
    Struct,
    TrapClass,
    Unresolved,
    UnresolvedReason,
)
from language.model import At
from tests.builders.places import arguments, location, results
from tests.builders.programs import PROGRAMS, build_go, go, go_environment

BOTH = At.ENTRY_AND_RETURN


@pytest.fixture
def resolve(binaries, go_shapes):
    return lambda name, at=BOTH, line=None: binaries.resolve(str(go_shapes), name, at, line)


def test_the_shops_sum(binaries, shop):
    probe = binaries.resolve(str(shop), "money.Sum", BOTH, None)

    assert probe.function == "github.com/GoogleCloudPlatform/microservices-demo/src/checkoutservice/money.Sum"
    assert probe.file.endswith("money/money.go")
    assert arguments(probe) == {"l": "0+8:rax 8+8:rbx 16+8:rcx 24+4:rdi", "r": "0+8:rsi 8+8:r8 16+8:r9 24+4:r10"}
    assert results(probe) == ["0+8:rax 8+8:rbx 16+8:rcx 24+4:rdi", "0+8:rsi 8+8:r8"]
    assert (probe.language, probe.return_method) == (Language.GO, ReturnMethod.RET_SITES)
    assert probe.go.version.startswith("go1.")


def test_the_shops_sites_are_what_the_disassembler_of_go_shows(binaries, shop):
    probe = binaries.resolve(str(shop), "money.Sum", BOTH, None)

    command = [go(), "tool", "objdump", "-s", r"money\.Sum$", str(shop)]
    listing = subprocess.run(command, capture_output=True, text=True, check=True, env=go_environment()).stdout
    at = {m[2]: m[1] for m in re.finditer(r"^\s+\S+\s+(0x[0-9a-f]+)\s+[0-9a-f]+\s+(.+?)\s*$", listing, re.MULTILINE)}
    returns = re.findall(r"(0x[0-9a-f]+)\s+c3\s+RET", listing)

    assert hex(probe.entry.address) == at["PUSHQ BP"]
    assert probe.entry.trap_class is TrapClass.EMULATED
    assert [hex(site.address) for site in probe.returns] == returns
    assert {(s.cfa_register, s.cfa_displacement) for s in (probe.entry, *probe.returns)} == {(Register.RSP, 8)}
    raw = shop.read_bytes()
    assert raw[probe.entry.offset] == 0x55
    assert all(raw[site.offset] == 0xC3 for site in probe.returns)


CASES = {
    "main.integers": ("rax rbx rcx rdi rsi r8", ["rax", "rbx"]),
    "main.unused": ("rax 0+8:rbx,8+8:rcx rdi", ["rax"]),
    "main.blanks": ("rax 0+8:rbx,8+8:rcx rdi rsi r8", ["rax"]),
    "main.floats": (
        "!in_vector_register rax !in_vector_register",
        ["!in_vector_register", "rax", "!in_vector_register"],
    ),
    "main.onStack": ("[rsp+8] rax", ["[rsp+32]", "0+8:rax 8+8:rbx"]),
    "main.blankOnStack": ("rax [rsp+8]", ["[rsp+32]"]),
    "main.tooMany": (
        "rax rbx rcx rdi rsi r8 r9 r10 r11 [rsp+8] [rsp+16]",
        ["rax", "rbx", "rcx", "rdi", "rsi", "r8", "r9", "r10", "r11", "[rsp+24]"],
    ),
    "main.leaf": ("rax rbx", ["rax"]),
    "main.anything": ("0+8:rax,8+8:rbx rcx rdi", ["0+8:rax 8+8:rbx"]),
    "main.pick[go.shape.string]": ("0+8:rbx,8+8:rcx 0+8:rdi,8+8:rsi r8", ["0+8:rax 8+8:rbx"]),
    "main.(*box[go.shape.int64]).get": ("rax rcx", ["rax", "rbx"]),
    "main.closures.func1": ("rax", ["rax"]),
    "main.panics": ("rax", ["rax"]),
}


@pytest.mark.parametrize("name", CASES)
def test_where_arguments_and_results_are(resolve, name):
    probe = resolve(name)

    expected_arguments, expected_results = CASES[name]
    assert [location(v.location).replace(" ", ",") for v in probe.arguments] == expected_arguments.split(" ")
    assert results(probe) == expected_results


def test_the_pieces_of_a_struct_are_put_at_its_fields_with_its_padding(resolve):
    probe = resolve("main.wide")

    assert arguments(probe)["d"] == "0+4:rax 8+8:rbx 16+8:rcx 24+8:rdi 32+8:rsi 40+8:r8 48+8:r9"
    assert arguments(probe)["e"] == "0+8:[rsp+8] 8+8:[rsp+16]"
    assert arguments(probe)["m"] == "[rsp+24]"


def test_values_without_size_have_a_place_that_is_nowhere(resolve):
    probe = resolve("main.empty")

    assert arguments(probe) == {"a": "", "b": "rax", "c": ""}
    assert results(probe) == ["", "rax"]


@pytest.mark.parametrize(
    "name", ["main.integers", "main.onStack", "main.tooMany", "main.pick[go.shape.string]", "main.wide"]
)
def test_a_build_without_optimisation_has_the_same_places(binaries, resolve, name):
    slow = binaries.resolve(str(build_go(PROGRAMS / "go_shapes", "-gcflags=-N -l")), name, BOTH, None)
    fast = resolve(name)

    def bytewise(variables):
        return [
            {
                p.offset + i: (location((p,)), i)
                for p in v.location
                for i in range(0, p.size, 8)
                if "[" not in location((p,))
            }
            for v in variables
            if isinstance(v.location, tuple)
        ]

    assert bytewise(slow.arguments) == bytewise(fast.arguments)
    assert results(slow) == results(fast)
    assert slow.entry.instruction == "push rbp"


def test_a_position_independent_build_finds_the_same_interfaces(binaries, resolve):
    pie = binaries.resolve(str(build_go(PROGRAMS / "go_shapes", "-buildmode=pie")), "main.wide", BOTH, None)
    fixed = resolve("main.wide")

    def names(probe):
        return {t.name: {i.name for i in t.implementations} for t in probe.types.values() if isinstance(t, Interface)}

    assert pie.position_independent
    assert names(pie) == names(fixed)


def test_a_function_without_a_frame_is_probed_at_its_first_instruction(resolve):
    probe = resolve("main.leaf")

    assert probe.entry.address == probe.low_pc
    assert probe.entry.trap_class is TrapClass.STEPPED


def test_types_are_closed_and_are_what_they_are(resolve):
    probe = resolve("main.wide")
    types = probe.types
    derived = types[probe.arguments[0].type]

    assert isinstance(derived, Struct)
    assert [(m.name, m.offset, m.embedded) for m in derived.members] == [
        ("Base", 0, True),
        ("Point", 8, True),
        ("Name", 16, False),
        ("Tags", 32, False),
    ]
    base, point, name, tags = (types[m.type] for m in derived.members)
    assert isinstance(base, Struct)
    assert isinstance(point, Pointer)
    assert [m.name for m in types[point.target].members] == ["X", "Y"]
    assert isinstance(name, String)
    assert isinstance(tags, Slice)
    assert isinstance(types[tags.element], String)
    mapping = types[probe.arguments[3].type]
    assert isinstance(mapping, Map)
    assert (types[mapping.key].name, types[mapping.value].name) == ("string", "int64")


def test_plain_types_keep_their_names_and_signs(resolve):
    probe = resolve("main.integers")
    by_name = {v.name: probe.types[v.type] for v in probe.arguments}

    assert by_name["b"] == Integer("uint16", 2, signed=False)
    assert by_name["e"] == Boolean("bool", 1)
    assert by_name["f"] == Integer("main.Level", 1, signed=True)


def test_channels_and_functions_say_why_they_cannot_be_shown(resolve):
    probe = resolve("main.anything")

    _, function, channel = (probe.types[v.type] for v in probe.arguments)
    assert isinstance(function, Opaque)
    assert isinstance(channel, Opaque)
    assert "channel" in channel.why


def test_an_interface_lists_the_types_that_implement_it_with_their_descriptors(resolve, go_shapes):
    probe = resolve("main.wide")
    shape, error = (probe.types[v.type] for v in probe.arguments[1:3])

    assert not shape.empty
    assert {i.name for i in shape.implementations} == {"main.Square", "*main.Point"}
    assert {"*main.NotFound", "*errors.errorString"} <= {i.name for i in error.implementations}
    square = next(i for i in shape.implementations if i.name == "main.Square")
    assert isinstance(probe.types[square.type], Struct)


def test_an_empty_interface_knows_its_predeclared_types_first(resolve):
    probe = resolve("main.anything")
    held = probe.types[probe.arguments[0].type]

    assert held.empty
    names = [i.name for i in held.implementations]
    assert "string" in names[:16]
    assert any(name.startswith("main.") for name in names)


def test_a_generic_function_by_its_plain_name_lists_its_shapes(resolve):
    with pytest.raises(Unresolved, match=r"main.pick\[go.shape.int\]") as refused:
        resolve("main.pick")

    assert refused.value.reason is UnresolvedReason.AMBIGUOUS


def test_a_function_that_leaves_by_a_tail_call_has_no_return_to_probe(resolve):
    with pytest.raises(Unresolved, match="tail call") as refused:
        resolve("(*Derived).Area")

    assert refused.value.reason is UnresolvedReason.NO_SITE
    assert any("tail call" in note for note in resolve("(*Derived).Area", At.ENTRY).notes)


def test_a_function_that_was_inlined_everywhere_says_so(binaries, shop):
    with pytest.raises(Unresolved, match="inlined it at 2 places") as refused:
        binaries.resolve(str(shop), "money.valid", At.ENTRY, None)

    assert refused.value.reason is UnresolvedReason.INLINED_AWAY


def test_inlined_copies_are_counted_and_said(binaries, go_shapes):
    probe = binaries.resolve(str(go_shapes), "reflect.Value.Kind", At.ENTRY, None)

    assert len(probe.inlined_copies) >= 1
    assert all(site.inlined for site in probe.inlined_copies)
    assert f"{len(probe.inlined_copies)} inlined cop" in probe.notes[0]


def test_a_line_has_the_variables_that_live_there(binaries, shop):
    probe = binaries.resolve(str(shop), "money.Sum", At.LINE, ("money/money.go", 35))

    assert probe.entry.line == 35
    assert [v.name for v in probe.arguments][:3] == ["l", "r", "units"]
    assert arguments(probe)["units"] == "r10"
    assert arguments(probe)["l"].endswith("24+4:[rsp+28]")
    assert probe.entry.cfa_displacement == 80


def test_a_line_without_code_is_answered_with_those_that_have_some(binaries, shop):
    with pytest.raises(
        Unresolved, match=r"line 99 of money.go has no code there; lines with code: .*, 44, 46"
    ) as refused:
        binaries.resolve(str(shop), "money.Sum", At.LINE, ("money.go", 99))

    assert refused.value.reason is UnresolvedReason.NO_LINE


def test_a_file_that_the_function_is_not_in_is_said(binaries, shop):
    with pytest.raises(Unresolved, match=r"it has no line of main.go"):
        binaries.resolve(str(shop), "money.Sum", At.LINE, ("main.go", 35))


@pytest.mark.parametrize("flags", ["-s -w", "-w"])
def test_a_stripped_binary_says_how_to_build_it(binaries, flags):
    stripped = build_go(PROGRAMS / "go_shapes", f"-ldflags={flags}")

    with pytest.raises(Unresolved, match="rebuild without -ldflags=-s -w") as refused:
        binaries.resolve(str(stripped), "main.leaf", At.ENTRY, None)
    with pytest.raises(Unresolved) as unknown:
        binaries.resolve(str(stripped), "main.lead", At.ENTRY, None)

    assert refused.value.reason is UnresolvedReason.NO_DEBUG_INFO
    assert unknown.value.reason is UnresolvedReason.NO_FUNCTION
    assert "main.leaf" in unknown.value.detail


def test_assembly_is_refused_since_it_does_not_keep_the_goroutine(binaries, go_shapes):
    with pytest.raises(Unresolved, match="assembly") as refused:
        binaries.resolve(str(go_shapes), "runtime.memmove", At.ENTRY, None)

    assert refused.value.reason is UnresolvedReason.UNSUPPORTED_LANGUAGE
