"""What the engine sees of a real Go program against what the program says of itself: every row must be equal.

The program prints its arguments and results exactly (tests/programs/values); one probe captures all of them whole.
"""

from __future__ import annotations

import pytest

from agents.compiler.model import CannotCompile, Refusal
from language.model import At, LimitSpec
from tests.builders.value_program import Seen, ValueProgram, balance, expected, told_value

pytestmark = pytest.mark.host

WIDE = LimitSpec(max_string=1200, max_items=5)
NARROW = LimitSpec(max_string=64, max_items=5)
GENERIC = "main.Generic[go.shape.struct { X int32; Y int32 },go.shape.string]"

# scenario: arguments, number of results, limits, function
SCENARIOS = {
    "Ints": ("abcdefghi", 5, WIDE, None),
    "Many": ("abhijklmno", 2, WIDE, None),
    "Bools": ("abcdeu", 1, WIDE, None),
    "Strings": ("ab", 2, LimitSpec(max_string=2000), None),
    "Structs": ("pm", 2, WIDE, None),
    "OnStack": (("big", "after"), 2, WIDE, None),
    "Pointers": ("nps", 2, NARROW, None),
    "Slices": (("ints", "strs", "items", "raw", "ptrs", "nested"), 2, NARROW, None),
    "Arrays": (("a", "one", "h", "none", "t"), 1, WIDE, None),
    "Errors": (("kind",), 2, NARROW, None),
    "Blank": ("ab", 2, WIDE, None),
    "Times": ("td", 2, WIDE, None),
    "Embedded": ("dp", 2, NARROW, None),
    "Serve": (("s", "path", "code"), 2, WIDE, "main.(*Server).Serve"),
    "Higher": (("l", "than"), 1, WIDE, "main.Level.Higher"),
    "Generic": (("v", "key"), 2, WIDE, GENERIC),
}


@pytest.fixture(scope="module")
def program():
    with ValueProgram() as running:
        yield running


@pytest.fixture(scope="module")
def relocated():
    """The same program, position-independent: static addresses and type words need the load bias."""
    with ValueProgram("-buildmode=pie") as running:
        yield running


def captures_of(scenario: str) -> dict[str, str]:
    arguments, results, _, _ = SCENARIOS[scenario]
    return {name: name for name in arguments} | {f"ret{index}": f"ret({index})" for index in range(results)}


def traced(program: ValueProgram, scenario: str, **options) -> tuple[Seen, dict[str, str]]:
    captures = captures_of(scenario)
    _, _, limits, function = SCENARIOS[scenario]
    return program.trace(scenario, captures, limits=limits, function=function, **options), captures


def columns(seen: Seen, captures) -> list[dict]:
    return [{column: row[column] for column in captures} for row in seen.rows]


def absences(seen: Seen) -> set[tuple[str, str]]:
    return {each for row in seen.rows for each in row.get("_absent", {}).items()}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_argument_and_result_equals_what_the_program_printed(program, scenario):
    seen, captures = traced(program, scenario)
    assert columns(seen, captures) == expected(seen.told, captures)
    assert seen.counters["HITS"] == seen.counters["DELIVERED"] == len(seen.told)
    assert absences(seen) <= {("n.Next.Next.Next", "depth"), ("ret0.Next.Next.Next", "depth")}


@pytest.mark.parametrize("scenario", ["Strings", "OnStack", "Errors", "Slices", "Serve"])
def test_a_position_independent_program_gives_the_same_rows(relocated, scenario):
    seen, captures = traced(relocated, scenario)
    assert columns(seen, captures) == expected(seen.told, captures)
    assert len(seen.rows) == len(seen.told)


@pytest.mark.parametrize("scenario", ["Strings", "OnStack", "Errors", "Slices"])
def test_without_sleeping_a_value_is_equal_or_absent_because_not_resident(program, scenario):
    seen, captures = traced(program, scenario, sleepable=False)
    assert len(seen.rows) == len(seen.told)
    for row, wanted in zip(seen.rows, expected(seen.told, captures), strict=True):
        for column, value in wanted.items():
            reasons = {reason for path, reason in row.get("_absent", {}).items() if path.startswith(column)}
            assert row[column] == value or reasons == {"not_resident"}


@pytest.mark.parametrize("scenario", ["Ints", "Structs", "OnStack", "Pointers"])
def test_arguments_captured_at_entry_alone_are_equal_too(program, scenario):
    arguments, _, limits, _ = SCENARIOS[scenario]
    captures = {name: name for name in arguments}
    seen = program.trace(scenario, captures, at=At.ENTRY, limits=limits)
    assert columns(seen, captures) == expected(seen.told, captures)


@pytest.mark.parametrize("scenario", ["Ints", "Structs", "Errors", "Slices"])
def test_results_captured_at_return_alone_are_equal_too(program, scenario):
    _, results, limits, _ = SCENARIOS[scenario]
    captures = {f"ret{index}": f"ret({index})" for index in range(results)}
    seen = program.trace(scenario, captures, at=At.RETURN, limits=limits)
    assert columns(seen, captures) == expected(seen.told, captures)
    assert seen.counters["UNPAIRED_RETURN"] == 0


def test_values_in_interfaces_are_equal_or_absent_with_the_type_named(program):
    captures = {"v": "v", "s": "s", "ret0": "ret(0)", "ret1": "ret(1)"}
    seen = program.trace("Anys", captures, limits=NARROW)
    wanted = expected(seen.told, captures)
    assert len(seen.rows) == len(wanted)
    shown = 0
    for row, truth in zip(seen.rows, wanted, strict=True):
        for column in captures:
            if f"{column}.value" in row.get("_absent", {}):
                assert row[column] == {"type": truth[column]["type"], "value": None}
            else:
                assert row[column] == truth[column]
                shown += 1
    assert shown > len(wanted) * 3


def test_a_cut_text_is_a_prefix_with_its_true_length(program):
    captures = {"a": "a", "b": "b"}
    seen = program.trace("Strings", captures, at=At.ENTRY, limits=LimitSpec(max_string=16))
    for row, call in zip(seen.rows, seen.told, strict=True):
        for column in captures:
            raw = bytes.fromhex(call["arguments"][column]["$s"])
            if len(raw) > 16:
                assert row["_cut"][column] == len(raw)
                assert row[column] in {raw[:end].decode("utf-8", "replace") for end in range(13, 17)}
            else:
                assert row[column] == raw.decode("utf-8", "replace")
                assert column not in row.get("_cut", {})


def test_a_cut_list_is_its_first_items_with_its_true_length(program):
    captures = {"ints": "ints", "strs": "strs", "raw": "raw", "two": "strs[:2]"}
    seen = program.trace("Slices", captures, at=At.ENTRY, limits=LimitSpec(max_items=3, max_string=2))
    ints, strs, raw = (seen.told[-2]["arguments"][name] for name in ("ints", "strs", "raw"))
    row = seen.rows[-2]
    assert row["ints"] == ints[:3]
    assert row["strs"] == [told_value(each)[:2] for each in strs]
    assert row["raw"] == raw[:4]
    assert row["two"] == row["strs"][:2]
    assert row["_cut"] == {"raw": 3, "strs[2]": 5, **({"ints": len(ints)} if len(ints) > 3 else {})}


def test_parts_of_values_are_equal(program):
    captures = {
        "name": "big.Name",
        "second": "big.Names[1]",
        "corner": "big.Matrix[1][2]",
        "flags": "big.Flags",
        "inner": "big.Inner.S",
        "length": "len(big.Tail)",
        "head": "big.Tail[0]",
        "sum": "ret(1)",
        "text": "ret(0).Names[0]",
    }
    seen = program.trace("OnStack", captures)
    for row, call in zip(seen.rows, seen.told, strict=True):
        big, (result, total) = told_value(call["arguments"]["big"]), call["results"]
        tail = bytes.fromhex(big["Tail"])
        assert row["name"] == big["Name"]
        assert row["second"] == big["Names"][1]
        assert row["corner"] == big["Matrix"][1][2]
        assert row["flags"] == big["Flags"]
        assert row["inner"] == big["Inner"]["S"]
        assert row["length"] == len(tail)
        assert row["head"] == (tail[0] if tail else None)
        assert row.get("_absent", {}).get("head") == (None if tail else "out_of_range")
        assert row["sum"] == total
        assert row["text"] == told_value(result)["Names"][0]


def test_a_field_behind_a_nil_pointer_is_absent_and_a_nil_pointer_is_null(program):
    captures = {"value": "n.Value", "second": "n.Next.Value", "third": "n.Next.Next.Value", "x": "p.X", "s": "deref(s)"}
    seen = program.trace("Pointers", captures, at=At.ENTRY)
    first = seen.rows[0]
    assert [first[name] for name in ("value", "second", "third")] == [None, None, None]
    assert {first["_absent"][name] for name in ("value", "second", "third")} == {"nil_pointer"}
    assert (first["x"], first["s"]) == (5, "pointed at")
    second, third = seen.rows[1], seen.rows[2]
    assert second["value"] == 1
    assert second["_absent"] == dict.fromkeys(("second", "third", "x", "s"), "nil_pointer")
    assert third["second"] == 2
    assert third["_absent"] == {"third": "nil_pointer", "x": "nil_pointer"}
    assert [seen.rows[3][name] for name in ("value", "second", "third")] == [1, 2, 3]


def test_promoted_fields_are_found_through_embedded_structs_and_pointers(program):
    seen = program.trace("Embedded", {"id": "d.ID", "name": "d.Name", "x": "d.X", "px": "p.X"}, at=At.ENTRY)
    told = [told_value(call["arguments"]["d"]) for call in seen.told]
    assert [row["id"] for row in seen.rows] == [each["Base"]["ID"] for each in told]
    assert [row["name"] for row in seen.rows] == [each["Base"]["Name"] for each in told]
    assert [row["x"] for row in seen.rows] == [each["Point"]["X"] for each in told]
    assert {row["_absent"]["px"] for row in seen.rows} == {"nil_pointer"}


def test_floats_in_vector_registers_are_absent_and_those_in_memory_are_exact(program):
    captures = {"a": "a", "b": "b", "p": "p", "n": "n", "ret0": "ret(0)", "ret1": "ret(1)"}
    seen = program.trace("Floats", captures)
    for row, call in zip(seen.rows, seen.told, strict=True):
        assert row["p"] == told_value(call["arguments"]["p"])
        assert (row["n"], row["ret1"]) == (42, call["results"][0])
        assert (row["a"], row["b"], row["ret0"]) == (None, None, None)
        assert row["_absent"] == dict.fromkeys(("a", "b", "ret0"), "in_vector_register")


def test_the_length_of_a_map_is_exact_nil_included(program):
    seen = program.trace("Maps", {"m": "len(m)", "n": "len(n)", "sum": "ret(0)"})
    assert [(row["m"], row["n"]) for row in seen.rows] == [(0, 0), (20, 0), (40, 0)]
    assert [row["sum"] for row in seen.rows] == [0, 20, 40]


def test_recursive_calls_are_paired_with_their_own_returns(program):
    seen = program.trace("Recursive", {"n": "n", "label": "label", "result": "ret(0)", "latency": "latency()"})
    rows = sorted(seen.rows, key=lambda row: row["n"])
    factorials = [1, 1, 2, 6, 24, 120, 720]
    assert [(row["n"], row["result"]) for row in rows] == list(enumerate(factorials))
    assert [row["label"] for row in rows] == ["r" + "x" * (6 - row["n"]) for row in rows]
    latencies = [row["latency"] for row in rows]
    assert latencies == sorted(latencies)
    assert all(latency > 0 for latency in latencies)


def test_calls_that_panicked_never_lend_their_entry_to_another_return(program):
    seen = program.trace("Panics", {"n": "n", "result": "ret(0)"}, runs=3)
    assert [(row["n"], row["result"]) for row in seen.rows] == [(n, n * 10) for n in (0, 2, 4, 6)] * 3
    assert seen.counters["HITS"] == 24
    assert seen.counters["LOST_NO_RETURN"] + seen.in_flight == 12
    assert balance(seen)


def test_an_entry_that_is_filtered_forgets_what_a_panic_left_at_its_frame(program):
    """Odd calls pass the predicate and panic; the even ones are filtered and return from the very same frame."""
    seen = program.trace("Panics", {"n": "n", "result": "ret(0)"}, where="n % 2 == 1", runs=2)
    assert seen.rows == []
    assert seen.counters["FILTERED"] == 8
    assert seen.counters["LOST_NO_RETURN"] + seen.in_flight == 8
    assert balance(seen)


def test_goroutines_on_many_threads_are_paired_while_their_stacks_move(program):
    captures = {"id": "id", "label": "label", "text": "ret(0)", "sum": "ret(1)", "goid": "goid()"}
    seen = program.trace("Work", captures)
    told = sorted(
        (
            call["arguments"]["id"],
            told_value(call["arguments"]["label"]),
            told_value(call["results"][0]),
            call["results"][1],
        )
        for call in seen.told
    )
    assert sorted((row["id"], row["label"], row["text"], row["sum"]) for row in seen.rows) == told
    assert len({row["goid"] for row in seen.rows}) == 400
    assert balance(seen)


@pytest.mark.parametrize(
    ("scenario", "where", "keep"),
    [
        ("Ints", "d > 0", lambda a: a["d"] > 0),
        ("Ints", "h > 9223372036854775807", lambda a: a["h"] > (1 << 63) - 1),
        ("Ints", "h == d", lambda a: a["h"] == a["d"]),
        ("Ints", "h > d", lambda a: a["h"] > a["d"]),
        ("Ints", "a < h", lambda a: a["a"] < a["h"]),
        ("Ints", "a == e", lambda a: a["a"] == a["e"]),
        ("Ints", "a // 3 == -1", lambda a: a["a"] // 3 == -1),
        ("Ints", "d % 7 == 5", lambda a: a["d"] % 7 == 5),
        ("Ints", "b * 2 - 1 <= -3 or not (c >= -1)", lambda a: a["b"] * 2 - 1 <= -3 or not a["c"] >= -1),
        ("Ints", "e in (1, 255)", lambda a: a["e"] in {1, 255}),
        ("Bools", "a and not b", lambda a: a["a"] and not a["b"]),
        ("Bools", "b == True", lambda a: a["b"]),
        ("Strings", 'a == "hello"', lambda a: a["a"] == "hello"),
        ("Strings", 'a == ""', lambda a: a["a"] == ""),
        ("Strings", 'a != "hello"', lambda a: a["a"] != "hello"),
        ("Strings", 'a.startswith("long long long long long long long long long long long long long long long ")', lambda a: a["a"].startswith("long ")),
        ("Strings", 'startswith(b, "na")', lambda a: a["b"].startswith("na")),
        ("Strings", "len(a) > 5", lambda a: len(a["a"].encode("utf-8", "surrogateescape")) > 5),
        ("Strings", 'b in ("a", "", "naïve ☃ 𝄞")', lambda a: a["b"] in {"a", "", "naïve ☃ 𝄞"}),
        ("Structs", "m.P == None", lambda a: a["m"]["P"] is None),
        ("Structs", "m.P.Y > 2", lambda a: a["m"]["P"] is not None and a["m"]["P"]["Y"] > 2),
        ("Structs", "not m.P.Y > 2", lambda a: a["m"]["P"] is not None and not a["m"]["P"]["Y"] > 2),
        ("Structs", "m.P != None and m.P.Y > 2 or p.X == 0", lambda a: (a["m"]["P"] or {"Y": 0})["Y"] > 2 or a["p"]["X"] == 0),
        ("OnStack", "big.Names[1] == big.Name and big.Count % 2 == 1", lambda a: a["big"]["Count"] % 2 == 1 and len(a["big"]["Name"]) <= 256),
        ("OnStack", "len(big.Tail) > 0 and big.Tail[0] == 104", lambda a: a["big"]["Tail"][:2] == "68"),
        ("Slices", 'len(ints) == 2 or ints[2] == -2 and strs[1] == "a"', lambda a: len(a["ints"]) == 2 or (len(a["ints"]) > 2)),
    ],
)  # fmt: skip
def test_a_predicate_keeps_exactly_the_calls_that_it_means(program, scenario, where, keep):
    arguments = SCENARIOS[scenario][0]
    captures = {name: name for name in arguments}
    seen = program.trace(scenario, captures, at=At.ENTRY, where=where, limits=SCENARIOS[scenario][2])
    wanted = [row for row in expected(seen.told, captures) if keep(row)]
    assert columns(seen, captures) == wanted
    assert seen.counters["FILTERED"] == len(seen.told) - len(wanted)
    assert balance(seen)


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("ret(1) != None", [1, 2, 3, 4, 5, 6]),
        ("err == None", [0]),
        ("ret(0) > 3", [4, 5, 6]),
        ("ret(0) > 3 or kind == 1", [1, 4, 5, 6]),
        ("kind + 1 == n + 1 and kind < 2", [0, 1]),
        ("latency() > 0 and kind >= 5", [5, 6]),
        ("latency() > 3600000000000", []),
        ("not (latency() < 1 or kind < 6)", [6]),
    ],
)
def test_a_predicate_on_results_and_latency_is_decided_at_the_return(program, where, kept):
    seen = program.trace("Errors", {"kind": "kind", "n": "n"}, where=where)
    assert [row["kind"] for row in seen.rows] == kept
    assert [row["n"] for row in seen.rows] == kept
    assert balance(seen)
    assert seen.in_flight == 0


def test_hits_over_the_number_are_counted_as_expired(program):
    seen = program.trace("Ints", {"d": "d"}, at=At.ENTRY, max_hits=4)
    assert len(seen.rows) == seen.counters["DELIVERED"] == 4
    assert seen.counters["EXPIRED"] == 2
    assert balance(seen)


def test_hits_over_the_rate_are_counted_as_throttled(program):
    """One a second with a second's credit: two pass at once."""
    seen = program.trace("Work", {"id": "id"}, at=At.ENTRY, rate=1)
    assert 1 <= len(seen.rows) <= 4
    assert seen.counters["THROTTLED"] == 400 - len(seen.rows)
    assert balance(seen)


def test_a_sample_takes_its_share_and_counts_the_rest(program):
    from fractions import Fraction

    seen = program.trace("Work", {"id": "id", "r": "ret(1)"}, limits=LimitSpec(sample=Fraction(1, 4)), runs=3)
    assert 200 < len(seen.rows) < 400
    assert seen.counters["SAMPLED_OUT"] == 1200 - len(seen.rows)
    assert balance(seen)


def test_the_stack_leads_from_the_function_through_its_callers(program):
    resolved = program.resolve("main.Recursive")
    seen = program.trace("Recursive", {"n": "n", "stack": "stack()"}, at=At.ENTRY)
    for row in seen.rows:
        inside = [resolved.low_pc <= int(frame, 16) < resolved.high_pc for frame in row["stack"]]
        calls = 6 - row["n"]  # frames of Recursive above this one
        assert inside[: calls + 1] == [True] * (calls + 1)
        assert not any(inside[calls + 1 :])


@pytest.mark.parametrize(
    ("captures", "where", "reason", "words"),
    [
        ({"x": "m.Q"}, None, Refusal.UNKNOWN_FIELD, "no field 'Q' in main.Mixed; it has A, B, S, C, D, P"),
        ({"x": "q"}, None, Refusal.UNKNOWN_NAME, "no argument or result 'q' in main.Structs; it has p, m"),
        ({"x": "ret(2)"}, None, Refusal.UNKNOWN_NAME, "it has 2: ret(0), ret(1)"),
        ({"x": "p"}, "m.S > 3", Refusal.WRONG_TYPE, "text"),
        ({"x": "p"}, "m.A", Refusal.WRONG_TYPE, "bool"),
        ({"x": "p.X.Y"}, None, Refusal.UNKNOWN_FIELD, "no struct"),
    ],
)
def test_what_does_not_fit_the_function_is_refused_with_what_there_is(program, captures, where, reason, words):
    with pytest.raises(CannotCompile) as refused:
        program.trace("Structs", captures, where=where)
    assert refused.value.reason is reason
    assert words in refused.value.detail


@pytest.mark.parametrize("text", ["ret(0)", "latency()"])
def test_results_are_refused_at_entry(program, text):
    with pytest.raises(CannotCompile) as refused:
        program.trace("Structs", {"x": text}, at=At.ENTRY)
    assert refused.value.reason is Refusal.NOT_HERE
    assert "entry+return" in refused.value.detail
