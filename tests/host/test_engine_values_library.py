"""The standard library's texts, lists, owners and maps: what the engine sees of them is what the program says of them."""

from __future__ import annotations

import pytest

from language.model import At, LimitSpec
from tests.builders.programs import PROGRAMS, build_c, build_rust
from tests.builders.value_program import ValueProgram, balance, told_value

pytestmark = pytest.mark.host

LIMITS = LimitSpec(max_string=400, max_items=8, max_depth=4)
CPP = {"texts": "srpv", "lists": ("ints", "strings", "points"), "owners": "usot", "orders": ("order", "level", "color")}
RUST = {"texts": "srbo", "lists": ("v", "p", "t", "raw"), "orders": ("order", "shape")}
BUILDS = {
    "g++-O0": ("-O0",),
    "g++-O2": ("-O2",),
    "clang++-O0": ("-O0",),
    "clang++-O2": ("-O2",),
}


@pytest.fixture(scope="module", params=BUILDS)
def library(request):
    clang = request.param.startswith("clang")
    source = PROGRAMS / "values_native" / "library.cpp"
    with ValueProgram(binary=build_c(source, "-std=c++17", *BUILDS[request.param], clang=clang)) as running:
        yield running


@pytest.fixture(scope="module", params=["0", "2"])
def rust_library(request):
    source = PROGRAMS / "values_native" / "library.rs"
    with ValueProgram(binary=build_rust(source, "-C", f"opt-level={request.param}")) as running:
        yield running


def seen_and_told(program, scenario, captures, **options):
    seen = program.trace(scenario, captures, limits=LIMITS, **options)
    told = [{name: told_value(value) for name, value in call["arguments"].items()} for call in seen.told]
    return seen, told


@pytest.mark.parametrize("scenario", CPP)
def test_cpp_values_are_equal_or_absent_with_a_reason(library, scenario):
    captures = {name: name for name in CPP[scenario]}
    seen, told = seen_and_told(library, scenario, captures, at=At.ENTRY)
    assert len(seen.rows) == len(told) == 5
    compared = 0
    for row, truth in zip(seen.rows, told, strict=True):
        for column in captures:
            if column in row.get("_absent", {}):
                continue
            assert row[column] == truth[column], column
            compared += 1
    assert compared >= len(told) * (len(captures) - 1)


def test_what_an_optimiser_keeps_is_all_there_without_it():
    source = PROGRAMS / "values_native" / "library.cpp"
    with ValueProgram(binary=build_c(source, "-std=c++17", "-O0")) as program:
        for scenario, names in CPP.items():
            seen = program.trace(scenario, {name: name for name in names}, limits=LIMITS)
            assert [row.get("_absent", {}) for row in seen.rows] == [{}] * 5


def test_results_are_equal_texts_included(library):
    for scenario, results in (("texts", lambda call: call["results"]), ("lists", lambda call: call["results"])):
        seen = library.trace(scenario, {"result": "ret(0)"}, limits=LIMITS)
        assert [row["result"] for row in seen.rows] == [results(call)[0] for call in seen.told]


@pytest.mark.parametrize(
    ("scenario", "where", "keep"),
    [
        ("texts", 's == "aa"', lambda a: a["s"] == "aa"),
        ("texts", 'r.startswith("bbb")', lambda a: a["r"].startswith("bbb")),
        ("texts", "len(r) > 10", lambda a: len(a["r"]) > 10),
        ("texts", "r == s", lambda a: a["r"] == a["s"]),
        ("lists", "len(ints) == 3 or ints[1] == -1000", lambda a: len(a["ints"]) >= 2),
        ("lists", 'len(strings) > 2 and strings[2] == "aaa"', lambda a: a["strings"][2:3] == ["aaa"]),
        ("orders", 'order.name == "aaa" and order.points[1].y == 7', lambda a: a["order"]["name"] == "aaa"),
        ("orders", 'level == "High" and len(order.tags) > 1', lambda a: a["level"] == "High" and len(a["order"]["tags"]) > 1),
        ("orders", "order.at != None and order.at.y == 9", lambda a: (a["order"]["at"] or {}).get("y") == 9),
    ],
)  # fmt: skip
def test_a_predicate_on_library_types_keeps_what_it_means(scenario, where, keep):
    source = PROGRAMS / "values_native" / "library.cpp"
    with ValueProgram(binary=build_c(source, "-std=c++17", "-O0")) as program:
        captures = {name: name for name in CPP[scenario]}
        seen, told = seen_and_told(program, scenario, captures, at=At.ENTRY, where=where)
        assert [{name: row[name] for name in captures} for row in seen.rows] == [each for each in told if keep(each)]
        assert 0 < len(seen.rows) < 5
        assert balance(seen)


def test_parts_of_library_types_are_equal():
    source = PROGRAMS / "values_native" / "library.cpp"
    captures = {
        "first": "order.points[0].x", "tag": "order.tags[1]", "head": "order.tags[:1]", "count": "len(order.tags)", "y": "order.at.y",
        "note": "order.note", "letter": "order.name[0]", "size": "order.sizes[2]",
    }  # fmt: skip
    with ValueProgram(binary=build_c(source, "-std=c++17", "-O2")) as program:
        seen, told = seen_and_told(program, "orders", captures, at=At.ENTRY)
        for row, call in zip(seen.rows, told, strict=True):
            order = call["order"]
            assert row["first"] == (order["points"][0]["x"] if order["points"] else None)
            assert row["tag"] == (order["tags"][1] if len(order["tags"]) > 1 else None)
            assert (row["head"], row["count"]) == (order["tags"][:1], len(order["tags"]))
            assert row["y"] == (order["at"] and order["at"]["y"])
            assert (row["note"], row["size"]) == (order["note"], order["sizes"][2])
            assert row["letter"] == (ord(order["name"][0]) if order["name"] else None)
            assert set(row.get("_absent", {}).values()) <= {"out_of_range", "nil_pointer"}


def test_calls_left_by_an_exception_are_counted_and_lend_nothing(library):
    seen = library.trace("throws", {"n": "n", "result": "ret(0)"}, runs=3)
    assert [(row["n"], row["result"]) for row in seen.rows] == [(0, 0), (2, 20), (4, 40)] * 3
    assert seen.counters["HITS"] == 15
    assert seen.counters["LOST_NO_RETURN"] + seen.in_flight == 6
    assert balance(seen)


@pytest.mark.parametrize("scenario", RUST)
def test_rust_values_are_equal_or_absent_with_a_reason(rust_library, scenario):
    captures = {name: name for name in RUST[scenario]}
    seen, told = seen_and_told(rust_library, scenario, captures, at=At.ENTRY)
    assert len(seen.rows) == len(told) == 5
    compared = 0
    for row, truth in zip(seen.rows, told, strict=True):
        for column in captures:
            if column not in row.get("_absent", {}):
                assert row[column] == truth[column], column
                compared += 1
    assert compared > 0


def test_an_unoptimised_rust_program_hides_nothing():
    with ValueProgram(binary=build_rust(PROGRAMS / "values_native" / "library.rs")) as program:
        for scenario, names in RUST.items():
            seen = program.trace(scenario, {name: name for name in names}, at=At.ENTRY, limits=LIMITS)
            assert [row.get("_absent", {}) for row in seen.rows] == [{}] * 5


@pytest.mark.parametrize(
    ("scenario", "where", "keep"),
    [
        ("texts", 's == "aa" or r.startswith("b") and len(r) > 50', lambda a: a["s"] == "aa" or len(a["r"].encode()) > 50),
        ("lists", "len(p) > 2 and p[2].x == 0 and v[1] < 0", lambda a: len(a["p"]) > 2),
        ("lists", 't[1].startswith("b") and len(t[0]) == 3', lambda a: len(a["t"]) == 3),
        ("orders", 'order.name == "aaa" and len(order.tags) == 3', lambda a: a["order"]["name"] == "aaa"),
    ],
)  # fmt: skip
def test_a_predicate_on_rust_types_keeps_what_it_means(scenario, where, keep):
    with ValueProgram(binary=build_rust(PROGRAMS / "values_native" / "library.rs")) as program:
        captures = {name: name for name in RUST[scenario]}
        seen, told = seen_and_told(program, scenario, captures, at=At.ENTRY, where=where)
        assert [{name: row[name] for name in captures} for row in seen.rows] == [each for each in told if keep(each)]
        assert 0 < len(seen.rows) < 5


def test_rust_calls_that_panicked_are_counted_and_the_program_goes_on(rust_library):
    seen = rust_library.trace("panics", {"n": "n", "result": "ret(0)"}, runs=3)
    assert [row["result"] for row in seen.rows] == [0, 20, 40] * 3
    assert seen.counters["LOST_NO_RETURN"] + seen.in_flight == 6
    assert balance(seen)
