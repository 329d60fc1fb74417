"""Which instruction is probed: the cheapest one that runs exactly once a call."""

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


def test_a_jump_that_is_not_the_stack_check_ends_the_straight_line():
    code = "493b6610 7604 55 5d c3 90" + morestack_call(BASE + 10) + "ebef"

    chosen = candidates(code, {MORESTACK: "main.other"})

    assert [c.instruction.text for c in chosen] == ["jbe 0x100a"]  # the first instruction is jumped to again


def test_the_head_of_a_loop_is_not_probed():
    # inc rax; dec rbx; jne 0x1000; ret
    assert [c.instruction.address for c in candidates("48ffc0 48ffcb 75f8 c3")] == [BASE + 6, BASE + 3]


def test_a_loop_of_one_instruction_leaves_nothing_to_probe_but_what_runs_once():
    assert candidates("ebfe") == ()


def test_nothing_behind_a_change_of_the_stack_pointer_is_a_candidate():
    assert [c.instruction.text for c in candidates("4883ec08 55 c3")] == ["sub rsp, 8"]


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
