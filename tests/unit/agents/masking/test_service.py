"""Nothing of a column passes but through its rule, in whatever shape it comes."""

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.decoding.model import RecordBatch
from agents.decoding.rows import to_rows
from agents.masking.applying import DYNAMIC_ONLY
from agents.masking.model import FieldRule, PathRule
from agents.masking.service import mask
from language.masking import Action

KEY = bytes(range(32))


def batch(array, *, type_name="T", expression="o.X", absent=None, cut=None):
    fields = [
        pa.field("time_", pa.int64()),
        pa.field("pid", pa.uint32()),
        pa.field("tid", pa.uint32()),
        pa.field("c", array.type, metadata={"type": type_name, "expression": expression, "function": "f"}),
    ]
    count = len(array)
    arrays = [pa.array([7] * count, field.type) for field in fields[:3]] + [array]
    for name, given_paths, kind in (("_absent", absent, pa.string()), ("_cut", cut, pa.uint64())):
        map_type = pa.map_(pa.string(), kind)
        fields.append(pa.field(name, map_type))
        arrays.append(pa.array([list((paths or {}).items()) for paths in given_paths or [{}] * count], map_type))
    return RecordBatch(pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields)))


def rule(action=Action.DETECT, *paths, key=b"", key_id="", argument=""):
    return FieldRule("c", action, "platform:r", key, key_id, tuple(paths), argument)


LAST4 = rule(Action.PARTIAL, argument="0,4")


def masked(array, *rules, **options):
    result = mask(batch(array, **options), rules or (rule(),))
    return result.columns.column("c").to_pylist(), result


def by_name(words, action, argument="", name="tenant:n"):
    return PathRule(f"words:{words}", "", action, name, argument)


def counts(result):
    return [(receipt.rule, receipt.action, receipt.values, receipt.hidden) for receipt in result.receipts]


def test_allow_passes_values_as_they_are():
    values, result = masked(pa.array(["bob@example.com", None]), rule(Action.ALLOW))
    assert values == ["bob@example.com", None]
    assert counts(result) == [("platform:r", Action.ALLOW, 1, 0)]


def test_detect_counts_what_it_hides():
    values, result = masked(pa.array(["bob@example.com", "USD", None, "bob@example.com"]))
    assert values == ["<EMAIL>", "USD", None, "<EMAIL>"]
    assert counts(result) == [("platform:r", Action.DETECT, 3, 2)]


def test_a_card_number_in_an_integer_makes_the_column_text():
    values, result = masked(pa.array([5, 4111111111111111, None], pa.int64()))
    assert values == ["5", "<CARD>", None]
    assert result.columns.schema.field("c").type == pa.string()


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint64(), pa.float64()])
def test_every_width_of_number_goes_through_the_gate(kind):
    assert masked(pa.array([378282246310005], kind))[0] == ["<CARD>"]


def test_numbers_that_are_no_cards_stay_numbers():
    numbers = [0, -1, 2**63 - 1, -(2**63), 1700000000000000000, 4111111111111112]
    assert masked(pa.array(numbers, pa.int64()))[0] == numbers


@pytest.mark.parametrize("expression", ["l.CardNumber + 1", "-1 + l.N", "l.N * 1", "l.A // 1 + l.B"])
def test_a_card_number_that_was_computed_with_is_hidden(expression):
    numbers = [4111111111111111 + 1, 4111111111111111, 17, -(4111111111111111 + 1), 10**11 - 1]
    shown = masked(pa.array(numbers, pa.int64()), expression=expression)[0]
    assert shown == ["<COMPUTED>", "<CARD>", "17", "<COMPUTED>", str(10**11 - 1)]
    assert masked(pa.array(numbers[:1], pa.int64()), expression="l.CardNumber")[0] == numbers[:1]


@pytest.mark.parametrize(
    ("expression", "number", "shown"),
    [
        ("l.N // 10000000000", 411111, 411111),
        ("l.N // 100000000", 41111111, "<COMPUTED>"),
        ("l.N % 10000", 1111, 1111),
        ("l.N % 16", 7, 7),
        ("l.N % 9973", 7, "<COMPUTED>"),
        ("l.N % 100000000", 11, "<COMPUTED>"),
        ("(l.N // 10000) % 10000", 1111, "<COMPUTED>"),
        ("l.N * 10 // 10000000000", 111, "<COMPUTED>"),
        ("l.N // 3", 12, "<COMPUTED>"),
        ("latency() // 1000", 41111111, 41111111),
        ("len(l.Name) % 7", 3, 3),
        ("l.N // 1 + l.M", 17, 17),
    ],
)
def test_arithmetic_shows_no_more_of_a_number_than_its_first_six_or_last_four_digits(expression, number, shown):
    assert masked(pa.array([number], pa.int64()), expression=expression)[0] == [shown]


def test_a_negative_card_number_is_one_too():
    assert masked(pa.array([-4111111111111111], pa.int64()))[0] == ["<CARD>"]


def test_a_partial_value_shows_its_ends_of_long_values_only():
    assert masked(pa.array(["4111111111111111", "1234567"]), LAST4)[0] == ["****1111", "****"]
    assert masked(pa.array([4111111111111111], pa.int64()), LAST4)[0] == ["****1111"]


def test_the_last_four_of_a_cut_value_are_not_its_last():
    assert masked(pa.array(["411111111111"]), LAST4, cut=[{"c": 16}])[0] == ["****"]


def test_equal_values_get_equal_tokens_under_one_key_and_others_under_another():
    one = masked(pa.array(["bob", "bob", "eve"]), rule(Action.TOKEN, key=KEY, key_id="k1"))[0]
    other = masked(pa.array(["bob"]), rule(Action.TOKEN, key=KEY[::-1], key_id="k2"))[0]
    assert one[0] == one[1] != one[2]
    assert one[0].startswith("token:k1:")
    assert other[0].split(":")[2] != one[0].split(":")[2]


def test_a_token_depends_on_the_type():
    text = masked(pa.array(["1"]), rule(Action.TOKEN, key=KEY, key_id="k"))[0]
    number = masked(pa.array([1]), rule(Action.TOKEN, key=KEY, key_id="k"))[0]
    assert text != number


@pytest.mark.parametrize(("key", "key_id"), [(b"", ""), (KEY[:31], "k"), (KEY, "")])
def test_a_hash_without_a_proper_key_hides_all(key, key_id):
    values, result = masked(pa.array(["bob", None]), rule(Action.TOKEN, key=key, key_id=key_id))
    assert values == ["<UNSCANNED>", None]
    assert counts(result) == [("unscanned", Action.TOKEN, 1, 1)]


def test_redact_hides_shape_and_size():
    assert masked(pa.array([["a", "b"], None]), rule(Action.REDACT))[0] == ["<REDACTED>", None]


def test_a_dropped_column_that_came_is_hidden_and_one_that_did_not_is_in_the_receipt():
    assert masked(pa.array(["x"]), rule(Action.DROP))[0] == ["<DROPPED>"]
    _, result = masked(pa.array(["x"]), rule(), FieldRule("gone", Action.DROP, "platform:pin"))
    assert ("platform:pin", Action.DROP, 0, 0) in counts(result)


def test_a_column_without_a_rule_is_hidden():
    values, result = masked(pa.array(["secret"]), FieldRule("other", Action.ALLOW, "r"))
    assert values == ["<UNSCANNED>"]
    assert counts(result) == [("none", Action.REDACT, 1, 1)]


def test_two_rules_for_one_column_hide_it():
    assert masked(pa.array(["secret"]), rule(Action.ALLOW), rule(Action.ALLOW))[0] == ["<UNSCANNED>"]


def test_a_pattern_that_cannot_be_read_hides_the_column():
    assert masked(pa.array(["x"]), rule(Action.ALLOW, PathRule("a..b", "", Action.REDACT, "r")))[0] == ["<UNSCANNED>"]


def test_a_type_that_masking_does_not_know_is_hidden():
    values = masked(pa.array([1], pa.decimal128(5, 2)))[0]
    assert values == ["<UNSCANNED>"]


def test_a_control_column_of_another_type_is_not_one():
    columns = pa.RecordBatch.from_pydict({"time_": pa.array(["bob@example.com"])})
    assert mask(RecordBatch(columns), []).columns.column(0).to_pylist() == ["<UNSCANNED>"]


ORDER = {"id": 4, "Card": {"Number": "4111111111111111", "CVV": 123}, "tags": ["bob@example.com", None], "n": None}


def test_rules_reach_into_structs_and_lists():
    values, _ = masked(
        pa.array([ORDER, None]),
        rule(
            Action.DETECT,
            by_name("card+number|^nothing", Action.PARTIAL, "0,4"),
            PathRule("Card.CVV", "", Action.DROP, "platform:cvv"),
        ),
    )
    assert values == [
        {"id": 4, "Card": {"Number": "****1111", "CVV": "<DROPPED>"}, "tags": ["<EMAIL>", None], "n": None},
        None,
    ]


def test_a_rule_on_a_struct_holds_for_all_inside():
    assert masked(pa.array([ORDER]), rule(Action.DETECT, by_name("card", Action.REDACT)))[0][0]["Card"] == "<REDACTED>"
    hashed = masked(pa.array([ORDER]), rule(Action.DETECT, by_name("card", Action.TOKEN), key=KEY, key_id="k"))[0][0][
        "Card"
    ]
    assert all(value.startswith("token:k:") for value in hashed.values())


def test_a_rule_inside_cannot_loosen_the_one_around_it():
    assert masked(pa.array([{"a": "x"}]), rule(Action.REDACT, by_name("a", Action.ALLOW)))[0] == ["<REDACTED>"]


def test_a_type_rule_holds_for_the_columns_type_and_for_an_interfaces_type_at_run_time():
    cards = PathRule("", "*.Card", Action.REDACT, "tenant:card")
    assert masked(pa.array(["x"]), rule(Action.DETECT, cards), type_name="*shop.Card")[0] == ["<REDACTED>"]
    values = pa.array(
        [{"type": "*shop.Card", "value": "x"}, {"type": "*errors.errorString", "value": "no bob@example.com"}]
    )
    assert masked(values, rule(Action.DETECT, cards))[0] == [
        {"type": "*shop.Card", "value": "<REDACTED>"},
        {"type": "*errors.errorString", "value": "no <EMAIL>"},
    ]


def test_a_fields_type_inside_a_struct_counts():
    inner = pa.field("k", pa.string(), metadata={"type": "crypto.Key"})
    array = pa.StructArray.from_arrays([pa.array(["x"])], fields=[inner])
    assert masked(array, rule(Action.DETECT, PathRule("", "crypto.*", Action.REDACT, "r")))[0] == [{"k": "<REDACTED>"}]


def test_a_kind_rule_holds_for_every_value_of_the_kind():
    strict = PathRule("", "kind:string", Action.REDACT, "tenant:default.string")
    assert masked(pa.array([{"a": "x", "b": 1}]), rule(Action.DETECT, strict))[0] == [{"a": "<REDACTED>", "b": 1}]


def test_a_maps_keys_are_masked_and_name_their_values():
    array = pa.array([[("password", "hunter2"), ("bob@example.com", "x")], None], pa.map_(pa.string(), pa.string()))
    values, _ = masked(array, rule(Action.DETECT, by_name("password", Action.DROP)))
    assert values == [[("password", "<DROPPED>"), ("<EMAIL>", "x")], None]


def boxed(*pairs):
    """A Go interface column as decoding makes it: the value is JSON text."""
    fields = [pa.field("type", pa.string()), pa.field("value", pa.string(), metadata={"encoding": "json"})]
    types, texts = [kind for kind, _ in pairs], [json.dumps(value) for _, value in pairs]
    return pa.StructArray.from_arrays([pa.array(types), pa.array(texts)], fields=fields)


def test_what_decoding_wrote_as_json_is_masked_value_by_value():
    held = {
        "Card": {"Number": "4111111111111111", "CVV": 123},
        "n": 4111111111111111,
        "msg": "no bob@example.com",
        "ok": True,
    }
    values, result = masked(
        boxed(("*shop.Order", held)),
        rule(Action.DETECT, by_name("cvv", Action.DROP), by_name("card+number", Action.PARTIAL, "0,4")),
    )
    assert json.loads(values[0]["value"]) == {
        "Card": {"Number": "****1111", "CVV": "<DROPPED>"},
        "n": "<CARD>",
        "msg": "no <EMAIL>",
        "ok": True,
    }
    assert {(receipt.rule, receipt.action): receipt.hidden for receipt in result.receipts} == {
        ("platform:r", Action.DETECT): 2,
        ("tenant:n", Action.DROP): 1,
        ("tenant:n", Action.PARTIAL): 1,
    }
    assert dict(next(to_rows(result.columns))["c"])["value"]["n"] == "<CARD>"


def test_json_is_still_marked_as_json_in_lists():
    texts = pa.array(
        [["340282366920938463463374607431768211455", "7"]],
        pa.list_(pa.field("item", pa.string(), metadata={"encoding": "json"})),
    )
    _, result = masked(texts)
    assert next(to_rows(result.columns))["c"] == [2**128 - 1, 7]


def test_maps_in_json_are_pairs_whose_key_names_the_value():
    values, _ = masked(
        boxed(("map", [["password", "hunter2"], ["bob@example.com", "x"]])),
        rule(Action.DETECT, by_name("password", Action.REDACT)),
    )
    assert json.loads(values[0]["value"]) == [["password", "<REDACTED>"], ["<EMAIL>", "x"]]


def test_a_cut_anywhere_in_json_hides_the_tails_in_it():
    array = boxed(("*errors.errorString", "mail bob"), ("*errors.errorString", "mail bob"))
    values, _ = masked(array, cut=[{"c.value": 300}, {}])
    assert [json.loads(value["value"]) for value in values] == ["mail <CUT>", "mail bob"]


def test_interfaces_inside_json_have_types_too():
    cards = PathRule(DYNAMIC_ONLY, "*.Card", Action.REDACT, "tenant:card")
    values, _ = masked(
        boxed(("*x", {"inner": {"type": "*shop.Card", "value": {"a": "x"}}})), rule(Action.DETECT, cards)
    )
    assert json.loads(values[0]["value"]) == {"inner": {"type": "*shop.Card", "value": "<REDACTED>"}}


def test_a_type_rule_that_was_not_bound_to_the_binary_hides_what_has_no_known_type():
    cards = PathRule("", "*.Card", Action.REDACT, "tenant:card")
    assert masked(pa.array([{"a": 1}]), rule(Action.DETECT, cards))[0] == [{"a": "<REDACTED>"}]
    assert masked(boxed(("*x", {"a": 1})), rule(Action.DETECT, cards))[0][0]["value"] == '{"a":"<REDACTED>"}'


def test_text_that_is_no_json_after_all_hides_the_column():
    array = pa.StructArray.from_arrays(
        [pa.array(["{bob@example.com"])], fields=[pa.field("v", pa.string(), metadata={"encoding": "json"})]
    )
    assert masked(array, rule(Action.ALLOW))[0] == ["<UNSCANNED>"]


def test_a_struct_without_fields_stays_one():
    assert masked(pa.array([{}, None], pa.struct([])))[0] == [{}, None]


def test_binary_values_become_masked_hex():
    assert masked(pa.array([b"\x00\x01", b"bob@example.com"]))[0] == ["0001", "<EMAIL>"]


def test_only_the_cut_value_loses_its_tail():
    array = pa.array(["call 030", "call 030"])
    assert masked(array, cut=[{"c": 300}, {}])[0] == ["call <CUT>", "call 030"]


def test_a_cut_deep_inside_is_found_by_its_path():
    array = pa.array([{"a": "mail bob", "items": [{"id": "mail bob"}]}])
    assert masked(array, cut=[{"o.X.items[0].id": 99}])[0] == [{"a": "mail bob", "items": [{"id": "mail <CUT>"}]}]


def test_a_cut_that_names_no_column_counts_for_all():
    assert masked(pa.array(["mail bob"]), cut=[{"elsewhere": 99}])[0] == ["mail <CUT>"]


def test_what_stands_in_brackets_of_a_path_is_not_sent():
    paths = {'o.X["bob@example.com"].Id': 9, "o.X[2].Id": 9, "o.X[bob@example.com": 9, "bob@example.com": 9}
    absent = [dict.fromkeys(paths, "not_resident")]
    _, result = masked(pa.array(["x"]), cut=[paths], absent=absent)
    keys = [key for key, _ in result.columns.column("_cut").to_pylist()[0]]
    assert keys == ["o.X[*].Id", "o.X[2].Id", "o.X[*]", "?"]
    assert "bob" not in str(result.columns.column("_absent").to_pylist())


def test_only_known_reasons_stand_in_absent():
    _, result = masked(pa.array(["x"]), absent=[{"c": "bob@example.com"}])
    assert result.columns.column("_absent").to_pylist() == [[("c", "<UNSCANNED>")]]


def test_slices_and_nulls_carry_nothing_of_what_they_leave_out():
    secret = "hunter2hunter2"
    array = pa.StructArray.from_arrays([pa.array([secret, "x"])], ["a"], mask=pa.array([True, False]))
    for action in (Action.ALLOW, Action.DETECT):
        _, result = masked(array, rule(action))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, result.columns.schema) as writer:
            writer.write_batch(result.columns)
        assert secret.encode() not in sink.getvalue().to_pybytes()


def test_an_empty_batch_is_masked_too():
    for kind in (pa.string(), pa.int64(), pa.list_(pa.struct([("a", pa.string())])), pa.map_(pa.string(), pa.int8())):
        assert masked(pa.array([], kind))[0] == []


SECRET = "bob.smith@example.com"
leaves = st.sampled_from([SECRET, f"x {SECRET} y", "plain", None])
values = st.recursive(
    st.builds(lambda leaf: {"leaf": leaf}, leaves),
    lambda inner: st.builds(lambda a, b: {"a": a, "items": [b, b], "leaf": "ok"}, inner, inner),
    max_leaves=4,
)


@given(st.lists(values, min_size=1, max_size=4))
def test_a_planted_address_is_nowhere_in_what_is_sent(rows):
    array = pa.array(rows)
    _, result = masked(array)
    assert SECRET not in str(result.columns.to_pylist())
    assert not any(receipt.rule == "unscanned" for receipt in result.receipts)
