"""Map descriptors go into the instructions that ask for them, and nowhere else."""

from __future__ import annotations

import dataclasses
import struct

import pytest

from agents.compiler.model import MapName, MapReference, Role
from agents.runtime.model import ArmFailed, ArmReason
from agents.runtime.programs import with_maps
from tests.builders.bpf_programs import one_program

DESCRIPTORS = {name: 100 + index for index, name in enumerate(MapName)}


@pytest.fixture
def program():
    return one_program((0,), Role.ENTRY, on_return=False, sleepable=True, discard_odd=False, read_text=False)


def test_each_reference_names_its_maps_descriptor(program):
    text = with_maps(program, DESCRIPTORS.__getitem__)
    for reference in program.maps:
        opcode, registers, _, immediate = struct.unpack_from("<BBhi", text, reference.instruction * 8)
        assert opcode == 0x18
        assert registers >> 4 == 1  # BPF_PSEUDO_MAP_FD
        assert immediate == DESCRIPTORS[reference.map]


def test_every_other_byte_stays(program):
    text = with_maps(program, DESCRIPTORS.__getitem__)
    touched = {reference.instruction for reference in program.maps}
    for slot in range(len(text) // 8):
        if slot not in touched:
            assert text[slot * 8 : slot * 8 + 8] == program.instructions[slot * 8 : slot * 8 + 8]


@pytest.mark.parametrize("instruction", [0, 100_000])
def test_a_reference_to_another_instruction_is_refused(program, instruction):
    broken = dataclasses.replace(program, maps=(MapReference(instruction, MapName.RING),))
    with pytest.raises(ArmFailed, match="no two-slot LD_IMM64") as failed:
        with_maps(broken, DESCRIPTORS.__getitem__)
    assert failed.value.reason is ArmReason.ATTACH
