"""Which instruction is probed: the cheapest one that runs exactly once a call."""

from dataclasses import replace

from agents.binaries.code_sites import body, entry_candidates
from agents.binaries.model import Register, TrapClass

BASE = 0x1000
MORESTACK = 0x9000


def candidates(code: str, symbols=None):
    raw = bytes.fromhex(code)
    function = body(raw, BASE, BASE + len(raw))
    return entry_candidates(function, (symbols or {}).get)


def first(code: str, symbols=None):
    return candidates(code, symbols)[0].instruction


def morestack_call(at: int) -> str:
    return "e8" + (MORESTACK - (at + 5)).to_bytes(4, "little", signed=True).hex()


def test_after_endbr64_the_push_is_cheaper():
    assert first("f30f1efa 55 4889e5 5d c3").text == "push rbp"


def test_in_go_the_push_behind_the_stack_check_is_chosen():
    # cmp rsp,[r14+16]; jbe 0x100a; push rbp; pop rbp; ret; nop; call morestack; jmp 0x1000
    code = "493b6610 7604 55 5d c3 90" + morestack_call(BASE + 10) + "ebef"

    assert first(code, {MORESTACK: "runtime.morestack_noctxt.abi0"}).address == BASE + 6


def test_a_jump_that_is_not_the_stack_check_makes_a_loop_of_the_start():
    code = "493b6610 7604 55 5d c3 90" + morestack_call(BASE + 10) + "ebef"

    assert candidates(code, {MORESTACK: "main.other"}) == ()


def test_nothing_in_a_loop_is_probed():
    # inc rax; dec rbx; jne 0x1000; ret
    assert candidates("48ffc0 48ffcb 75f8 c3") == ()
    # xor eax, eax; inc rax; dec rbx; jne 0x1002; ret
    assert [c.instruction.address for c in candidates("31c0 48ffc0 48ffcb 75f8 c3")] == [BASE]
    assert candidates("ebfe") == ()


def test_where_another_part_of_the_function_jumps_to_a_loop_begins_too():
    raw = bytes.fromhex("31c0 48ffc0 7501 c3 90")

    function = body(raw, BASE, BASE + len(raw))
    before = entry_candidates(function, {}.get)
    after = entry_candidates(replace(function, jumped_to=frozenset({BASE + 2})), {}.get)

    assert [c.instruction.text for c in before] == ["jne 0x1008", "xor eax, eax", "inc rax"]
    assert [c.instruction.text for c in after] == ["xor eax, eax"]


def test_behind_an_unknown_jump_table_only_the_start_and_what_has_another_frame_is_probed():
    # mov eax, edi; sub rsp, 8; call; (the rest does not matter)
    raw = bytes.fromhex("89f8 4883ec08 e800000000 ffe0")

    function = replace(body(raw, BASE, BASE + len(raw)), tables_known=False)

    assert [c.instruction.text for c in entry_candidates(function, {}.get)] == ["call 0x100b", "mov eax, edi"]


def test_a_candidate_says_how_far_the_stack_pointer_has_come_down():
    # push rbx; sub rsp, 0x18; mov [rsp + 8], rdi; mov [rsi], rdi; jmp
    chosen = {c.instruction.text: c for c in candidates("53 4883ec18 48897c2408 48893e eb00 c3")}

    assert chosen["sub rsp, 0x18"].moved == 8
    jump = next(c for text, c in chosen.items() if text.startswith("jmp"))
    assert (jump.moved, jump.memory_written) == (32, True)
    assert not chosen["mov qword ptr [rsi], rdi"].memory_written  # the store before it was into its own frame


def test_a_store_above_the_return_address_may_be_an_argument():
    # mov [rsp + 8], edi; jmp
    (jump,) = (c for c in candidates("897c2408 eb00 c3") if c.instruction.text.startswith("jmp"))

    assert jump.memory_written


def test_a_five_byte_nop_is_never_chosen():
    assert first("0f1f440000 4889f8 c3").text == "mov rax, rdi"


def test_a_candidate_says_which_registers_have_changed_before_it():
    # mov edi, esi; jmp +0
    chosen = candidates("89f7 eb00 c3")

    assert chosen[0].instruction.trap_class is TrapClass.EMULATED
    assert chosen[0].written == {Register.RDI}


def test_returns_and_tail_calls_are_told_apart():
    raw = bytes.fromhex("4885c0 7401 c3 e900100000")
    function = body(raw, BASE, BASE + len(raw))

    assert [b.address for b in function.returns()] == [BASE + 5]
    assert function.tail_calls() == 1
