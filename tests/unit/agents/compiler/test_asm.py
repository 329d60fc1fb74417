"""Instructions are encoded as RFC 9669 says, jumps find their labels, and the text reads back."""

import pytest

from agents.compiler import disasm
from agents.compiler.asm import MAX_JUMP, Assembler, Helper, Reg, TextTooLong
from agents.compiler.model import MapName

EXIT = "9500000000000000"


def encoded(write) -> str:
    asm = Assembler()
    write(asm)
    asm.exit()
    return asm.assemble().instructions[:-8].hex() or EXIT


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (lambda a: a.mov(Reg.R6, Reg.R1), "bf16000000000000"),
        (lambda a: a.mov(Reg.R0, -2), "b7000000feffffff"),
        (lambda a: a.mov(Reg.R2, 1 << 40), "18020000000000000000000000010000"),
        (lambda a: a.mov(Reg.R2, 0xFFFFFFFF), "18020000ffffffff0000000000000000"),
        (lambda a: a.alu(Reg.R2, "+=", -8), "07020000f8ffffff"),
        (lambda a: a.alu(Reg.R3, "s>>=", Reg.R4), "cf43000000000000"),
        (lambda a: a.neg(Reg.R3), "8703000000000000"),
        (lambda a: a.load(Reg.R1, Reg.R6, 80), "7961500000000000"),
        (lambda a: a.load(Reg.R1, Reg.R6, 5, 1), "7161050000000000"),
        (lambda a: a.store(Reg.R10, -8, Reg.R0), "7b0af8ff00000000"),
        (lambda a: a.store(Reg.R10, -16, 9, 4), "620af0ff09000000"),
        (lambda a: a.atomic_add(Reg.R0, 8, Reg.R1), "db10080000000000"),
        (lambda a: a.atomic_add(Reg.R0, 8, Reg.R1, fetch=True), "db10080001000000"),
        (lambda a: a.compare_exchange(Reg.R8, 48, Reg.R1), "db183000f1000000"),
        (lambda a: a.call(Helper.COPY_FROM_USER), "8500000094000000"),
        (lambda a: None, EXIT),
    ],
)
def test_an_instruction_has_its_encoding(write, expected):
    assert encoded(write) == expected


def test_a_map_is_referenced_by_the_slot_of_its_wide_load():
    asm = Assembler()
    asm.mov(Reg.R1, 1 << 40)
    asm.load_map(Reg.R1, MapName.RING)
    asm.exit()
    text = asm.assemble()
    assert [(each.instruction, each.map) for each in text.maps] == [(2, MapName.RING)]
    assert text.instructions[16:24].hex() == "1811000000000000"


def test_a_jump_counts_slots_from_the_next_instruction_over_wide_loads():
    asm = Assembler()
    end = asm.fresh("end")
    asm.jump_if(Reg.R1, "s<", 5, end)
    asm.mov(Reg.R2, 1 << 40)
    asm.mark(end)
    asm.exit()
    assert asm.assemble().instructions[:8].hex() == "c501020005000000"


def test_what_no_path_reaches_is_left_out():
    asm = Assembler()
    end = asm.fresh("end")
    asm.jump(end)
    asm.mov(Reg.R3, 3)
    asm.mark(end)
    asm.exit()
    assert asm.assemble().instructions.hex() == "9500000000000000"


def test_a_jump_backwards_stays():
    asm = Assembler()
    again = asm.fresh("again")
    asm.mark(again)
    asm.alu(Reg.R1, "-=", 1)
    asm.jump_if(Reg.R1, "!=", 0, again)
    asm.exit()
    assert asm.assemble().instructions[8:16].hex() == "5501feff00000000"


def test_a_jump_too_far_is_refused():
    asm = Assembler()
    end = asm.fresh("end")
    asm.jump_if(Reg.R1, "==", 0, end)
    for _ in range(MAX_JUMP + 1):
        asm.mov(Reg.R1, 0)
    asm.mark(end)
    asm.exit()
    with pytest.raises(TextTooLong):
        asm.assemble()


def test_an_operand_over_32_bits_is_refused():
    with pytest.raises(ValueError, match="load it into a register"):
        Assembler().alu(Reg.R1, "+=", 1 << 31)


def test_the_disassembly_names_labels_and_maps():
    asm = Assembler()
    end = asm.fresh("end")
    asm.load_map(Reg.R1, MapName.STASH)
    asm.jump_if(Reg.R1, ">", Reg.R2, end)
    asm.store(Reg.R10, -8, 7)
    asm.mark(end)
    asm.exit()
    assert list(disasm.lines(asm.assemble())) == [
        "0: (18) r1 = map[stash]",
        "2: (2d) if r1 > r2 goto pc+1",
        "3: (7a) *(u64 *)(r10 -8) = 7",
        "end_1:",
        "4: (95) exit",
    ]
