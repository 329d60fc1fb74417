"""Answers of agents: one list, each function once, nothing in it that harms who reads it."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.delivery.function_answers import MAX_NAME, FunctionsOf, UnreadableAnswer, merge, read
from control_plane.foundation.identifiers import AgentId

SUM = {
    "name": "money.Sum",
    "file": "money.go",
    "line": 7,
    "language": "go",
    "arguments": [{"name": "l", "type": "*Money"}],
    "results": [{"name": "", "type": "error"}],
    "inlined_copies": 2,
}


def test_an_answer_is_read_field_by_field() -> None:
    (function,) = read(json.dumps([SUM]), 10)
    assert (function.name, function.file, function.line, function.language) == ("money.Sum", "money.go", 7, "go")
    assert [(value.name, value.type) for value in (*function.arguments, *function.results)] == [
        ("l", "*Money"),
        ("", "error"),
    ]
    assert function.inlined_copies == 2


def test_what_is_missing_or_of_another_kind_is_empty() -> None:
    (function,) = read('[{"name": "f", "line": true, "file": 3, "arguments": [1, {"name": 2}], "language": null}]', 10)
    assert (function.file, function.line, function.language) == ("", 0, "")
    assert [(value.name, value.type) for value in function.arguments] == [("", "")]


def test_a_name_cannot_write_to_the_reader_s_terminal() -> None:
    (function,) = read(json.dumps([{"name": "\x1b[2Jf\n\x07" + "x" * 9000}]), 10)
    assert function.name == ("[2Jf" + "x" * 9000)[: len(function.name)]
    assert len(function.name) <= MAX_NAME


def test_the_limit_holds_whatever_an_agent_sends() -> None:
    assert len(read(json.dumps([SUM] * 50), 3)) == 3


@pytest.mark.parametrize("text", ["", "{", "{}", "null", "[1]", '[{"name": 1}]', "[" * 100_000])
def test_what_is_no_list_of_functions_is_refused(text: str) -> None:
    with pytest.raises(UnreadableAnswer):
        read(text, 10)


@given(st.text(max_size=200))
def test_any_text_is_a_list_or_refused(text: str) -> None:
    with contextlib.suppress(UnreadableAnswer):
        read(text, 10)


def test_a_function_that_several_agents_have_stands_once_with_all_of_them() -> None:
    functions = read(json.dumps([SUM]), 10)
    other = read(json.dumps([{**SUM, "line": 8}]), 10)
    merged = merge(
        [FunctionsOf(AgentId(name), listed, "") for name, listed in (("a", functions), ("b", functions), ("c", other))]
    )
    assert [(found.function.line, found.agents) for found in merged] == [(7, ("a", "b")), (8, ("c",))]
