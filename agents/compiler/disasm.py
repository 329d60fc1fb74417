"""BPF instructions as text, spelled as the kernel's verifier log and bpftool spell them (kernel/bpf/disasm.c).

What `explain --dump` prints. Labels and map names are the assembler's own and stand beside the kernel's spelling.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from agents.compiler import asm
from agents.compiler.asm import Helper, Text

_SIZES = {code: f"u{size * 8}" for size, code in asm.SIZE_CODES.items()}
_OPERATIONS = {code: name for name, code in asm.OPERATIONS.items()}
_COMPARISONS = {code: name for name, code in asm.COMPARISONS.items()}


def lines(text: Text) -> Iterator[str]:
    """One line an instruction: "12: (79) r1 = *(u64 *)(r6 +80)", a label on a line of its own before it."""
    labels: dict[int, list[str]] = {}
    for name, slot in text.labels:
        labels.setdefault(slot, []).append(name)
    maps = {reference.instruction: reference.map.value for reference in text.maps}
    slot = 0
    while slot * 8 < len(text.instructions):
        yield from (f"{name}:" for name in labels.get(slot, ()))
        opcode = text.instructions[slot * 8]
        wide = opcode == asm.LD_IMM64
        raw = text.instructions[slot * 8 : slot * 8 + (16 if wide else 8)]
        shown = f"r{raw[1] & 15} = map[{maps[slot]}]" if slot in maps else render(raw)
        yield f"{slot}: ({opcode:02x}) {shown}"
        slot += 2 if wide else 1
    yield from (f"{name}:" for name in labels.get(slot, ()))


def render(raw: bytes) -> str:
    """One instruction, 8 or 16 bytes."""
    opcode, registers, offset, imm = struct.unpack_from("<BBhi", raw)
    dst, src = registers & 15, registers >> 4
    kind = opcode & 7
    if opcode == asm.LD_IMM64:
        high = struct.unpack_from("<i", raw, 12)[0]
        return f"r{dst} = 0x{(high & 0xFFFFFFFF) << 32 | imm & 0xFFFFFFFF:x}"
    if kind == asm.CLASS_ALU64:
        return _alu(opcode, dst, src, imm)
    if kind == asm.CLASS_JMP:
        return _jump(opcode, dst, src, offset, imm)
    size = _SIZES[opcode & 0x18]
    if kind == asm.CLASS_LDX:
        return f"r{dst} = *({size} *)(r{src} {offset:+d})"
    place = f"({size} *)(r{dst} {offset:+d})"
    if kind == asm.CLASS_ST:
        return f"*{place} = {imm}"
    if opcode & 0xE0 == asm.MODE_ATOMIC:
        return _atomic(place, src, imm)
    return f"*{place} = r{src}"


def _alu(opcode: int, dst: int, src: int, imm: int) -> str:
    operation = opcode & 0xF0
    if operation == asm.NEG:
        return f"r{dst} = -r{dst}"
    operand = f"r{src}" if opcode & asm.SOURCE_REGISTER else str(imm)
    return f"r{dst} {'=' if operation == asm.MOV else _OPERATIONS[operation]} {operand}"


def _jump(opcode: int, dst: int, src: int, offset: int, imm: int) -> str:
    operation = opcode & 0xF0
    if operation == asm.CALL:
        return f"call bpf_{Helper(imm).name.lower()}#{imm}"
    if operation == asm.EXIT:
        return "exit"
    if operation == asm.JA:
        return f"goto pc{offset:+d}"
    operand = f"r{src}" if opcode & asm.SOURCE_REGISTER else f"0x{imm & 0xFFFFFFFF:x}"
    return f"if r{dst} {_COMPARISONS[operation]} {operand} goto pc{offset:+d}"


def _atomic(place: str, src: int, imm: int) -> str:
    if imm == asm.ATOMIC_CMPXCHG:
        return f"r0 = atomic64_cmpxchg({place}, r0, r{src})"
    if imm & asm.ATOMIC_FETCH:
        return f"r{src} = atomic64_fetch_add({place}, r{src})"
    return f"lock *{place} += r{src}"
