"""The examples of Go's abi-internal.md, and the corners of its rules."""

from agents.absence import Absent, Reason
from agents.binaries.go_abi import assign
from agents.binaries.go_types import Leaf, RegisterClass, Shape
from agents.binaries.model import InRegister, Register


def integer(size: int) -> Shape:
    return Shape(size, size, (Leaf(0, size, RegisterClass.INTEGER),))


WORD = integer(8)
DOUBLE = Shape(8, 8, (Leaf(0, 8, RegisterClass.FLOAT),))
STRING = Shape(16, 8, (Leaf(0, 8, RegisterClass.INTEGER), Leaf(8, 8, RegisterClass.INTEGER)))
PAIR_ARRAY = Shape(16, 8, None)
EMPTY = Shape(0, 1, ())


def registers(assigned):
    return [piece.place.register for piece in assigned.pieces]


def test_the_example_of_the_specification():
    # func f(a1 uint8, a2 [2]uintptr, a3 uint8) (r1 struct { x uintptr; y [2]uintptr }, r2 string)
    done = assign([integer(1), PAIR_ARRAY, integer(1)], [Shape(24, 8, None), STRING])

    assert registers(done.arguments[0]) == [Register.RAX]
    assert done.arguments[1].pieces is None
    assert done.arguments[1].stack == 0
    assert registers(done.arguments[2]) == [Register.RBX]
    assert done.results[0].stack == 16
    assert registers(done.results[1]) == [Register.RAX, Register.RBX]
    assert (done.arguments[0].spill, done.arguments[2].spill) == (40, 41)


def test_a_value_that_does_not_fit_whole_goes_on_the_stack_and_a_smaller_one_behind_it_still_fits():
    done = assign([WORD] * 8 + [STRING, WORD], [])

    assert done.arguments[8].stack == 0
    assert registers(done.arguments[9]) == [Register.R11]


def test_floats_count_by_themselves_and_are_absent_with_their_register():
    done = assign([WORD, DOUBLE, WORD], [])

    assert done.arguments[1].pieces[0].place == Absent(Reason.IN_VECTOR_REGISTER, "in xmm0, which a uprobe cannot read")
    assert registers(done.arguments[2]) == [Register.RBX]


def test_a_value_of_no_size_takes_no_register():
    done = assign([EMPTY, WORD], [])

    assert done.arguments[0].pieces is None
    assert registers(done.arguments[1]) == [Register.RAX]


def test_stack_values_are_aligned_and_results_start_at_a_word():
    done = assign([Shape(1, 1, None), Shape(4, 4, None), Shape(2, 1, None)], [Shape(2, 2, None)])

    assert [each.stack for each in done.arguments] == [0, 4, 8]
    assert done.results[0].stack == 16


def test_without_registers_everything_is_on_the_stack():
    done = assign([WORD, STRING], [WORD], registers=False)

    assert [each.stack for each in done.arguments] == [0, 8]
    assert done.results[0].stack == 24


def test_the_ninth_integer_register_is_the_last():
    done = assign([WORD] * 10, [])

    assert done.arguments[8].pieces[0].place == InRegister(Register.R11)
    assert done.arguments[9].stack == 0
