"""Go maps of every size, of the releases before and after they became Swiss tables: equal to what the program says."""

from __future__ import annotations

import pytest

from language.model import At, LimitSpec
from tests.builders.go_releases import toolchain
from tests.builders.programs import PROGRAMS, build_go
from tests.builders.value_program import ValueProgram, balance

pytestmark = pytest.mark.host

LIMITS = LimitSpec(max_string=64, max_items=16, max_depth=4)
FEW = LimitSpec(max_string=24, max_items=8, max_depth=4)


@pytest.fixture(scope="module", params=["1.23.9", "1.24.11", "1.25.5", "locked"])
def program(request):
    with ValueProgram(binary=build_go(PROGRAMS / "maps", toolchain=toolchain(request.param))) as running:
        yield running


def ordered(value: object) -> object:
    """The order of a map's entries means nothing."""
    if isinstance(value, dict):
        return {key: ordered(each) for key, each in value.items()}
    if isinstance(value, list) and all(isinstance(each, list) and len(each) == 2 for each in value):
        return sorted(([ordered(key), ordered(each)] for key, each in value), key=repr)
    return [ordered(each) for each in value] if isinstance(value, list) else value


def entries(value: object) -> list:
    return list(value.items()) if isinstance(value, dict) else [tuple(map(repr, each)) for each in value]


@pytest.mark.parametrize(
    ("scenario", "captures", "limits"),
    [("small", "mne", LIMITS), ("nested", "m", FEW), ("nested", "p", FEW), ("nested", ("all",), FEW)],
)
def test_a_small_map_is_equal_whole(program, scenario, captures, limits):
    asked = {name: name for name in captures}
    seen = program.trace(scenario, asked, function=f"main.{scenario}", at=At.ENTRY, limits=limits)
    assert len(seen.rows) == len(seen.told) == 8
    for row, call in zip(seen.rows, seen.told, strict=True):
        assert {name: ordered(row[name]) for name in captures} == {
            name: ordered(call["arguments"][name]) for name in captures
        }
        assert not row.keys() & {"_absent", "_cut"}


def test_of_a_large_map_entries_are_shown_and_its_true_length_is_said(program):
    limits = LimitSpec(max_string=64, max_items=4)
    seen = program.trace(
        "large", {"m": "m", "wides": "wides", "n": "len(m)"}, function="main.large", at=At.ENTRY, limits=limits
    )
    for row, call in zip(seen.rows, seen.told, strict=True):
        assert row["n"] == len(call["arguments"]["m"])
        for name in ("m", "wides"):
            told, found = call["arguments"][name], row[name]
            assert set(entries(found)) <= set(entries(told))
            assert len(found) == len({repr(key) for key, _ in found})
            if len(found) < len(told):
                assert row["_cut"][name] == len(told)
            else:
                assert name not in row.get("_cut", {})
    assert [len(row["m"]) for row in seen.rows][:4] == [0, 0, 1, 4]


def test_a_map_that_is_returned_is_equal(program):
    seen = program.trace("nested", {"all": "ret(0)", "n": "len(ret(0))"}, function="main.nested", limits=LIMITS)
    assert [row["all"] for row in seen.rows] == [call["results"][0] for call in seen.told]
    assert {row["n"] for row in seen.rows} == {1}
    assert balance(seen)


def test_maps_are_compared_by_length_and_nil(program):
    captures = {"m": "len(m)"}
    kept = program.trace(
        "small", captures, function="main.small", at=At.ENTRY, where="m != None and len(n) >= 4", limits=LIMITS
    )
    assert [row["m"] for row in kept.rows] == [4, 8]


def test_below_the_last_level_a_map_is_absent_for_that_reason(program):
    limits = LimitSpec(max_depth=0)
    seen = program.trace("small", {"m": "m"}, function="main.small", at=At.ENTRY, limits=limits)
    assert {row["m"] for row in seen.rows} == {None}
    assert [row.get("_absent") for row in seen.rows][1:5] == [{"m": "depth"}] * 4


def test_where_the_record_has_no_room_for_its_entries_a_map_is_absent_and_the_rest_is_there(program):
    captures = {"m": "m", "all": "all", "n": "len(m)"}
    seen = program.trace("nested", captures, function="main.nested", at=At.ENTRY, limits=LIMITS)
    for row, call in zip(seen.rows, seen.told, strict=True):
        assert row["n"] == len(call["arguments"]["m"])
        assert row["m"] is None
        assert row["_absent"] == {"m": "unsupported_type", "all.M": "unsupported_type"}
