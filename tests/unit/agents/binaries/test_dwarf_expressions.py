"""Location expressions, written byte by byte (DWARF 5, 2.5 and 2.6)."""

import pytest

from agents.absence import Absent, Reason
from agents.binaries.dwarf_expressions import FrameContext, evaluate
from agents.binaries.model import Constant, InMemory, InRegister, Register, Static

FRAME = FrameContext(cfa=InMemory(Register.RSP, 8), frame_base=InMemory(Register.RBP, 16))


@pytest.mark.parametrize(
    ("expression", "place"),
    [
        ("50", InRegister(Register.RAX)),
        ("54", InRegister(Register.RSI)),
        ("9005", InRegister(Register.RDI)),
        ("9170", InMemory(Register.RBP, 0)),  # fbreg -16
        ("9c", InMemory(Register.RSP, 8)),
        ("9c2308", InMemory(Register.RSP, 16)),  # call_frame_cfa, plus_uconst 8
        ("7508", InMemory(Register.RDI, 8)),
        ("030010400000000000", Static(0x401000)),
        ("319f", Constant(1)),
        ("09ff9f", Constant(-1)),  # const1s, stack_value
        ("75009f", InRegister(Register.RDI)),  # breg5 0, stack_value
        ("9e022a01", Constant(0x12A)),  # implicit_value
    ],
)
def test_a_whole_value_has_one_place(expression, place):
    assert evaluate(bytes.fromhex(expression), FRAME) == ((None, place),)


def test_pieces_follow_each_other_and_an_empty_one_is_optimised_out():
    assert evaluate(bytes.fromhex("509308 9308 539308"), FRAME) == (
        (8, InRegister(Register.RAX)),
        (8, Absent(Reason.OPTIMISED_OUT)),
        (8, InRegister(Register.RBX)),
    )


def test_a_vector_register_is_absent_with_its_name():
    ((_, place),) = evaluate(bytes.fromhex("61"), FRAME)

    assert place == Absent(Reason.IN_VECTOR_REGISTER, "in xmm0, which a uprobe cannot read")


@pytest.mark.parametrize("expression", ["70089f", "9106", "750006", "ff", "a3015f9f", "70009f22"])
def test_what_is_not_understood_is_absent_and_never_guessed(expression):
    frame = FrameContext(cfa=None, frame_base=None)

    ((_, place),) = evaluate(bytes.fromhex(expression), frame)

    assert isinstance(place, Absent)


def test_an_empty_expression_has_no_place():
    assert evaluate(b"", FRAME) == ()


def test_a_constant_added_to_the_frame_address_is_followed():
    # DW_OP_call_frame_cfa; DW_OP_consts -32048; DW_OP_plus: rustc's frame base of a large frame
    expression = bytes.fromhex("9c 11 d0857e 22")

    assert evaluate(expression, FrameContext(InMemory(Register.RSP, 8), None)) == (
        (None, InMemory(Register.RSP, 8 - 32048)),
    )
