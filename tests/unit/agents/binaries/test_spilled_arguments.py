"""What a prologue stores into its frame tells where an argument is when the function starts."""

from agents.absence import Absent
from agents.binaries.spilled_arguments import at_entry, traced_slots
from tests.builders.places import location

BASE = 0x1000
FRAME = "55 4889e5"  # push rbp; mov rbp, rsp: rbp is the CFA less 16


def place(code: str, offset: int, size: int) -> str:
    raw = bytes.fromhex(code)
    return location(at_entry(traced_slots(raw, BASE, BASE + len(raw)), offset, size))


def test_a_register_that_is_stored_is_the_argument():
    assert place(FRAME + "48897de8", -40, 8) == "rdi"  # mov [rbp-24], rdi


def test_a_narrow_store_takes_the_low_bytes():
    assert place(FRAME + "4088c8 8845ec", -36, 1) == "rcx"  # mov al, cl; mov [rbp-20], al


def test_a_copy_through_a_slot_and_another_register_is_followed():
    # mov [rbp-8], esi; mov eax, [rbp-8]; mov [rbp-24], eax
    assert place(FRAME + "8975f8 8b45f8 8945e8", -40, 4) == "rsi"


def test_a_struct_of_two_registers_has_two_pieces():
    assert place(FRAME + "48897de0 488975e8", -48, 16) == "0+8:rdi 8+8:rsi"


def test_an_argument_on_the_stack_needs_no_store():
    assert place(FRAME, 8, 40) == "[rsp+16]"


def test_a_bool_that_is_clipped_to_its_bit_stays_itself():
    assert place(FRAME + "4088f0 2401 8845ff", -17, 1) == "rsi"  # mov al, sil; and al, 1; mov [rbp-1], al


def test_what_is_computed_is_not_the_argument():
    assert place(FRAME + "48ffc7 48897de8", -40, 8) == "!no_location"  # inc rdi; mov [rbp-24], rdi


def test_a_slot_that_is_overwritten_is_not_the_argument():
    assert place(FRAME + "48897de8 c745e800000000", -40, 4) == "!no_location"


def test_a_store_through_an_unknown_pointer_forgets_every_slot():
    assert place(FRAME + "48897de8 488910", -40, 8) == "!no_location"  # mov [rax], rdx


def test_nothing_is_taken_from_behind_a_call():
    assert place(FRAME + "e800000000 48897de8", -40, 8) == "!no_location"


def test_a_vector_register_is_no_place():
    found = at_entry(traced_slots(bytes.fromhex(FRAME + "f20f1145e8"), BASE, BASE + 9), -40, 8)

    assert isinstance(found, Absent)
