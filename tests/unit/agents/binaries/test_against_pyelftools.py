"""Our fast readers say what pyelftools' slow ones say, on every entry, list, line and frame of compiled programs."""

import itertools

import pytest
from elftools.dwarf.callframe import FDE
from elftools.elf.elffile import ELFFile

from agents.binaries import dwarf_constants as dw
from agents.binaries.call_frames import frame_address
from agents.binaries.dwarf_entries import DebugInformation
from agents.binaries.dwarf_lines import line_table
from agents.binaries.dwarf_lists import location_list, ranges
from agents.binaries.elf_image import opened
from agents.binaries.machine import X86_64
from agents.binaries.model import InMemory
from tests.builders.programs import PROGRAMS, build_c, build_rust

NATIVE = PROGRAMS / "native"
UNITS = 40  # of one program: pyelftools takes a second for 40,000 entries
ENTRIES = 3000  # of one unit
EVERY = frozenset(range(1, 0x10000))


@pytest.fixture(scope="module", params=["go", "c", "c-dwarf4", "c++", "rust"])
def program(request, go_shapes):
    match request.param:
        case "go":
            return go_shapes
        case "c":
            return build_c(NATIVE / "shapes.c", "-O2")
        case "c-dwarf4":
            return build_c(NATIVE / "shapes.c", "-O2", "-gdwarf-4", "-ffunction-sections")
        case "c++":
            return build_c(NATIVE / "shapes.cpp", "-O2")
        case _:
            return build_rust(NATIVE / "shapes.rs", "-O")


@pytest.fixture
def both(program):
    with program.open("rb") as file, opened(str(program)) as image:
        yield ELFFile(file).get_dwarf_info(relocate_dwarf_sections=False), DebugInformation(image.section), image


def by_number(name):
    return getattr(dw, name.removeprefix("DW_").upper())


def test_every_entry_is_found_with_its_tag_and_depth(both):
    theirs, ours, _ = both
    for their_unit, our_unit in itertools.islice(zip(theirs.iter_CUs(), ours.units, strict=True), UNITS):
        expected = []
        depth = 0
        for die in itertools.islice(their_unit.iter_DIEs(), ENTRIES):
            if die.is_null():
                depth -= 1
                continue
            expected.append((die.offset, depth))
            depth += die.has_children
        found = [(offset, depth) for offset, _, depth in itertools.islice(ours.walk(our_unit, EVERY), len(expected))]
        assert found == expected


def test_attributes_have_the_same_values(both):
    theirs, ours, _ = both
    checked = 0
    for their_unit, our_unit in itertools.islice(zip(theirs.iter_CUs(), ours.units, strict=True), UNITS):
        for die in itertools.islice(their_unit.iter_DIEs(), ENTRIES):
            if die.is_null():
                continue
            entry = ours.entry(our_unit, die.offset)
            for name, number in (("DW_AT_name", dw.AT_NAME), ("DW_AT_linkage_name", dw.AT_LINKAGE_NAME)):
                if name in die.attributes:
                    assert entry.text(number).encode() == die.attributes[name].value
                    checked += 1
            for name in ("DW_AT_type", "DW_AT_abstract_origin", "DW_AT_specification"):
                attribute = die.attributes.get(name)
                if attribute is not None and attribute.form != "DW_FORM_ref_sig8":
                    assert entry.number(by_number(name)) == die.get_DIE_from_attribute(name).offset
                    checked += 1
            for name in ("DW_AT_byte_size", "DW_AT_decl_line", "DW_AT_low_pc", "DW_AT_data_member_location"):
                if name in die.attributes and isinstance(die.attributes[name].value, int):
                    value = entry.number(by_number(name))
                    assert (
                        value == die.attributes[name].value or (value or 0) & 0xFF == die.attributes[name].value & 0xFF
                    )
                    checked += 1
    assert checked > 100


def test_location_lists_are_the_same(both):
    theirs, ours, _ = both
    lists = theirs.location_lists()
    if lists is None:
        pytest.skip("no location lists in this program")
    checked = 0
    for their_unit, our_unit in itertools.islice(zip(theirs.iter_CUs(), ours.units, strict=True), UNITS):
        for offset, _, _ in itertools.islice(ours.walk(our_unit, frozenset({dw.TAG_FORMAL_PARAMETER})), 20_000):
            entry = ours.entry(our_unit, offset)
            at = entry.attributes.get(dw.AT_LOCATION)
            if not isinstance(at, int):
                continue
            base = our_unit.low_pc
            expected = []
            for each in lists.get_location_list_at_offset(at, die=their_unit.get_top_DIE()):
                if hasattr(each, "base_address"):
                    base = each.base_address
                    continue
                start = 0 if each.is_absolute else base
                expected.append((start + each.begin_offset, start + each.end_offset, bytes(each.loc_expr)))
            assert [(e.low, e.high, e.expression) for e in location_list(ours, our_unit, at)] == expected
            checked += 1
    assert checked > 3


def test_units_cover_the_same_addresses(both):
    theirs, ours, _ = both
    lists = theirs.range_lists()
    for their_unit, our_unit in itertools.islice(zip(theirs.iter_CUs(), ours.units, strict=True), UNITS):
        top = their_unit.get_top_DIE()
        if "DW_AT_ranges" not in top.attributes:
            continue
        base = our_unit.low_pc
        expected = []
        for each in lists.get_range_list_at_offset(top.attributes["DW_AT_ranges"].value, cu=their_unit):
            if hasattr(each, "base_address"):
                base = each.base_address
                continue
            start = 0 if each.is_absolute else base
            if each.begin_offset < each.end_offset:
                expected.append((start + each.begin_offset, start + each.end_offset))
        assert list(ranges(ours, ours.top(our_unit))) == expected


def test_line_tables_are_the_same(both):
    theirs, ours, _ = both
    for their_unit, our_unit in itertools.islice(zip(theirs.iter_CUs(), ours.units, strict=True), 8):
        program = theirs.line_program_for_CU(their_unit)
        table = line_table(ours, our_unit)
        if program is None or table is None:
            continue
        expected = [
            (
                e.state.address,
                e.state.file,
                e.state.line,
                bool(e.state.is_stmt) or e.state.end_sequence,
                e.state.end_sequence,
            )
            for e in program.get_entries()
            if e.state is not None
        ]
        assert [
            (r.address, r.file, r.line, r.is_stmt or r.end_sequence, r.end_sequence) for r in table.rows()
        ] == expected


def test_frame_addresses_are_the_same(both):
    theirs, ours, image = both
    entries = theirs.CFI_entries() if theirs.has_CFI() else theirs.EH_CFI_entries()
    described = [entry for entry in entries if isinstance(entry, FDE)][:200]
    for entry in described:
        low = entry.header["initial_location"]
        try:
            table = entry.get_decoded().table
        except ValueError:
            continue  # pyelftools 0.33 cannot format a vendor's instruction
        for row in table[:6]:
            cfa = row["cfa"]
            if cfa.expr is not None or row["pc"] >= low + entry.header["address_range"]:
                continue
            found = frame_address(ours.sections, image.section_address(".eh_frame"), low, row["pc"])
            later = [r for r in table if r["pc"] == row["pc"]]
            if len(later) == 1:
                assert found == InMemory(X86_64.registers[cfa.reg], cfa.offset)
    assert described
