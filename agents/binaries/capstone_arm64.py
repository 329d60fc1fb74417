"""Decode A64 machine code into the facts that `capstone_decoder` gives of x86-64. The other adapter of capstone.

In come bytes and their address, out come instructions: what they write, where they jump, and what the kernel does with a
breakpoint on them: arch/arm64/kernel/probes/decode-insn.c simulates branches, returns, `adr`, `adrp`, literal loads and
`nop`, single-steps most others out of line, and refuses a few.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import capstone
from capstone import arm64_const as a64

from agents.binaries.instructions import Branch, Flow, Instruction, Memory, Move
from agents.binaries.model import Register, TrapClass

_BY_NAME: Final = {register.value: register for register in Register if re.fullmatch(r"x\d+|sp", register.value)} | {
    **{f"w{number}": Register(f"x{number}") for number in range(31)},
    "fp": Register.X29,
    "lr": Register.X30,
    "wsp": Register.SP,
}
_SIMULATED: Final = frozenset(
    {"b", "bl", "br", "blr", "ret", "cbz", "cbnz", "tbz", "tbnz", "adr", "adrp", "nop", "ldrsw"}
)
# aarch64_insn_is_steppable: exceptions, system registers, and pairs that only work undisturbed.
_REFUSED: Final = re.compile(
    r"(svc|hvc|smc|brk|hlt|dcps\d|udf|mrs|msr|sys|sysl|ld(a)?xr.*|st(l)?xr.*|ld(a)?xp|st(l)?xp|eret|drps)$"
)
_COMPARISONS: Final = frozenset({"cmp", "cmn", "tst", "ccmp", "ccmn"})
_STOP: Final = frozenset({"brk", "hlt", "udf"})
_STORES: Final = ("str", "stp", "stur")
_CONDITION: Final = re.compile(r"b\.\w+$")


def decode(code: bytes, address: int, count: int) -> Iterator[Instruction]:
    for each in _decoder(detail=True).disasm(code, address, count):
        yield _instruction(each)


def sweep(code: bytes, address: int) -> tuple[tuple[Branch, ...], bool]:
    found: list[Branch] = []
    at = address
    for start, size, mnemonic, operands in _decoder(detail=False).disasm_lite(code, address):
        at = start + size
        flow = _flow(mnemonic)
        if flow is not Flow.NEXT:
            text = f"{mnemonic} {operands}".strip()
            found.append(Branch(start, size, flow, _target(operands), text, trap_class(mnemonic, operands)))
    return tuple(found), at == address + len(code)


def table_bases(code: bytes, address: int) -> tuple[int, ...]:
    """`adrp` with the `add` behind it."""
    pages: dict[str, int] = {}
    found: dict[int, None] = {}
    for _, _, mnemonic, operands in _decoder(detail=False).disasm_lite(code, address):
        parts = [part.strip(" #") for part in operands.split(",")]
        if mnemonic in {"adrp", "adr"}:
            pages[parts[0]] = int(parts[1], 0)
            found[pages[parts[0]]] = None
        elif mnemonic == "add" and len(parts) == 3 and parts[1] in pages and re.fullmatch(r"0x[0-9a-f]+|\d+", parts[2]):
            found[pages[parts[1]] + int(parts[2], 0)] = None
    return tuple(found)


def trap_class(mnemonic: str, operands: str) -> TrapClass:
    literal = mnemonic in {"ldr", "ldrsw"} and "[" not in operands
    simulated = _CONDITION.match(mnemonic) or (mnemonic in _SIMULATED and (mnemonic != "ldrsw" or literal)) or literal
    return TrapClass.EMULATED if simulated else TrapClass.STEPPED


@cache
def _decoder(*, detail: bool) -> Any:
    decoder = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
    decoder.detail = detail
    return decoder


def _instruction(each: Any) -> Instruction:
    operands = list(each.operands)
    flow = _flow(each.mnemonic)
    stores = each.mnemonic.startswith(_STORES)
    memory = next((o for o in operands if o.type == a64.ARM64_OP_MEM), None)
    _, written = each.regs_access()
    writes = frozenset(filter(None, (_BY_NAME.get(each.reg_name(number)) for number in written)))
    if each.mnemonic in _COMPARISONS:
        writes = frozenset()  # capstone 5 says of `cmp sp, x16` that it writes sp
    adjustment = _adjustment(each, operands, memory)
    registers = [_BY_NAME.get(each.reg_name(o.reg)) for o in operands if o.type == a64.ARM64_OP_REG]
    width = 4 if each.op_str.startswith("w") else 8
    after = any(o.type == a64.ARM64_OP_IMM for o in operands) and memory is not None and each.writeback
    size = width * (2 if each.mnemonic.startswith(("stp", "ldp")) else 1)
    narrow = {"strb": 1, "sturb": 1, "strh": 2, "sturh": 2}.get(each.mnemonic)
    return Instruction(
        each.address,
        each.size,
        f"{each.mnemonic} {each.op_str}".strip(),
        flow,
        _target(each.op_str) if flow is not Flow.NEXT else None,
        trap_class(each.mnemonic, each.op_str),
        writes,
        stores or each.mnemonic.startswith(("swp", "cas", "ldadd")),
        (_memory(each, memory), narrow or size) if stores and memory is not None and not after else None,
        None,
        _move(each, operands, memory, registers, narrow or width),
        adjustment,
        clips_bool=False,
        probeable=_REFUSED.match(each.mnemonic) is None,
    )


def _flow(mnemonic: str) -> Flow:
    if mnemonic in {"b", "br", "braa", "brab"}:
        return Flow.JUMP
    if mnemonic in {"bl", "blr", "blraa", "blrab"}:
        return Flow.CALL
    if mnemonic in {"ret", "retaa", "retab"}:
        return Flow.RETURN
    if mnemonic in _STOP:
        return Flow.STOP
    if mnemonic in {"cbz", "cbnz", "tbz", "tbnz"} or _CONDITION.match(mnemonic):
        return Flow.CONDITIONAL
    return Flow.NEXT


def _target(operands: str) -> int | None:
    last = operands.rsplit(",", 1)[-1].strip(" #")
    return int(last, 16) if re.fullmatch(r"0x[0-9a-f]+", last) else None


def _memory(each: Any, operand: Any) -> Memory:
    """With write-back before the access the base has moved already: its displacement is 0 then."""
    memory = operand.mem
    base = _BY_NAME.get(each.reg_name(memory.base)) if memory.base else None
    plain = memory.index == 0 and base is not None
    return Memory(base, 0 if each.writeback else memory.disp, plain)


def _adjustment(each: Any, operands: list[Any], memory: Any) -> int | None:
    """`sub sp, sp, #n`, and the push that `stp x29, x30, [sp, #-n]!` is."""
    if memory is not None:
        if not each.writeback or each.reg_name(memory.mem.base) != "sp":
            return None
        after = next((o.imm for o in operands if o.type == a64.ARM64_OP_IMM), None)
        return int(after) if after is not None else int(memory.mem.disp)
    names = [each.reg_name(o.reg) for o in operands[:2] if o.type == a64.ARM64_OP_REG]
    if each.mnemonic not in {"sub", "add"} or names != ["sp", "sp"] or operands[2].type != a64.ARM64_OP_IMM:
        return None
    amount = operands[2].imm << (operands[2].shift.value if operands[2].shift.type else 0)
    return int(amount) if each.mnemonic == "add" else -int(amount)


def _move(each: Any, operands: list[Any], memory: Any, registers: list[Register | None], size: int) -> Move | None:
    if each.mnemonic == "mov" and len(registers) == 2 and len(operands) == 2:
        return Move(size, registers[1], registers[0], size == 4)
    if each.writeback or memory is None or len(registers) != 1:
        return None
    if each.mnemonic in {"str", "stur", "strb", "sturb", "strh", "sturh"}:
        return Move(size, registers[0], _memory(each, memory))
    if each.mnemonic in {"ldr", "ldur"} and each.op_str.startswith(("x", "w")):
        return Move(size, _memory(each, memory), registers[0], size == 4)
    return None
