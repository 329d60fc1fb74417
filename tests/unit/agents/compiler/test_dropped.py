"""What policy drops is never read: no instruction covers its bytes, whatever surrounds them."""

import struct

import pytest

from agents.binaries.model import Register
from agents.compiler.extent import Drops, extent
from agents.compiler.service import compile_probe
from agents.decoding.rows import to_rows
from agents.decoding.service import decode
from language.model import At, LimitSpec
from tests.builders.bpf_machine import Machine
from tests.builders.compiler_types import request, shop_probe, shop_types

CARD, ORDER, FRAME, TEXT, LIST = 0x10_0000, 0x20_0000, 0x30_0000, 0x40_0000, 0x50_0000
CARD_BYTES = struct.pack("<QQi4xQQ", TEXT, 4, 123, TEXT + 4, 5)
ORDER_BYTES = struct.pack("<qQQQ", 77, TEXT + 9, 6, CARD) + CARD_BYTES + struct.pack("<?3xIq", True, 7, 5000)
MEMORY = {
    CARD: CARD_BYTES,
    ORDER: ORDER_BYTES,
    FRAME: bytes(16) + CARD_BYTES + bytes(8) + struct.pack("<QQQ", LIST, 2, 2) + bytes(200),
    LIST: ORDER_BYTES * 2,
    TEXT: b"411112/29a@b.cd" + bytes(64),
}
REGISTERS = {Register.RAX: ORDER, Register.RSP: FRAME, Register.R14: 0x60_0000}


def run(captures, **options):
    program = compile_probe(shop_probe(), request(captures, **options))
    machine = Machine(program, dict(MEMORY))
    machine.fire(REGISTERS)
    (row,) = to_rows(decode(program.layout, machine.matrix(), 0).columns)
    return machine, row


def covered(machine: Machine, low: int, size: int) -> list[tuple[int, int]]:
    return [(at, length) for at, length in machine.reads if at < low + size and low < at + length]


def test_without_drops_everything_is_read():
    machine, row = run({"o": "o"})
    assert row["o"] == {
        "Base": {"ID": 77},
        "Email": "a@b.cd",
        "Card": {"Number": "4111", "Cvv": 123, "Expiry": "12/29"},
        "Inline": {"Number": "4111", "Cvv": 123, "Expiry": "12/29"},
        "Done": True,
        "Kind": "BLUE",
        "Total": 5000,
    }
    assert covered(machine, ORDER + 48, 4)


@pytest.mark.parametrize("pattern", ["Inline.Cvv", "**.Cvv", "*.Cvv", "words:cvv"])
def test_a_dropped_field_within_a_struct_is_left_out_of_the_copy(pattern):
    machine, row = run({"o": "o"}, dropped=[pattern])
    assert covered(machine, ORDER + 48, 4) == []
    assert row["o"]["Inline"] == {"Number": "4111", "Cvv": None, "Expiry": "12/29"}
    assert row["_absent"]["o.Inline.Cvv"] == "dropped"


def test_a_dropped_field_behind_a_pointer_is_left_out_too():
    machine, row = run({"o": "o"}, dropped=["Card.Cvv"])
    assert covered(machine, CARD + 16, 4) == []
    assert row["o"]["Card"] == {"Number": "4111", "Cvv": None, "Expiry": "12/29"}
    assert row["o"]["Inline"]["Cvv"] == 123


def test_the_text_of_a_dropped_string_is_not_followed():
    machine, row = run({"o": "o"}, dropped=["**.Number"])
    assert covered(machine, TEXT, 4) == []
    assert covered(machine, CARD, 16) == []
    assert row["o"]["Card"]["Number"] is None


def test_a_dropped_type_is_not_read_wherever_it_stands():
    machine, row = run({"o": "o", "c": "c"}, dropped_types=["shop.Card"])
    assert covered(machine, CARD, 40) == []
    assert covered(machine, ORDER + 32, 40) == []
    assert covered(machine, FRAME + 16, 40) == []
    assert (row["o"]["Card"], row["o"]["Inline"], row["c"]) == (None, None, None)
    assert row["o"]["Total"] == 5000


def test_items_of_a_list_are_read_around_what_is_dropped():
    machine, row = run({"list": "list"}, dropped=["Inline.Cvv"], limits=LimitSpec(max_items=3))
    for index in range(2):
        assert covered(machine, LIST + 88 * index + 48, 4) == []
    assert [each["Inline"]["Cvv"] for each in row["list"]] == [None, None]
    assert [each["Total"] for each in row["list"]] == [5000, 5000]


def test_every_string_can_be_dropped_by_its_kind():
    machine, row = run({"c": "c"}, dropped_types=["kind:string"])
    assert covered(machine, TEXT, 64) == []
    assert row["c"] == {"Number": None, "Cvv": 123, "Expiry": None}


def test_a_capture_that_only_passes_through_a_dropped_type_is_not_read():
    machine, row = run({"cvv": "o.Card.Cvv"}, dropped_types=["*.Card"])
    assert covered(machine, CARD, 40) == []
    assert row["_absent"] == {"cvv": "dropped"}


def test_a_dropped_member_of_a_union_takes_the_others_that_share_its_bytes_with_it():
    _, row = run({"either": "either"}, dropped=["raw"])
    assert row["either"] == {"n": None, "raw": None}
    assert set(row["_absent"].values()) == {"dropped"}


def test_an_extent_never_joins_ranges_over_a_dropped_byte():
    types, t = shop_types()
    found = extent(types, t["order"], Drops(("Done",)), LimitSpec(), ())
    assert found.dropped == ((72, 73),)
    assert found.wanted == ((0, 72), (76, 88))


def test_a_dropped_path_is_left_out_at_the_return_as_well():
    program = compile_probe(
        shop_probe(), request({"o": "o", "t": "total"}, at=At.ENTRY_AND_RETURN, dropped=["Inline.Cvv"])
    )
    machine = Machine(program, dict(MEMORY) | {0x60_0000: bytes(200)})
    machine.fire(REGISTERS)
    machine.fire(REGISTERS | {Register.RAX: 9}, index=0)
    assert covered(machine, ORDER + 48, 4) == []
    assert len(machine.records) == 1
