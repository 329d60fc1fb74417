"""Whatever an event holds, its entry is bounded, storable, and the same for every reader."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.audit.entry import MAX_ENTRY, MAX_TEXT, entry_bytes
from control_plane.foundation.audit_trail import AuditAction, AuditEvent, Outcome
from control_plane.foundation.identifiers import TenantId

NOW = datetime(2026, 11, 24, tzinfo=UTC)
data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def encode(**detail: object) -> bytes:
    event = AuditEvent(AuditAction.POLICY_DENY, Outcome.REFUSED, "issuer|a", "r", detail)
    return entry_bytes(TenantId("acme"), 7, NOW, event, "")


def detail_of(**detail: object) -> object:
    return json.loads(encode(**detail))["detail"]


@given(data)
def test_an_entry_is_one_line_of_bounded_json_without_floats(value: object) -> None:
    entry = encode(value=value)
    assert len(entry) <= MAX_ENTRY
    assert b"\n" not in entry
    assert b"\x00" not in entry
    json.loads(entry, parse_float=lambda _: pytest.fail("a float"), parse_constant=lambda _: pytest.fail("a constant"))


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")), st.integers(0, 9)))
def test_the_order_of_members_does_not_matter(members: dict[str, int]) -> None:
    assert encode(members=members) == encode(members=dict(reversed(members.items())))


def test_members_stand_in_the_order_of_their_utf_16_units() -> None:
    # RFC 8785, 3.2.3: U+1F600 is a surrogate pair from U+D83D on, so it comes before U+FB33.
    assert '{"\U0001f600":1,"\ufb33":2}'.encode() in encode(m={"\ufb33": 2, "\U0001f600": 1})


def test_numbers_that_not_every_reader_keeps_become_text() -> None:
    assert detail_of(a=2**53, b=0.5, c=2**53 - 1) == {"a": "9007199254740992", "b": "0.5", "c": 2**53 - 1}


def test_words_moments_and_durations_become_text() -> None:
    word = StrEnum("word", {"YES": "yes"})
    assert detail_of(a=word.YES, b=NOW, c=timedelta(minutes=5)) == {
        "a": "yes",
        "b": "2026-11-24T00:00:00.000000Z",
        "c": "0:05:00",
    }


def test_a_long_text_is_cut_and_says_how_long_it_was() -> None:
    cut = detail_of(text="x" * 100_000)["text"]
    assert cut == "x" * MAX_TEXT + "… (cut, 100000 characters)"


def test_a_detail_that_is_too_big_is_replaced_by_its_digest() -> None:
    kept = detail_of(many=["x" * 4000] * 40)
    assert kept["cut"] is True
    assert kept["bytes"] > MAX_ENTRY
    assert len(kept["sha256"]) == 64


def test_what_no_database_stores_is_replaced() -> None:
    assert detail_of(text="a\x00b\ud800c") == {"text": "a�b�c"}


@pytest.mark.parametrize("thing", [object(), b"bytes", {1: {2: [object()]}}])
def test_what_is_no_data_is_refused(thing: object) -> None:
    with pytest.raises(TypeError, match="holds data only"):
        encode(thing=thing)
