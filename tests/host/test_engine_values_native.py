"""What the engine sees of real C and Rust programs: C against what it prints, Rust against what its source passes."""

from __future__ import annotations

import pytest

from language.model import At, LimitSpec
from tests.builders.programs import PROGRAMS, build_c, build_rust
from tests.builders.value_program import ValueProgram, balance, expected

pytestmark = pytest.mark.host

LIMITS = LimitSpec(max_string=1200, max_items=6)
C_SCENARIOS = {
    "ints": "abcdefgh",
    "pairs": "pn",
    "shapes": ("s", "c", "text"),
    "by_value": ("s", "after"),
    "texts": "ab",
}
RUST = PROGRAMS / "values_native" / "values.rs"


@pytest.fixture(scope="module", params=["-O0", "-O2"])
def c_program(request):
    binary = build_c(PROGRAMS / "values_native" / "values.c", request.param, "-fcf-protection")
    with ValueProgram(binary=binary) as running:
        yield running


@pytest.fixture(scope="module")
def plain_c():
    with ValueProgram(binary=build_c(PROGRAMS / "values_native" / "values.c", "-O0")) as running:
        yield running


@pytest.fixture(scope="module")
def rust_program():
    with ValueProgram(binary=build_rust(RUST)) as running:
        yield running


@pytest.mark.parametrize("scenario", C_SCENARIOS)
def test_every_c_argument_and_result_equals_what_the_program_printed(c_program, scenario):
    captures = {name: name for name in C_SCENARIOS[scenario]} | {"result": "ret(0)"}
    seen = c_program.trace(scenario, captures, limits=LIMITS)
    wanted = expected(seen.told, captures)
    assert len(seen.rows) == len(wanted) > 0
    for row, truth in zip(seen.rows, wanted, strict=True):
        for column in captures:
            if column in row.get("_cut", {}):
                assert row[column] == truth[column][:1200]
                assert row["_cut"][column] == len(truth[column])
            else:
                assert row[column] == truth[column]
        assert set(row.get("_absent", {}).items()) <= {("s.next.next.next", "depth")}


def test_parts_of_c_values_are_equal(plain_c):
    captures = {
        "mid": "s.flags.mid",
        "wide": "s.flags.wide",
        "name": "s.name",
        "x": "s.x",
        "corner": "s.grid[1][2]",
        "next": "s.next.number.i",
        "two": "s[0].color",
        "head": "text[:4]",
        "letter": "text[1]",
    }
    seen = plain_c.trace("shapes", captures, at=At.ENTRY)
    assert seen.rows[0]["_absent"] == dict.fromkeys(
        ("mid", "wide", "name", "x", "corner", "next", "two"), "nil_pointer"
    )
    for row, call in zip(seen.rows[1:], expected(seen.told, {"s": "s", "text": "text"})[1:], strict=True):
        shape, text = call["s"], call["text"]
        assert (row["mid"], row["wide"], row["name"]) == (shape["flags"]["mid"], shape["flags"]["wide"], shape["name"])
        assert (row["x"], row["corner"], row["two"]) == (shape["x"], shape["grid"][1][2], shape["color"])
        assert row["next"] == (shape["next"] and shape["next"]["number"]["i"])
        assert row["head"] == (text and text[:4])
        assert row["letter"] == (text and ord(text[1]))


@pytest.mark.parametrize(
    ("where", "keep"),
    [
        ('text == "some text"', lambda a: a["text"] == "some text"),
        ('text.startswith("some")', lambda a: a["text"] is not None),
        ("text == None", lambda a: a["text"] is None),
        ('c == "GREEN"', lambda a: a["c"] == "GREEN"),
        ("s.flags.mid < -100", lambda a: a["s"] is not None and a["s"]["flags"]["mid"] < -100),
        ("s != None and s.next == None", lambda a: a["s"] is not None and a["s"]["next"] is None),
        ("s.x + s.y > 5", lambda a: a["s"] is not None and a["s"]["x"] + a["s"]["y"] > 5),
    ],
)
def test_a_predicate_on_c_values_keeps_exactly_what_it_means(plain_c, where, keep):
    captures = {"text": "text", "c": "c", "s": "s"}
    seen = plain_c.trace("shapes", captures, at=At.ENTRY, where=where, limits=LIMITS)
    wanted = [row for row in expected(seen.told, captures) if keep(row)]
    assert [{column: row[column] for column in captures} for row in seen.rows] == wanted
    assert balance(seen)


def test_recursive_c_calls_are_paired_with_their_own_returns(plain_c):
    seen = plain_c.trace("recurse", {"n": "n", "result": "ret(0)", "latency": "latency()"})
    assert [(row["n"], row["result"]) for row in seen.rows] == [(0, 1), (1, 1), (2, 2), (3, 6), (4, 24), (5, 120)]
    assert balance(seen)


def test_calls_that_were_jumped_out_of_are_counted_and_lend_nothing(c_program):
    seen = c_program.trace("jumps", {"n": "n", "result": "ret(0)"}, runs=2)
    assert [(row["n"], row["result"]) for row in seen.rows] == [(n, n * 10) for n in (0, 2, 4, 6)] * 2
    assert seen.counters["LOST_NO_RETURN"] + seen.in_flight == 8
    assert balance(seen)


@pytest.mark.parametrize(
    ("scenario", "captures", "rows"),
    [
        (
            "texts",
            "anc",
            [("", 0, "a"), ("héllo", 1 << 40, "☃"), ("𝄞", 3, "𝄞")],
        ),
        ("slices", "abp", [([], "", []), ([1, -2, 3], "00ff", [{"x": 1, "y": 2}, {"x": 3, "y": 4}])]),
        (
            "shapes",
            "sobl",
            [
                ({"variant": "Empty"}, {"variant": "None"}, {"variant": "None"}, "Low"),
                (
                    {"variant": "Circle", "__0": 9},
                    {"variant": "Some", "__0": 5},
                    {"variant": "Some", "__0": {"x": -1, "y": 7}},
                    "High",
                ),
                (
                    {"variant": "Named", "id": 65535, "at": {"x": 2, "y": 3}},
                    {"variant": "Some", "__0": 0},
                    {"variant": "None"},
                    "Low",
                ),
                (
                    {"variant": "Text", "__0": "hi"},
                    {"variant": "None"},
                    {"variant": "Some", "__0": {"x": -1, "y": 7}},
                    "High",
                ),
            ],
        ),
        (
            "wide",
            "awt",
            [
                ((1 << 128) - 2, {"__0": (1 << 64) - 1, "__1": True}, {"__0": -5, "__1": True}),
                (7, {"__0": 0, "__1": False}, {"__0": 300, "__1": False}),
            ],
        ),
    ],
)
def test_rust_values_are_those_that_its_source_passes(rust_program, scenario, captures, rows):
    seen = rust_program.trace(scenario, {name: name for name in captures}, at=At.ENTRY)
    assert [tuple(row[name] for name in captures) for row in seen.rows] == rows
    assert not any("_absent" in row for row in seen.rows)


def test_an_optimised_rust_program_gives_equal_values_or_none():
    with ValueProgram(binary=build_rust(RUST, "-O")) as program:
        plain = {("héllo", "☃"), ("", "a"), ("𝄞", "𝄞")}
        seen = program.trace("texts", {"a": "a", "c": "c", "length": "len(a)"}, at=At.ENTRY)
        assert [row["length"] for row in seen.rows] == [0, 6, 4]
        for row in seen.rows:
            assert (row["a"], row["c"]) in plain or row["_absent"] == {"a": "optimised_out"}


def test_a_c_stack_is_the_function_and_its_caller_and_nothing_by_chance(c_program):
    resolved = c_program.resolve("jumps")
    seen = c_program.trace("jumps", {"stack": "stack()"}, at=At.ENTRY)
    assert len(seen.rows) == 8
    frames = {tuple(int(frame, 16) for frame in row["stack"]) for row in seen.rows}
    assert len(frames) == 1  # one place calls it
    ((here, caller),) = frames
    assert here % 4096 == resolved.entry.address % 4096
    assert caller != here


@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_a_thread_that_ends_itself_within_a_probed_call_is_counted_and_the_program_goes_on(level):
    """The C library unwinds the thread's stack: behind a uretprobe's trampoline it would find nothing, and abort."""
    with ValueProgram(binary=build_c(PROGRAMS / "native" / "unwinds.c", level, "-pthread")) as program:
        for function in ("leaves", "ends"):
            seen = program.trace("leaves", {"n": "n", "result": "ret(0)"}, function=function, runs=2)
            wanted = [(n, n * 10 + (function == "leaves")) for n in (0, 2, 4)] * 2
            assert [(row["n"], row["result"]) for row in seen.rows] == wanted
            assert seen.counters["LOST_NO_RETURN"] + seen.in_flight == 6
            assert balance(seen)
