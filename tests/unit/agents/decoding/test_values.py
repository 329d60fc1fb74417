"""Bytes of records become the values that DESIGN.md shows; what is not there says why."""

import json
import math
import struct

import numpy as np
import pyarrow as pa
import pytest

from agents.absence import Reason
from agents.compiler import layout as ly
from agents.compiler.layout import Column, NumberKind, RecordLayout, Status
from agents.decoding.rows import to_rows
from agents.decoding.service import LayoutMismatch, decode

HEADER = struct.pack("<QIIQQ", 1_000, 7, 8, 99, Status.OK)


def decoded(node: ly.Node, *bodies: bytes, fault=Reason.BAD_ADDRESS, symbolise=None, beyond=False):
    """One column `x` whose bytes begin at offset 32 of each record."""
    size = 32 + max(map(len, bodies), default=8)
    size += -size % 8
    layout = RecordLayout(size, "f", (Column("x", "x", "T", node),), goid_offset=16, goid_status=24, fault=fault)
    raw = b"".join((HEADER + body).ljust(size, b"\xee") for body in bodies)
    return decode(layout, np.frombuffer(raw, dtype=np.uint8).reshape(-1, size), 500, symbolise, beyond=beyond)


def rows(node: ly.Node, *bodies: bytes, **options):
    return list(to_rows(decoded(node, *bodies, **options).columns))


def values(node: ly.Node, *bodies: bytes, **options):
    return [row["x"] for row in rows(node, *bodies, **options)]


def test_a_row_has_time_process_thread_and_goroutine():
    (row,) = rows(ly.Number(32, 1, NumberKind.SIGNED), b"\xff")
    assert row == {"time_": 1500, "pid": 8, "tid": 7, "goid": 99, "x": -1}


@pytest.mark.parametrize(
    ("size", "kind", "raw", "value", "type_"),
    [
        (1, NumberKind.SIGNED, "<b", -128, pa.int8()),
        (2, NumberKind.UNSIGNED, "<H", 65535, pa.uint16()),
        (4, NumberKind.SIGNED, "<i", -(1 << 31), pa.int32()),
        (8, NumberKind.SIGNED, "<q", -(1 << 63), pa.int64()),
        (8, NumberKind.UNSIGNED, "<Q", (1 << 64) - 1, pa.uint64()),
        (1, NumberKind.BOOLEAN, "<?", True, pa.bool_()),
        (4, NumberKind.FLOAT, "<f", 1.5, pa.float32()),
        (8, NumberKind.FLOAT, "<d", math.pi, pa.float64()),
        (4, NumberKind.SCALAR_VALUE, "<I", "☃", pa.string()),
    ],
)
def test_a_number_keeps_its_width_and_value(size, kind, raw, value, type_):
    node = ly.Number(32, size, kind)
    pack = ord(value) if isinstance(value, str) else value
    batch = decoded(node, struct.pack(raw, pack), struct.pack(raw, pack))
    assert batch.columns.schema.field("x").type == type_
    assert batch.columns.column("x").to_pylist() == [value, value]


def test_an_integer_of_128_bits_is_exact():
    node = ly.Number(32, 16, NumberKind.SIGNED)
    assert values(node, (-(1 << 100)).to_bytes(16, "little", signed=True)) == [-(1 << 100)]


def test_numbers_that_json_has_not_become_words():
    node = ly.Number(32, 8, NumberKind.FLOAT)
    found = values(node, *(struct.pack("<d", each) for each in (math.nan, math.inf, -math.inf)))
    assert found == ["NaN", "Infinity", "-Infinity"]


def test_a_bit_field_is_cut_out_with_its_sign():
    raw = struct.pack("<I", 0b1010_110)
    assert values(ly.BitField(32, 4, 3, 4, signed=True), raw) == [-6]
    assert values(ly.BitField(32, 4, 3, 4, signed=False), raw) == [10]


def test_an_enumeration_is_its_name_or_its_number():
    node = ly.Enumerated(32, 4, True, (("A", -1), ("B", 2), ("ALIAS", 2)))
    assert values(node, *(struct.pack("<i", each) for each in (-1, 2, 9))) == ["A", "B", "9"]


def counted(text=True, capacity=8, window=None):
    return ly.Counted(48, capacity, 40, text, window, (32,))


def string(raw: bytes, true: int | None = None, status=Status.OK) -> bytes:
    return struct.pack("<QQ", status, len(raw) if true is None else true) + raw.ljust(8, b"!")


def test_text_is_its_bytes_and_an_empty_one_is_no_absence():
    found = rows(counted(), string(b"hello"), string(b""), string("né☃".encode()))
    assert [row["x"] for row in found] == ["hello", "", "né☃"]
    assert not any("_absent" in row or "_cut" in row for row in found)


def further(text=True, window=None):
    """Eight bytes are captured, five of them may be shown."""
    return ly.Counted(48, 8, 40, text, window, (32,), beyond=3)


def test_bytes_past_the_limit_are_decoded_only_for_masking():
    long = string(b"abcdefgh", true=20)
    assert rows(further(), long)[0] | {"_absent": 0} == rows(counted(capacity=5), long)[0] | {"_absent": 0}
    assert rows(further(), long)[0]["x"] == "abcde"
    assert rows(further(), long, beyond=True)[0]["_cut"] == {"x": 20}
    assert values(further(), long, string(b"ab"), beyond=True) == ["abcdefgh", "ab"]
    assert values(further(window=2), long, beyond=True) == ["abcdefgh"]
    assert values(further(text=False), long, beyond=True) == ["6162636465666768"]


def test_a_field_says_how_much_of_its_texts_may_be_shown():
    field = decoded(further(), string(b"a"), beyond=True).columns.schema.field("x")
    in_hex = decoded(further(text=False), string(b"a"), beyond=True).columns.schema.field("x")
    assert (field.metadata[b"beyond"], in_hex.metadata[b"beyond"]) == (b"5 8", b"10 16")
    assert b"beyond" not in decoded(further(), string(b"a")).columns.schema.field("x").metadata


def test_a_text_that_is_no_utf8_has_nothing_past_its_limit():
    found = values(further(), string(b"abc\xffdefg", true=20), string("ab\ufffdcde".encode()), beyond=True)
    assert found == ["abc\ufffdd", "ab\ufffd"]


def test_in_json_no_text_goes_past_its_limit():
    case = ly.VariantCase("One", (), ly.Fields((("a", further()),)))
    node = ly.Variants(0, 0, False, (case,))
    assert rows(node, string(b"abcdefgh", true=20), beyond=True)[0]["x"] == {"variant": "One", "a": "abcde"}


def test_bytes_that_are_no_text_become_replacement_characters():
    assert values(counted(), string(b"a\xffb"), string(b"\xe2\x82"), string(b"\x82x")) == [
        "a\ufffdb",
        "\ufffd",
        "\ufffdx",
    ]


def test_a_cut_text_says_its_true_length_and_ends_between_characters():
    (row,) = rows(counted(), string("1234567☃".encode()[:8], true=10))
    assert row["x"] == "1234567"
    assert row["_cut"] == {"x": 10}


def test_a_text_that_was_asked_for_in_part_is_not_cut():
    (row,) = rows(counted(capacity=3, window=3), string(b"hello"))
    assert row["x"] == "hel"
    assert "_cut" not in row


def test_bytes_are_lower_case_hex():
    assert values(counted(text=False), string(b"\x00\xab\xff"), string(b"")) == ["00abff", ""]
    assert values(ly.FixedBytes(32, 4, 4), b"\x01\x02\x03\xfe") == ["010203fe"]


def test_a_char_array_is_its_text_up_to_the_nul():
    node = ly.FixedBytes(32, 8, 8, text=True)
    assert values(node, b"main\0xyz", b"12345678") == ["main", "12345678"]


def test_a_char_array_whose_end_was_not_copied_is_absent():
    (row,) = rows(ly.FixedBytes(32, 4, 100, text=True), b"1234")
    assert (row["x"], row["_absent"]) == (None, {"x": "length_unknown"})


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (Status.FAULT, "bad_address"),
        (Status.NIL, "nil_pointer"),
        (Status.OUT_OF_RANGE, "out_of_range"),
        (Status.ENDLESS, "length_unknown"),
        (Status.UNREAD, "bad_address"),
    ],
)
def test_a_value_whose_guard_failed_is_null_with_the_reason_and_never_its_bytes(status, reason):
    good, bad = string(b"fine"), string(b"junk", status=status)
    found = rows(counted(), good, bad)
    assert [row["x"] for row in found] == ["fine", None]
    assert found[1]["_absent"] == {"x": reason}
    assert "_absent" not in found[0]


def test_without_sleeping_a_fault_reads_not_resident():
    (row,) = rows(counted(), string(b"", status=Status.FAULT), fault=Reason.NOT_RESIDENT)
    assert row["_absent"] == {"x": "not_resident"}


def test_a_struct_whose_copy_failed_is_absent_once():
    fields = ly.Fields((("a", ly.Number(40, 4, NumberKind.SIGNED)), ("b", ly.Number(44, 4, NumberKind.SIGNED))), (32,))
    found = rows(fields, struct.pack("<Qii", 1, 3, 4), struct.pack("<Qii", 3, 3, 4))
    assert [row["x"] for row in found] == [{"a": 3, "b": 4}, None]
    assert found[1]["_absent"] == {"x": "bad_address"}


def test_a_struct_without_fields_is_an_empty_object():
    assert values(ly.Fields(()), b"") == [{}]


def test_a_nil_pointer_is_null_and_no_absence():
    node = ly.Pointee(32, ly.Number(40, 8, NumberKind.SIGNED, (48,)))
    found = rows(node, struct.pack("<QqQ", 0, 9, 2), struct.pack("<QqQ", 5, 9, 1))
    assert [row["x"] for row in found] == [None, 9]
    assert "_absent" not in found[0]


def numbers(count, window=None):
    items = tuple(ly.Number(40 + 4 * index, 4, NumberKind.SIGNED) for index in range(count))
    return ly.Items(items, 32, 0, window, (), 4)


def test_a_list_of_numbers_has_as_many_as_its_length_says():
    body = [struct.pack("<Qiii", length, 1, -2, 3) for length in (0, 2, 3, 1)]
    assert values(numbers(3), *body) == [[], [1, -2], [1, -2, 3], [1]]


def test_a_cut_list_says_its_true_length():
    (row,) = rows(numbers(3), struct.pack("<Qiii", 70, 1, -2, 3))
    assert (row["x"], row["_cut"]) == ([1, -2, 3], {"x": 70})
    (row,) = rows(numbers(3, window=3), struct.pack("<Qiii", 70, 1, -2, 3))
    assert "_cut" not in row


def test_items_that_cannot_be_read_are_named_by_their_index():
    items = tuple(ly.Fields((("id", ly.Number(48 + 8 * i, 8, NumberKind.SIGNED, (40 + i,))),)) for i in range(3))
    node = ly.Items(items, 32, 0)
    body = struct.pack("<Q8Bqqq", 2, 1, 3, 3, 0, 0, 0, 0, 0, 5, 6, 7)
    (row,) = rows(node, body)
    assert row["x"] == [{"id": 5}, {"id": None}]
    assert row["_absent"] == {"x[1].id": "bad_address"}


def test_lists_of_lists_of_text_keep_their_order():
    def inner(base):
        return ly.Items(tuple(ly.Counted(base + 8 + 16 * i + 8, 8, base + 8 + 16 * i, True) for i in range(2)), base, 0)

    node = ly.Items((inner(40), inner(80)), 32, 0)

    def strings(*texts):
        return struct.pack("<Q", len(texts)) + b"".join(struct.pack("<Q8s", len(t), t) for t in texts).ljust(32, b"?")

    bodies = [
        struct.pack("<Q", 2) + strings(b"a", b"b") + strings(b"c"),
        struct.pack("<Q", 0) + strings(b"x") + strings(b"y"),
        struct.pack("<Q", 1) + strings() + strings(b"z"),
        struct.pack("<Q", 2) + strings(b"d") + strings(b"e", b"f"),
    ]
    assert values(node, *bodies) == [[["a", "b"], ["c"]], [], [[]], [["d"], ["e", "f"]]]


def boxed():
    plain = ly.Fields((("s", ly.Number(56, 8, NumberKind.SIGNED)),), (49,))
    return ly.Boxed(
        32, 40, (48,), ((10, "*T"), (11, "main.N"), (12, "U")), ((10, plain), (11, ly.Pointee(56, plain))), Reason.DEPTH
    )


def interface(word, type_, value=5, status=1, inner=1):
    return struct.pack("<QQBB6xq", word, type_, status, inner, value)


def test_an_interface_is_its_type_and_value_and_nil_is_null():
    found = rows(boxed(), interface(1, 10), interface(0, 10), interface(1, 11, 0), interface(1, 10, 6))
    assert [row["x"] for row in found] == [
        {"type": "*T", "value": {"s": 5}},
        None,
        {"type": "main.N", "value": None},
        {"type": "*T", "value": {"s": 6}},
    ]
    assert not any("_absent" in row for row in found)


def test_an_interface_s_value_that_is_not_there_says_why_and_keeps_its_type():
    found = rows(boxed(), interface(1, 12), interface(1, 99), interface(1, 10, status=3), interface(1, 10, inner=3))
    assert [row["x"] for row in found] == [
        {"type": "U", "value": None},
        {"type": None, "value": None},
        None,
        {"type": "*T", "value": None},
    ]
    assert [row["_absent"] for row in found] == [
        {"x.value": "depth"},
        {"x.type": "no_symbol", "x.value": "no_symbol"},
        {"x": "bad_address"},
        {"x.value": "bad_address"},
    ]  # fmt: skip


def test_a_variant_is_the_one_that_its_tag_chooses():
    some = ly.Fields((("__0", ly.Number(40, 8, NumberKind.SIGNED)),))
    cases = (
        ly.VariantCase("Rest", (), some),
        ly.VariantCase("None", ((0, 0),), ly.Fields(())),
        ly.VariantCase("Many", ((2, 5),), some),
    )
    node = ly.Variants(32, 8, False, cases)
    found = values(node, *(struct.pack("<Qq", tag, 7) for tag in (0, 1, 2, 5, 6)))
    assert [each["variant"] for each in found] == ["None", "Rest", "Many", "Many", "Rest"]
    assert found[0] == {"variant": "None"}
    assert found[1] == {"variant": "Rest", "__0": 7}


def test_a_tag_that_no_variant_has_is_absent():
    node = ly.Variants(32, 8, False, (ly.VariantCase("A", ((0, 0),), ly.Fields(())),))
    (row,) = rows(node, struct.pack("<Q", 9))
    assert (row["x"], row["_absent"]) == (None, {"x": "no_symbol"})


@pytest.mark.parametrize(
    ("wall", "ext", "text"),
    [
        (0, 0, "0001-01-01T00:00:00Z"),
        (5, 62135596800, "1970-01-01T00:00:00.000000005Z"),
        (500_000_000, 62135596801, "1970-01-01T00:00:01.5Z"),
        (1 << 63 | (1795535071 + 2682288000) << 30 | 120, 77, "2026-11-24T15:44:31.00000012Z"),
        (0, 315537897599, "9999-12-31T23:59:59Z"),
    ],
)
def test_a_time_is_iso_8601_in_utc(wall, ext, text):
    assert values(ly.Moment(32), struct.pack("<Qq", wall, ext)) == [text]


def test_a_stack_has_names_where_there_are_and_the_caller_that_frame_pointers_miss():
    node = ly.Stack(48, 32, 4, 40, (80,), 12, caller_missed=False)
    body = struct.pack("<QQ4QB", 16, 0x200, 0x100, 0x300, 0, 0, 1)
    symbols = {0x100: "f+4", 0x200: "g+9"}
    assert values(node, body, symbolise=lambda pid, address: symbols.get(address)) == [["f+4", "g+9", "0x300"]]
    already = struct.pack("<QQ4QB", 16, 0x300, 0x100, 0x300, 0, 0, 1)
    assert values(node, already) == [["0x100", "0x300"]]
    missed = ly.Stack(48, 32, 4, 40, (80,), 12, caller_missed=True)
    assert values(missed, already) == [["0x100", "0x300", "0x300"]]


def test_what_is_known_to_be_missing_is_null_with_its_reason():
    (row,) = rows(ly.Missing(Reason.IN_VECTOR_REGISTER), b"")
    assert (row["x"], row["_absent"]) == (None, {"x": "in_vector_register"})


def test_a_constant_is_itself():
    assert values(ly.Literal(1 << 63), b"", b"") == [1 << 63, 1 << 63]
    assert values(ly.Literal("a"), b"") == ["a"]
    assert values(ly.Literal(None), b"") == [None]


def test_a_column_says_its_type_expression_and_function():
    metadata = decoded(ly.Literal(1), b"").columns.schema.field("x").metadata
    assert metadata == {b"type": b"T", b"expression": b"x", b"function": b"f"}


def test_the_types_of_columns_do_not_depend_on_the_rows():
    for node in (
        numbers(3),
        counted(),
        boxed(),
        ly.Items((counted(),), 32, 0),
        ly.Stack(48, 32, 4, 40, (80,), 12, caller_missed=False),
    ):
        empty = decoded(node).columns
        full = decoded(node, bytes(200), b"\x01" * 200).columns
        assert empty.schema == full.schema
        assert empty.num_rows == 0


def test_records_of_another_size_are_refused():
    with pytest.raises(LayoutMismatch, match=r"\(n, 40\) was expected"):
        decode(RecordLayout(40, "f", ()), np.zeros((2, 48), dtype=np.uint8), 0)


def test_a_target_that_is_not_go_has_no_goroutine():
    layout = RecordLayout(16, "f", ())
    raw = np.frombuffer(struct.pack("<QII", 1, 2, 3), dtype=np.uint8).reshape(1, 16)
    (row,) = to_rows(decode(layout, raw, 0).columns)
    assert row == {"time_": 1, "pid": 3, "tid": 2}


def test_every_row_can_be_written_as_json():
    for node, body in ((boxed(), interface(1, 10)), (counted(), string(b"\xff")), (ly.Moment(32), bytes(16))):
        json.dumps(rows(node, body), allow_nan=False)
