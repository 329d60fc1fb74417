"""The kernel's verifier agrees with every shape of program that the compiler makes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import struct
import subprocess

import pytest

from agents.binaries.model import Language, ResolvedProbe
from agents.compiler import disasm
from agents.compiler.asm import Text
from agents.compiler.model import BpfProgram, MapName, Program
from agents.compiler.service import compile_probe
from agents.runtime import bpf_syscall
from agents.runtime import programs as runtime_programs
from agents.runtime.bpf_abi import ATTACH_UPROBE_MULTI, PROG_SLEEPABLE, PROG_TYPE_KPROBE, Command, ProgLoad
from agents.runtime.maps import ProbeMaps
from agents.runtime.model import AttachMethod
from language.model import At, LimitSpec
from tests.builders.compiler_types import request, shop_probe

pytestmark = pytest.mark.host

LOG_SIZE = 64 << 20

SHAPES = {
    "integers": ({"n": "n", "u": "u", "small": "small", "done": "done", "wide": "wide"}, None),
    "text": ({"name": "name", "s": "name[:3]", "first": "name[0]", "length": "len(name)"}, None),
    "c_text": ({"text": "text", "again": "text[:5]"}, None),
    "struct_in_frame": ({"c": "c", "number": "c.Number"}, None),
    "behind_pointers": ({"o": "o", "cvv": "o.Card.Cvv", "id": "o.ID", "star": "deref(o.Card)"}, None),
    "static": ({"g": "global", "t": "global.Total"}, None),
    "lists": ({"list": "list[:3]", "third": "list[2].Email", "p": "pointers[:2]", "blob": "blob"}, None),
    "interfaces": ({"e": "e", "v": "v"}, None),
    "arrays": ({"hash": "hash", "label": "label", "b": "hash[3]"}, None),
    "enumerations": ({"color": "color", "kind": "o.Kind", "option": "option"}, None),
    "bits": ({"flags": "flags", "high": "flags.high", "either": "either"}, None),
    "maps": ({"m": "m", "count": "len(m)"}, None),
    "known": ({"stack": "stack()", "comm": "comm()", "goid": "goid()", "pid": "pid()", "tid": "tid()"}, None),
    "nothing": ({}, None),
    "where_numbers": ({"n": "n"}, "n > u and small // 3 == -1 or n % 7 * 2 - 1 >= u and not done"),
    "where_text": ({"n": "n"}, 'name == "a text of more than sixty-four bytes that is compared in several pieces, one two" or name.startswith("x")'),
    "where_texts": ({"n": "n"}, "name == o.Email"),
    "where_c_text": ({"n": "n"}, 'text == "hello" or text.startswith("bye")'),
    "where_memory": ({"n": "n"}, 'o.Card.Cvv == 3 and list[1].Done and o.Card != None and len(m) > 2 and c.Cvv < 9 and color == "BLUE"'),
    "where_bits": ({"n": "n"}, "flags.high > 3 and global.Total == 1 and goid() > 0 and pid() > 1 and tid() > 1"),
    "where_always": ({"n": "n"}, "True"),
    "where_never": ({"n": "n"}, "False"),
}  # fmt: skip


def probe_for(shape: str) -> ResolvedProbe:
    return shop_probe(language=Language.C if "c_text" in shape else Language.GO)


def load(program: BpfProgram) -> list[str]:
    """Load all programs of it as the runtime does; the verifier's log of each, instruction by instruction."""
    maps = ProbeMaps(program.maps)
    try:
        return [_load(one, maps, sleepable=program.sleepable) for one in program.programs]
    finally:
        maps.close()


def _load(program: Program, maps: ProbeMaps, *, sleepable: bool) -> str:
    text = bytearray(program.instructions)
    for reference in program.maps:
        struct.pack_into("<i", text, reference.instruction * 8 + 4, maps.descriptor(reference.map))
    raw, licence = ctypes.create_string_buffer(bytes(text), len(text)), ctypes.create_string_buffer(b"GPL")
    log = ctypes.create_string_buffer(LOG_SIZE)
    attribute = ProgLoad(
        prog_type=PROG_TYPE_KPROBE,
        insn_cnt=len(text) // 8,
        insns=bpf_syscall.address(raw),
        license=bpf_syscall.address(licence),
        prog_flags=PROG_SLEEPABLE if sleepable else 0,
        expected_attach_type=ATTACH_UPROBE_MULTI,
        log_level=2,
        log_size=LOG_SIZE,
        log_buf=bpf_syscall.address(log),
    )
    try:
        os.close(bpf_syscall.call(Command.PROG_LOAD, attribute, "loading"))
    except bpf_syscall.BpfError as refused:
        raise AssertionError(f"{program.role}: {refused}\n{log.value.decode()[-3000:]}") from refused
    return log.value.decode()


@pytest.mark.parametrize("sleepable", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_an_entry_program_is_accepted(shape, sleepable):
    captures, where = SHAPES[shape]
    load(compile_probe(probe_for(shape), request(captures, where=where), sleepable=sleepable))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_pair_of_programs_is_accepted(shape):
    captures, where = SHAPES[shape]
    results = {"total": "total", "err": "ret(1)", "latency": "latency()"}
    load(compile_probe(probe_for(shape), request(captures | results, where=where, at=At.ENTRY_AND_RETURN)))


@pytest.mark.parametrize(
    "where", ["total > 3", "err != None and total % 2 == 1", "total > n or latency() > 5 and o.Total < 3"]
)
def test_a_predicate_on_results_is_accepted(where):
    load(compile_probe(shop_probe(), request({"total": "total"}, where=where, at=At.RETURN)))


def test_a_text_of_the_greatest_length_is_accepted():
    limits = LimitSpec(max_string=4000)
    load(compile_probe(shop_probe(), request({"name": "name", "text": "text", "c": "c"}, limits=limits)))


def test_long_lists_of_structs_with_text_are_accepted():
    limits = LimitSpec(max_items=32, max_string=64)
    load(compile_probe(shop_probe(), request({"list": "list", "p": "pointers"}, limits=limits)))


def test_dropped_parts_leave_a_program_that_is_accepted():
    captures = {"o": "o", "list": "list[:4]", "c": "c"}
    load(compile_probe(shop_probe(), request(captures, dropped=["Card.Cvv", "**.Number"], dropped_types=["*.Base"])))


def test_the_disassembler_spells_instructions_as_the_verifier_does():
    captures, where = SHAPES["where_numbers"]
    captures = captures | {"o": "o", "list": "list[:2]", "text": "text"}
    program = compile_probe(shop_probe(), request(captures, where=where))
    (log,) = load(program)
    one = program.programs[0]
    ours = dict(line.split(": ", 1) for line in disasm.lines(Text(one.instructions, one.maps, ())))
    theirs = dict(re.findall(r"^(\d+): (\([0-9a-f]{2}\) [^;\n]*?)\s*(?:;.*)?$", log, re.MULTILINE))
    compared = [slot for slot in theirs if not theirs[slot].startswith("(18)")]
    assert len(compared) > 100
    assert {slot: ours[slot] for slot in compared} == {slot: theirs[slot] for slot in compared}


def test_the_maps_that_a_program_names_are_those_that_are_made():
    program = compile_probe(shop_probe(), request({"n": "n"}, at=At.ENTRY_AND_RETURN))
    made = {spec.name for spec in program.maps}
    named = {reference.map for one in program.programs for reference in one.maps}
    assert named == made == set(MapName)


@pytest.mark.peer
def test_the_disassembler_spells_instructions_as_bpftool_does():
    """The kernel puts other instructions in the place of look-ups; all that it leaves alone follow each other as ours."""
    captures, where = SHAPES["where_numbers"]
    program = compile_probe(shop_probe(), request(captures | {"o": "o", "m": "m", "text": "text"}, where=where))
    one, maps = program.programs[0], ProbeMaps(program.maps)
    try:
        with contextlib.closing(runtime_programs.load(one, maps, AttachMethod.UPROBE_MULTI, sleepable=True)) as loaded:
            command = ["bpftool", "prog", "dump", "xlated", "id", str(loaded.id)]
            dumped = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    finally:
        maps.close()
    kept = re.compile(r"\([0-9a-f]{2}\) (?!call|if|goto|r\d+ = map).*")
    ours = [found[0] for line in disasm.lines(Text(one.instructions, one.maps, ())) if (found := kept.search(line))]
    theirs = iter(found[0] for line in dumped.splitlines() if (found := kept.search(line)))
    missing = [line for line in ours if not line.startswith("(18)") and line not in theirs]
    assert len(ours) > 100
    assert missing == []
