"""What a compiled probe consists of, its bounds, and what explain says of it."""

import pytest

from agents.absence import Absent, Reason
from agents.binaries.model import Integer, Language, Member, Pointer, Register, Struct, TypeId, Variable
from agents.compiler.model import BEYOND, CannotCompile, MapName, Refusal, Role
from agents.compiler.service import MAX_COLUMNS, compile_probe, dump, explain_captures
from agents.compiler.space import MAX_RECORD
from language.model import At, LimitSpec
from tests.builders.bpf_machine import Machine
from tests.builders.compiler_types import ENTRY, RETURN, Types, frame, probe, registers, request, shop_probe


def compiled(captures, **options):
    return compile_probe(shop_probe(), request(captures, **options))


@pytest.mark.parametrize(
    ("at", "captures", "roles"),
    [
        (At.ENTRY, {"n": "n"}, [Role.ENTRY]),
        (At.LINE, {"n": "n"}, [Role.ENTRY]),
        (At.RETURN, {"t": "total"}, [Role.RETURN]),
        (At.RETURN, {"t": "total", "n": "n"}, [Role.RETURN, Role.ENTRY]),
        (At.RETURN, {"latency": "latency()"}, [Role.RETURN, Role.ENTRY]),
        (At.ENTRY_AND_RETURN, {"t": "total"}, [Role.RETURN, Role.ENTRY]),
    ],
)
def test_a_return_that_needs_its_entry_gets_one(at, captures, roles):
    program = compiled(captures, at=at)
    assert [one.role for one in program.programs] == roles
    assert (MapName.STASH in {spec.name for spec in program.maps}) == (len(roles) == 2)


def test_go_returns_at_each_ret_and_others_by_uretprobe_at_the_entry():
    captures = {"t": "total"}
    (go,) = compiled(captures, at=At.RETURN).programs
    (c,) = compile_probe(shop_probe(language=Language.C), request(captures, at=At.RETURN)).programs
    assert (go.sites, go.on_return) == ((RETURN,), False)
    assert (c.sites, c.on_return) == ((ENTRY,), True)


def test_a_record_and_its_stash_are_whole_words():
    layout = compiled({"small": "small", "done": "done", "t": "total"}, at=At.ENTRY_AND_RETURN).layout
    assert layout.record_size % 8 == 0
    assert layout.stash_size % 8 == 0
    assert 0 < layout.stash_size < layout.record_size


def test_the_ring_is_a_power_of_two_of_whole_pages():
    for captures in ({"n": "n"}, {"list": "list[:4]"}):
        (ring,) = (spec for spec in compiled(captures).maps if spec.name is MapName.RING)
        assert ring.max_entries & (ring.max_entries - 1) == 0
        assert ring.max_entries % 4096 == 0
        assert ring.max_entries >= 64 * compiled(captures).layout.record_size


def test_a_value_too_large_for_a_record_is_refused_by_its_column():
    with pytest.raises(CannotCompile) as refused:
        compiled({"n": "n", "all": "list"}, limits=LimitSpec(max_items=200, max_string=4000))
    assert (refused.value.reason, refused.value.column) == (Refusal.TOO_LARGE, "all")
    assert str(MAX_RECORD) in refused.value.detail
    assert "x[:n]" in refused.value.detail


def test_a_text_has_room_for_what_masking_sees_past_its_limit():
    (column,) = compiled({"name": "name"}, limits=LimitSpec(max_string=100)).layout.columns
    assert (column.node.capacity, column.node.beyond) == (100 + BEYOND, BEYOND)


def test_where_there_is_no_room_past_the_limit_texts_end_at_it():
    columns = {f"c{number}": "name" for number in range(31)}
    layout = compiled(columns, limits=LimitSpec(max_string=1000)).layout
    assert {(column.node.capacity, column.node.beyond) for column in layout.columns} == {(1000, 0)}


def test_a_program_too_long_is_refused_by_its_largest_column():
    limits = LimitSpec(max_items=256, max_string=1)
    with pytest.raises(CannotCompile) as refused:
        compiled({"n": "n", "few": "texts[:200]", "all": "texts", "some": "texts[:250]"}, limits=limits)
    assert (refused.value.reason, refused.value.column) == (Refusal.TOO_LARGE, "all")
    assert "instructions" in refused.value.detail


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (LimitSpec(max_string=4001), "maxString"),
        (LimitSpec(max_items=257), "maxItems"),
        (LimitSpec(max_depth=17), "maxDepth"),
        (LimitSpec(max_depth=-1), "maxDepth"),
    ],
)
def test_limits_over_their_bounds_are_refused(limits, words):
    with pytest.raises(CannotCompile, match=words):
        compiled({"n": "n"}, limits=limits)


def test_more_columns_than_a_question_has_are_refused():
    with pytest.raises(CannotCompile, match="columns"):
        compiled({f"c{index}": "n" for index in range(MAX_COLUMNS + 1)})


def test_without_sleeping_a_fault_means_not_resident():
    assert compile_probe(shop_probe(), request({"c": "c"})).layout.fault is Reason.BAD_ADDRESS
    assert compile_probe(shop_probe(), request({"c": "c"}), sleepable=False).layout.fault is Reason.NOT_RESIDENT


def test_a_pointer_on_the_way_to_several_columns_is_read_once():
    one = compiled({"a": "o.Card.Cvv"})
    three = compiled({"a": "o.Card.Cvv", "b": "o.Card.Cvv", "c": "o.Card.Cvv"})
    assert three.layout.record_size - one.layout.record_size == 2 * 8


def test_explain_says_of_each_capture_what_it_will_be():
    captures = {"n": "n", "f": "f", "x": "o.Unit", "e": "e", "g": "o.Card"}
    said = {each.column: each for each in explain_captures(shop_probe(), request(captures))}
    assert said["n"].readable
    assert said["n"].type_name == "int"
    assert said["f"].absent == Absent(Reason.IN_VECTOR_REGISTER)
    assert not said["f"].readable
    assert said["x"].refused.reason is Refusal.UNKNOWN_FIELD
    assert said["x"].refused.column == "x"
    assert said["g"].type_name == "*shop.Card"


def test_explain_names_the_parts_that_will_be_absent():
    (said,) = explain_captures(shop_probe(), request({"o": "o"}, dropped=["Card.Cvv"], limits=LimitSpec(max_depth=2)))
    assert said.readable
    assert dict(said.parts) == {"o.Card.Cvv": Absent(Reason.DROPPED)}


def test_a_dump_shows_every_pass():
    lines = list(dump(shop_probe(), request({"n": "n", "t": "total"}, where="n > 3", at=At.ENTRY_AND_RETURN)))
    for pass_ in ("== bind", "== predicate", "== reads at entry", "== reads at return", "== layout"):
        assert any(line.startswith(pass_) for line in lines)
    assert any("call bpf_ringbuf_submit" in line for line in lines)


def test_a_struct_that_holds_itself_by_value_is_refused():
    types = Types()
    struct = types.add(Struct("endless", 8, (Member("self", 0, TypeId(1)),)))
    resolved = probe(types, [Variable("x", struct, frame(8))])
    with pytest.raises(CannotCompile, match="without end"):
        compile_probe(resolved, request({"x": "x"}))


def test_a_field_beyond_two_gigabytes_is_reached():
    types = Types()
    number = types.add(Integer("int", 8, signed=True))
    struct = types.add(Struct("huge", 5 << 30, (Member("far", 3 << 30, number),)))
    pointer = types.add(Pointer("*huge", struct))
    resolved = probe(types, [Variable("x", pointer, registers((Register.RAX, 0, 8)))])
    program = compile_probe(resolved, request({"far": "x.far"}, where="x.far == 7"))
    machine = Machine(program, {0x1000 + (3 << 30): (7).to_bytes(8, "little"), 0x9000: bytes(256)})
    machine.fire({Register.RAX: 0x1000, Register.R14: 0x9000})
    assert len(machine.records) == 1


def test_outside_go_a_stack_is_the_function_and_its_caller():
    """rbp may hold anything there: a chain from it would be made of chance words."""
    captures = {"stack": "stack()"}
    (go,) = compile_probe(shop_probe(), request(captures)).layout.columns
    (c,) = compile_probe(shop_probe(language=Language.C), request(captures)).layout.columns
    assert (go.node.capacity, c.node.capacity) == (64, 1)
