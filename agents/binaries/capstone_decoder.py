"""Decode x86-64 machine code into the few facts that choosing a probe's site needs. The adapter of capstone.

In come bytes and their address, out come instructions: what they write, where they jump, and what the kernel does with a
breakpoint on them. `code_sites` decides with that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import capstone
from capstone import x86_const as x86

from agents.binaries import capstone_arm64
from agents.binaries.instructions import Branch, Flow, Instruction, Memory, Move
from agents.binaries.machine import ARM64, X86_64, Machine
from agents.binaries.model import Register, TrapClass

_BY_NAME: Final = {register.value: register for register in Register}
# every narrower name of a general register: writing eax changes rax
_PARTS: Final = {
    **{f"e{name}": f"r{name}" for name in ("ax", "bx", "cx", "dx", "si", "di", "bp", "sp")},
    **{name: f"r{name}" for name in ("ax", "bx", "cx", "dx", "si", "di", "bp", "sp")},
    **{f"{name}l": f"r{name}x" for name in "abcd"},
    **{f"{name}h": f"r{name}x" for name in "abcd"},
    **{f"{name}l": f"r{name}" for name in ("si", "di", "bp", "sp")},
    **{f"r{number}{suffix}": f"r{number}" for number in range(8, 16) for suffix in "dwb"},
}

_RIP_RELATIVE: Final = re.compile(r"\[rip ([+-] (?:0x)?[0-9a-f]+)\]")
_INDEXED: Final = re.compile(r"\[\w+\*[48] \+ (0x[0-9a-f]+)\]")


def decode(code: bytes, address: int, count: int, machine: Machine = X86_64) -> Iterator[Instruction]:
    """At most `count` instructions from the start of `code`; ends at the first one that does not decode."""
    if machine is ARM64:
        yield from capstone_arm64.decode(code, address, count)
        return
    for each in _decoder(detail=True).disasm(code, address, count):
        yield _instruction(each, code[each.address - address : each.address - address + each.size])


def sweep(code: bytes, address: int, machine: Machine = X86_64) -> tuple[tuple[Branch, ...], bool]:
    """Every control transfer by linear sweep, and whether all of `code` decoded (compilers keep data out of .text)."""
    if machine is ARM64:
        return capstone_arm64.sweep(code, address)
    found: list[Branch] = []
    at = address
    for start, size, mnemonic, operands in _decoder(detail=False).disasm_lite(code, address):
        at = start + size
        flow = _flow(mnemonic)
        if flow is not Flow.NEXT:
            raw = code[start - address : at - address]
            found.append(Branch(start, size, flow, _immediate(operands), _text(mnemonic, operands), trap_class(raw)))
    return tuple(found), at == address + len(code)


def table_bases(code: bytes, address: int, machine: Machine = X86_64) -> tuple[int, ...]:
    """Addresses that the code takes (`lea reg, [rip + n]`) or indexes (`[reg*8 + n]`): where jump tables may be."""
    if machine is ARM64:
        return capstone_arm64.table_bases(code, address)
    found: dict[int, None] = {}
    for start, size, mnemonic, operands in _decoder(detail=False).disasm_lite(code, address):
        if mnemonic == "lea" and (named := _RIP_RELATIVE.search(operands)):
            found[start + size + int(named[1].replace(" ", ""), 0)] = None
        elif indexed := _INDEXED.search(operands):
            found[int(indexed[1], 0)] = None
    return tuple(found)


def trap_class(raw: bytes) -> TrapClass:
    """What arch/x86/kernel/uprobes.c does with an instruction: `push_setup_xol_ops`, `branch_setup_xol_ops`."""
    if raw == b"\x0f\x1f\x44\x00\x00":
        return TrapClass.NOP5
    first = raw[0]
    emulated = (
        0x50 <= first <= 0x57
        or (len(raw) == 2 and first == 0x41 and 0x50 <= raw[1] <= 0x57)
        or first in {0xE8, 0xE9, 0xEB, 0x90}
        or 0x70 <= first <= 0x7F
        or (first == 0x0F and len(raw) > 1 and 0x80 <= raw[1] <= 0x8F)
        or raw == b"\x66\x90"
    )
    return TrapClass.EMULATED if emulated else TrapClass.STEPPED


@cache
def _decoder(*, detail: bool) -> Any:
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    decoder.detail = detail
    return decoder


def _instruction(each: Any, raw: bytes) -> Instruction:
    flow = _flow(each.mnemonic)
    operands = list(each.operands)
    pushes = None
    if each.id == x86.X86_INS_PUSH and operands and operands[0].type == x86.X86_OP_REG:
        pushes = _register(each.reg_name(operands[0].reg))
    is_stack_write = each.id in {x86.X86_INS_PUSH, x86.X86_INS_CALL, x86.X86_INS_PUSHFQ}
    written_operands = [o for o in operands if o.type == x86.X86_OP_MEM and o.access & capstone.CS_AC_WRITE]
    writes_memory = bool(written_operands) and not is_stack_write
    _, written = each.regs_access()
    return Instruction(
        each.address,
        each.size,
        _text(each.mnemonic, each.op_str),
        flow,
        _immediate(each.op_str) if flow is not Flow.NEXT else None,
        trap_class(raw),
        frozenset(filter(None, (_register(each.reg_name(number)) for number in written))),
        writes_memory or each.mnemonic.startswith("rep"),
        (_memory(each, written_operands[0]), written_operands[0].size) if writes_memory else None,
        pushes,
        _move(each, operands),
        _adjustment(each, operands),
        each.id == x86.X86_INS_AND
        and operands[0].type == x86.X86_OP_REG
        and operands[0].size == 1
        and operands[1].type == x86.X86_OP_IMM
        and operands[1].imm == 1,
    )


def _flow(mnemonic: str) -> Flow:
    word = mnemonic.rsplit(" ", 1)[-1]
    if word == "jmp":
        return Flow.JUMP
    if word == "call":
        return Flow.CALL
    if word in {"ret", "retf", "iretq"}:
        return Flow.RETURN
    if word in {"hlt", "ud2", "int3", "ud0", "ud1"}:
        return Flow.STOP
    if word.startswith(("j", "loop")):
        return Flow.CONDITIONAL
    return Flow.NEXT


def _move(each: Any, operands: list[Any]) -> Move | None:
    if each.id not in {x86.X86_INS_MOV, x86.X86_INS_MOVABS} or len(operands) != 2:
        return None
    target, source = operands
    from_register = _register(each.reg_name(source.reg)) if source.type == x86.X86_OP_REG else None
    if source.type == x86.X86_OP_REG and each.reg_name(source.reg) in {"ah", "bh", "ch", "dh"}:
        from_register = None
    if target.type == x86.X86_OP_REG:
        loaded = _memory(each, source) if source.type == x86.X86_OP_MEM else from_register
        return Move(target.size, loaded, _register(each.reg_name(target.reg)), target.size == 4)
    if target.type == x86.X86_OP_MEM:
        return Move(target.size, from_register, _memory(each, target))
    return None


def _memory(each: Any, operand: Any) -> Memory:
    memory = operand.mem
    base = _register(each.reg_name(memory.base)) if memory.base else None
    return Memory(base, memory.disp, memory.index == 0 and memory.segment == 0 and base is not None)


def _adjustment(each: Any, operands: list[Any]) -> int | None:
    if each.id not in {x86.X86_INS_SUB, x86.X86_INS_ADD} or len(operands) != 2:
        return None
    target, amount = operands
    if target.type != x86.X86_OP_REG or each.reg_name(target.reg) != "rsp" or amount.type != x86.X86_OP_IMM:
        return None
    return int(amount.imm) if each.id == x86.X86_INS_ADD else -int(amount.imm)


def _register(name: str | None) -> Register | None:
    return _BY_NAME.get(_PARTS.get(name, name)) if name else None


def _immediate(operands: str) -> int | None:
    try:
        return int(operands, 16) if operands.startswith("0x") else None
    except ValueError:
        return None


def _text(mnemonic: str, operands: str) -> str:
    return f"{mnemonic} {operands}".strip()
