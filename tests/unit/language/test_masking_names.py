"""Names are compared as words, paths as segments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from language.masking_names import (
    BadPattern,
    glob_matches,
    parse_pattern,
    path_matches,
    type_matches,
    words,
    words_pattern,
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cardPin", ("card", "pin")),
        ("card_pin", ("card", "pin")),
        ("card-pin", ("card", "pin")),
        ("APIKey", ("api", "key")),
        ("HTTPServerID", ("http", "server", "id")),
        ("cvv2", ("cvv2",)),
        ("CVV2", ("cvv2",)),
        ("shipping", ("shipping",)),
        ("ret(0)", ("ret", "0")),
        ("naïve", ("na", "ï", "ve")),
    ],
)
def test_an_identifier_is_split_over_every_naming_style(name, expected):
    assert words(name) == expected


@pytest.mark.parametrize("path", [("shipping",), ("o", "Spinner"), ("mapping", "Key"), ()])
def test_a_word_inside_another_word_is_not_that_word(path):
    assert not path_matches("words:pin", path)


@pytest.mark.parametrize("path", [("cardPin",), ("o", "PIN"), ("pins",), ("Pin2",)])
def test_a_word_is_found_in_plural_and_numbered(path):
    assert path_matches("words:pin", path)


def test_a_phrase_may_begin_in_the_parent_but_must_reach_the_last_segment():
    assert path_matches("words:card+number", ("o", "Card", "Number"))
    assert path_matches("words:card+number", ("CardNumber",))
    assert not path_matches("words:card+number", ("CardNumber", "Length"))


def test_what_is_left_of_a_phrase_inside_a_captured_value_is_anchored():
    (left,) = words_pattern(["card number"]).after(("o", "Card"))
    assert left.text() == "words:card+number|^number"
    assert left.matches(("Number",))
    assert not left.matches(("Other", "Number"))
    assert left.matches(("Other", "CardNumber"))


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("o.Card.Number", ("o", "Card", "Number"), True),
        ("o.Card.Number", ("o", "Card"), False),
        ("o.*.Number", ("o", "Card", "Number"), True),
        ("o.*.Number", ("o", "Number"), False),
        ("**.Email", ("Email",), True),
        ("**.Email", ("a", "b", "Email"), True),
        ("**.Email", ("a", "Email", "b"), False),
        ("o.**", ("o", "x", "y"), True),
        ("o.E*l", ("o", "Email"), True),
    ],
)
def test_a_path_pattern_matches_by_segment(pattern, path, expected):
    assert path_matches(pattern, path) is expected


def test_what_is_left_of_a_path_pattern_is_relative_to_the_capture():
    assert [rest.text() for rest in parse_pattern("o.Card.Number").after(("o",))] == ["Card.Number"]
    assert [rest.text() for rest in parse_pattern("**.Email").after(("o",))] == ["**.Email", "Email"]
    assert parse_pattern("o.Card.Number").after(("p",)) == ()


@given(
    st.lists(st.sampled_from(["a", "b", "**", "*"]), min_size=1, max_size=5),
    st.lists(st.sampled_from("ab"), max_size=5),
)
def test_matching_in_one_step_and_in_two_agree(pattern, path):
    text = ".".join(pattern)
    for cut in range(len(path)):
        two_steps = any(rest.matches(path[cut:]) for rest in parse_pattern(text).after(path[:cut]))
        assert two_steps == path_matches(text, path)


@pytest.mark.parametrize("text", ["", "a..b", "a[0]", "words:", "words:Pin", "words:a b|", "x" * 600])
def test_a_pattern_outside_the_grammar_is_refused(text):
    with pytest.raises(BadPattern):
        parse_pattern(text)


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("*.Card", "shop/orders.Card", True),
        ("*.Card", "*shop/orders.Card", True),
        ("*.Card", "[]*shop/orders.Card", True),
        ("*.Card", "shop/orders.CardType", False),
        ("uuid.UUID", "uuid.UUID", True),
        ("char *", "char *", True),
    ],
)
def test_a_type_pattern_sees_through_pointers_and_slices(pattern, name, expected):
    assert type_matches(pattern, name) is expected


def test_a_glob_of_many_stars_is_decided_quickly():
    assert not glob_matches("*a" * 200 + "b", "a" * 20_000)
