"""Each action leaves of a value what it says and no more, in columns, in structs and in JSON alike."""

import datetime as dt
import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.decoding.model import RecordBatch
from agents.masking.budget import Budget
from agents.masking.model import FieldRule, PathRule
from agents.masking.service import mask
from language.masking import Action, Generality, parse_treatment
from tests.unit.agents.masking.test_service import KEY, batch, boxed

CARD = "4111111111111111"


def treated(values, action, kind=None, name="c", **options):
    treatment = parse_treatment(action)
    rule = FieldRule("c", treatment.action, "tenant:r", KEY, "e1", (), treatment.argument)
    array = values if isinstance(values, pa.Array) else pa.array(values, kind)
    given_batch = batch(array, expression=name, **options)
    return mask(given_batch, [rule]).columns.column("c").to_pylist()


@pytest.mark.parametrize(
    ("action", "value", "shown"),
    [
        ("partial(6,4)", CARD, "411111****1111"),
        ("partial(8,4)", CARD, "41111111****1111"),
        ("partial(6,4)", "1234567890", "****"),
        ("partial(2,0)", "bob.smith", "bo****"),
        ("truncate(4)", "plain words", "plai…"),
        ("truncate(40)", "plain words", "plain words"),
        ("truncate(12)", "mail bob@example.com now", "mail <EMAIL>…"),
        ("length", "bob", "3"),
        ("bucket(100)", "4111", "<REDACTED>"),
        ("generalise(ip)", "192.168.17.203", "192.168.17.0/24"),
        ("generalise(ip)", "2001:db8:85a3:8d3:1319:8a2e:370:7348", "2001:db8:85a3::/48"),
        ("generalise(ip)", "::ffff:10.1.2.3", "10.1.2.0/24"),
        ("generalise(ip)", "bob@example.com", "<REDACTED>"),
        ("generalise(postcode)", "SW1A 1AA", "SW1A"),
        ("generalise(postcode)", "90210-1234", "902*"),
        ("generalise(postcode)", "K1A 0B1", "K1A"),
        ("generalise(postcode)", "near the station", "<REDACTED>"),
        ("generalise(year)", "1980-03-12", "1980"),
        ("generalise(year)", "12.03.1980", "1980"),
        ("generalise(year)", "in the spring", "<REDACTED>"),
        ("generalise(age)", "42", "40-49"),
        ("generalise(age)", "103", "90+"),
        ("generalise(age)", "1980", "<REDACTED>"),
        ("generalise(coordinates)", "52.520008, 13.404954", "52.5, 13.4"),
        ("generalise(coordinates)", "Berlin", "<REDACTED>"),
    ],
)
def test_an_action_on_a_text(action, value, shown):
    assert treated([value, None], action) == [shown, None]
    (inside,) = treated(boxed(("*x", {"a": value})), action)
    assert json.loads(inside["value"]) == {"a": shown}


@pytest.mark.parametrize(
    ("action", "value", "shown"),
    [
        ("bucket(100)", 4178, "[4100,4200)"),
        ("bucket(100)", -1, "[-100,0)"),
        ("bucket(10)", int(CARD), "<CARD>"),
        ("truncate(3)", 12345, "123…"),
        ("truncate(3)", int(CARD), "<CA…"),
        ("partial(0,4)", int(CARD), "****1111"),
        ("length", 12345, "5"),
        ("generalise(year)", 19800312, "1980"),
        ("generalise(age)", 42, "40-49"),
    ],
)
def test_an_action_on_a_number(action, value, shown):
    assert treated([value], action, pa.int64()) == [shown]
    (inside,) = treated(boxed(("*x", {"a": value})), action)
    assert json.loads(inside["value"]) == {"a": shown}


def test_floats_moments_and_bytes_have_their_forms():
    assert treated([2.5, float("nan")], "bucket(2)") == ["[2,4)", "<REDACTED>"]
    assert treated([52.520008], "generalise(coordinates)") == ["52.5"]
    moment = dt.datetime(1980, 3, 12, tzinfo=dt.UTC)
    assert treated([moment], "generalise(year)", pa.timestamp("ns", "UTC")) == ["1980"]
    assert treated([bytes((10, 1, 2, 3))], "generalise(ip)") == ["10.1.2.0/24"]
    assert treated([b"abc"], "length") == ["3"]


def test_a_collection_is_counted_and_a_struct_is_one_thing():
    assert treated(["bob", None], "count-only") == ["<COUNT:1>", None]
    lists = pa.array([["a", "b"], [], None])
    assert treated(lists, "count-only") == ["<COUNT:2>", "<COUNT:0>", None]
    assert treated(pa.array([{"a": "x"}]), "count-only") == ["<COUNT:1>"]
    assert treated(pa.array([[("k", 1), ("l", 2)]], pa.map_(pa.string(), pa.int64())), "count-only") == ["<COUNT:2>"]
    assert treated(lists, "length") == [["1", "1"], [], None]


def test_of_a_cut_value_only_what_is_known_is_said():
    assert treated(["abcdefghijkl"], "length", cut=[{"c": 99}]) == ["12+"]
    assert treated(["abcdefghijkl"], "partial(2,4)", cut=[{"c": 99}]) == ["ab****"]
    assert treated(["mail bob"], "truncate(20)", cut=[{"c": 99}]) == ["mail <CUT>"]
    assert treated(["192.168.17.2"], "generalise(ip)", cut=[{"c": 99}]) == ["<REDACTED>"]
    assert treated(pa.array([["a", "b"]]), "count-only", cut=[{"c": 99}]) == ["<COUNT:2+>"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("4111 1111 1111 1111", CARD),
        ("Bob.Smith@Example.com", "bob.smith@example.com"),
        ("DE89 3704 0044 0532 0130 00", "de89370400440532013000"),
        ("+49 30 901820", "0049 (30) 901820"),
        ("00-1B-44-11-3A-B7", "00:1b:44:11:3a:b7"),
        ("2001:0db8::0001", "2001:db8::1"),
        ("212-09-9998", "212.09.9998"),
        (" bob\u200b ", "bob"),
        ("\uff14111111111111111", CARD),
    ],
)
def test_one_value_written_in_two_ways_joins(one, other):
    assert treated([one], "token") == treated([other], "token")


def test_a_card_in_an_integer_joins_with_one_in_a_text():
    assert treated([int(CARD)], "token", pa.int64()) == treated(["4111-1111-1111-1111"], "token")
    assert treated([212099998], "token", pa.int64(), name="p.SSN") == treated(["212-09-9998"], "token")


def test_types_are_domains_and_letters_in_ordinary_texts_count():
    assert treated([7], "token", pa.int64()) != treated(["7"], "token")
    assert treated(["Bob"], "token") != treated(["bob"], "token")


def test_a_token_names_its_key_and_shows_nothing_else():
    (token,) = treated(["bob@example.com"], "token")
    assert token.startswith("token:e1:")
    assert len(token) == len("token:e1:") + 32


def test_of_two_rules_inside_the_stricter_argument_holds():
    rules = (
        PathRule("a", "", Action.PARTIAL, "platform:p", "6,4"),
        PathRule("a", "", Action.PARTIAL, "tenant:q", "0,4"),
    )
    column = pa.array([{"a": CARD}])
    result = mask(batch(column), [FieldRule("c", Action.DETECT, "platform:r", paths=rules)])
    assert result.columns.column("c").to_pylist() == [{"a": "****1111"}]


def test_an_action_that_nobody_knows_here_hides_the_column():
    rule = FieldRule("c", Action.TRUNCATE, "tenant:r", argument="x")
    assert mask(batch(pa.array(["bob"])), [rule]).columns.column("c").to_pylist() == ["<UNSCANNED>"]


def test_what_there_is_no_time_for_is_hidden_under_any_action():
    rule = FieldRule("c", Action.TOKEN, "tenant:r", KEY, "e1")
    result = mask(batch(pa.array(["bob"])), [rule], Budget(0))
    assert result.columns.column("c").to_pylist() == ["<UNSCANNED>"]


SECRETS = ["bob.smith@example.com", CARD, "DE89370400440532013000", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"]
texts = st.tuples(st.sampled_from(["", "x ", '{"a":"']), st.sampled_from(SECRETS), st.sampled_from(["", " y", '"}']))


@given(
    st.lists(texts.map("".join), min_size=1, max_size=5),
    st.sampled_from(["detect", "bucket(5)", "truncate(30)", "token", "length", "count-only", "redact", "drop"])
    | st.sampled_from([f"generalise({kind})" for kind in Generality]),
)
def test_no_action_but_allow_and_partial_shows_a_planted_secret(values, action):
    shown = treated(values, action)
    assert not any(secret in str(shown) for secret in SECRETS)


def test_a_batch_without_columns_is_masked():
    assert mask(RecordBatch(pa.RecordBatch.from_pydict({})), []).columns.num_columns == 0
