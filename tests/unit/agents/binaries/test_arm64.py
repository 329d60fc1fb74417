"""arm64 up to the program: conventions, site rules and pt_regs, on real objects. Only running it is left."""

from __future__ import annotations

import pytest

from agents.absence import Absent, Reason
from agents.binaries.capstone_decoder import decode
from agents.binaries.code_sites import body, entry_candidates
from agents.binaries.instructions import Flow
from agents.binaries.machine import ARM64
from agents.binaries.model import InMemory, InRegister, Register, ReturnMethod, TrapClass, Unresolved, UnresolvedReason
from agents.binaries.service import Binaries
from agents.compiler.frame import PT_REGS
from agents.compiler.service import compile_probe, dump
from agents.decoding.rows import to_rows
from agents.decoding.service import decode as decoded
from language.model import At
from tests.builders.bpf_machine import Machine
from tests.builders.compiler_types import request
from tests.builders.programs import PROGRAMS, build_arm64, build_go

BASE = 0x10000
X = [Register(f"x{number}") for number in range(31)]


@pytest.fixture
def arm64(tmp_path) -> Binaries:
    return Binaries(tmp_path / "cache", ARM64)


@pytest.fixture(params=["-O0", "-O2"])
def program(request) -> str:
    return str(build_arm64(PROGRAMS / "native" / "arm64.c", request.param))


@pytest.fixture(scope="module")
def go_program() -> str:
    return str(build_go(PROGRAMS / "sites" / "go", env={"GOARCH": "arm64"}))


def spelled(location):
    """x0, [sp+8], or why not; a piece after the other."""
    if isinstance(location, Absent):
        return location.reason.value
    return " ".join(
        piece.place.register.value
        if isinstance(piece.place, InRegister)
        else f"[{piece.place.register.value}+{piece.place.displacement}]"
        for piece in location
    )


def instruction(word: int):
    return next(iter(decode(word.to_bytes(4, "little"), BASE, 1, ARM64)))


# --- C: AAPCS64 --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "arguments", "result"),
    [
        ("leaf", {"a": "x0", "b": "x1", "c": "x2"}, "x0"),
        ("keeps", {"a": "x0", "text": "x1"}, "x0"),
        ("many", {**{name: f"x{number}" for number, name in enumerate("abcdefgh")}, "i": "[sp+0]", "j": "[sp+8]"}, "x0"),
        ("by_value", {"w": "[x0+0]", "p": "x1 x2", "after": "x3"}, "x0"),
        ("floats", {"a": Reason.IN_VECTOR_REGISTER, "n": "x0", "d": Reason.IN_VECTOR_REGISTER, "f": Reason.IN_VECTOR_REGISTER}, "x0"),
        ("small", {"x": "x0", "y": "x1"}, "x0 x1"),
        ("large", {"x": "x0"}, Reason.NO_LOCATION),
        ("early", {"a": "x0", "p": "x1"}, "x0"),
        ("loops", {"n": "x0"}, "x0"),
        ("writes", {"p": "x0", "v": "x1"}, "x0"),
    ],
)  # fmt: skip
def test_c_values_are_where_the_procedure_call_standard_puts_them(arm64, program, function, arguments, result):
    probe = arm64.resolve(program, function, At.ENTRY_AND_RETURN, None)

    assert {v.name: spelled(v.location) for v in probe.arguments} == arguments
    assert [spelled(v.location) for v in probe.results] == [result]
    assert (probe.entry.cfa_register, probe.entry.cfa_displacement) == (Register.SP, 0)
    assert probe.return_method is ReturnMethod.URETPROBE


def test_another_machines_program_is_refused_where_it_would_be_probed(tmp_path, program):
    with pytest.raises(Unresolved) as refused:
        Binaries(tmp_path / "cache").resolve(program, "leaf", At.ENTRY, None)
    assert refused.value.reason is UnresolvedReason.WRONG_MACHINE


# --- Go: ABIInternal ---------------------------------------------------------------------------------------------


def test_go_passes_in_sixteen_registers_and_keeps_g_in_x28(arm64, go_program):
    probe = arm64.resolve(go_program, "main.many", At.ENTRY_AND_RETURN, None)

    assert [spelled(v.location) for v in probe.arguments] == [f"x{number}" for number in range(11)]
    assert [spelled(v.location) for v in probe.results] == ["x0"]
    assert probe.go is not None
    assert probe.go.register is Register.X28
    assert {site.instruction for site in probe.returns} == {"ret"}
    assert {site.trap_class for site in probe.returns} == {TrapClass.EMULATED}


def test_go_arguments_on_the_stack_stand_above_the_place_of_the_return_address(arm64, go_program):
    probe = arm64.resolve(go_program, "main.byValue", At.ENTRY_AND_RETURN, None)

    assert {v.name: spelled(v.location) for v in probe.arguments} == {"w": "[sp+8]", "after": "x0"}


@pytest.mark.parametrize(
    "function", ["main.keeps", "main.middleFrame", "main.largeFrame", "main.hugeFrame", "main.grown"]
)
def test_the_entry_of_a_go_function_is_behind_its_stack_check(arm64, go_program, function):
    probe = arm64.resolve(go_program, function, At.ENTRY, None)

    assert probe.entry.address > probe.low_pc
    assert probe.entry.instruction.startswith(("str x30, [sp, ", "sub ", "mov x27, "))


def test_a_map_of_a_program_for_arm64_lies_as_any_other(arm64):
    program = str(build_go(PROGRAMS / "maps", env={"GOARCH": "arm64"}))
    probe = arm64.resolve(program, "main.small", At.ENTRY, None)

    assert [spelled(v.location) for v in probe.arguments] == ["x0", "x1", "x2"]
    assert probe.types[probe.arguments[0].type].groups is not None


# --- sites -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "simulated"),
    [
        (0x14000002, True),  # b
        (0x94000002, True),  # bl
        (0x54000041, True),  # b.ne
        (0xB4000040, True),  # cbz x0
        (0x37000040, True),  # tbnz w0, #0
        (0xD65F03C0, True),  # ret
        (0xD63F0100, True),  # blr x8
        (0x10000040, True),  # adr x0
        (0x90000000, True),  # adrp x0
        (0x58000040, True),  # ldr x0, literal
        (0xD503201F, True),  # nop
        (0xF9400020, False),  # ldr x0, [x1]
        (0xA9BF7BFD, False),  # stp x29, x30, [sp, #-16]!
        (0xD10083FF, False),  # sub sp, sp, #32
        (0xD503233F, False),  # paciasp
        (0xAA0103E0, False),  # mov x0, x1
    ],
)  # fmt: skip
def test_what_the_kernel_simulates_is_known(word, simulated):
    assert instruction(word).trap_class is (TrapClass.EMULATED if simulated else TrapClass.STEPPED)


@pytest.mark.parametrize("word", [0xD4200000, 0xC85F7C20, 0xC8027C20, 0xD53BD040, 0xD4000001])  # brk ldxr stxr mrs svc
def test_what_the_kernel_refuses_is_no_candidate(word):
    raw = word.to_bytes(4, "little") + (0xD65F03C0).to_bytes(4, "little")

    found = entry_candidates(body(raw, BASE, BASE + len(raw), ARM64), {}.get)

    assert BASE not in {c.instruction.address for c in found}


def test_a_pushed_pair_moves_the_stack_pointer_and_stays_in_the_own_frame():
    # stp x29, x30, [sp, #-32]!; mov x29, sp; str x0, [sp, #16]; str x1, [x2]; bl
    words = (0xA9BE7BFD, 0x910003FD, 0xF9000BE0, 0xF9000041, 0x94000000)
    raw = b"".join(word.to_bytes(4, "little") for word in words)

    found = {c.instruction.address - BASE: c for c in entry_candidates(body(raw, BASE, BASE + len(raw), ARM64), {}.get)}

    assert [found[at].moved for at in (0, 4, 16)] == [0, 32, 32]
    assert [found[at].memory_written for at in (8, 12, 16)] == [False, False, True]
    assert Register.X29 in found[16].written


def test_a_comparison_with_the_stack_pointer_does_not_move_it():
    compared = instruction(0xEB3063FF)  # cmp sp, x16

    assert (compared.flow, compared.writes, compared.stack_adjustment) == (Flow.NEXT, frozenset(), None)


# --- the program -------------------------------------------------------------------------------------------------


def test_registers_are_where_the_kernel_keeps_them():
    """struct user_pt_regs: regs[31], sp, pc, pstate."""
    assert [PT_REGS[each] for each in X] == [8 * number for number in range(31)]
    assert PT_REGS[Register.SP] == 248


def test_a_program_for_arm64_reads_registers_stack_and_memory(arm64, program):
    probe = arm64.resolve(program, "by_value", At.ENTRY, None)
    compiled = compile_probe(probe, request({"w": "w.values[1]", "p": "p", "after": "after"}, where="after > 1"))
    kernel = Machine(compiled, memory={0x5000: b"".join(value.to_bytes(8, "little") for value in (7, 8, 9, 10, 11))})

    for after in (1, 3):
        kernel.fire({Register.X0: 0x5000, Register.X1: 21, Register.X2: 22, Register.X3: after, Register.SP: 0x9000})

    (row,) = to_rows(decoded(compiled.layout, kernel.matrix(), 0).columns)
    assert (row["w"], row["p"], row["after"]) == (8, {"x": 21, "y": 22}, 3)


def test_a_pair_of_programs_for_go_finds_its_goroutine_and_frame(arm64, go_program):
    probe = arm64.resolve(go_program, "main.smallValue", At.ENTRY_AND_RETURN, None)
    compiled = compile_probe(probe, request({"p": "p", "sum": "ret(0)"}, at=At.ENTRY_AND_RETURN))
    g = bytearray(256)
    g[8:16] = (0xA000).to_bytes(8, "little")  # stack.hi
    g[probe.go.goid_offset : probe.go.goid_offset + 8] = (77).to_bytes(8, "little")
    kernel = Machine(compiled, memory={0x4000: bytes(g)})
    entry = next(
        one
        for one in compiled.programs
        if not one.on_return and one.sites[0].address == compiled.programs[-1].sites[0].address
    )
    moved = entry.sites[0].cfa_displacement

    kernel.fire({Register.X28: 0x4000, Register.X0: 3, Register.X1: 4, Register.X2: 5, Register.SP: 0x9000 - moved})
    kernel.fire({Register.X28: 0x4000, Register.X0: 12, Register.SP: 0x9000}, index=0)

    (row,) = to_rows(decoded(compiled.layout, kernel.matrix(), 0).columns)
    assert (row["p"], row["sum"], row["goid"]) == ({"X": 3, "Y": 4}, 12, 77)
    assert kernel.stash == {}


def test_the_plan_of_a_program_for_arm64_is_printed_to_its_end(arm64, go_program):
    probe = arm64.resolve(go_program, "main.writesFirst", At.ENTRY_AND_RETURN, None)
    text = "\n".join(dump(probe, request({"p": "p", "stack": "stack()", "r": "ret(0)"}, at=At.ENTRY_AND_RETURN)))

    assert f"r1 = *(u64 *)(r6 +{PT_REGS[Register.X30]})" in text  # the caller is in the link register
    assert InMemory(Register.SP, 0) not in [piece.place for v in probe.arguments for piece in v.location]
