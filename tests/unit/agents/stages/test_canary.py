"""The planted row: what the rules look at holds the card, and what comes out of them does not."""

from __future__ import annotations

import pyarrow as pa
import pytest
from stdnum import luhn
from wire import canary

from agents.decoding.model import RecordBatch
from agents.masking.model import FieldRule, MaskedBatch
from agents.masking.service import mask
from agents.stages.canary import escaped, plant
from language.masking import Action

MINUTE = 29_000_000
CARD = canary.card("tp_1", MINUTE)
MAPS = {"_absent": pa.map_(pa.string(), pa.string()), "_cut": pa.map_(pa.string(), pa.uint64())}


def batch(**captured: pa.DataType) -> RecordBatch:
    head = {"time_": pa.int64(), "pid": pa.uint32(), "tid": pa.uint32(), "goid": pa.uint64()}
    fields = [
        pa.field(name, kind, metadata={b"type": b"string", b"expression": name.encode(), b"function": b"shop.Pay"})
        for name, kind in (head | captured | MAPS).items()
    ]
    return RecordBatch(pa.RecordBatch.from_pylist([], schema=pa.schema(fields)))


def test_every_minute_of_every_tracepoint_has_its_own_valid_card() -> None:
    cards = {canary.card(f"tp_{number}", MINUTE + minute) for number in range(40) for minute in range(40)}
    assert len(cards) == 1600
    assert all(luhn.is_valid(card) and len(card) == 16 for card in cards)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (CARD, True),
        (f"card {CARD[:4]}-{CARD[4:8]} {CARD[8:12]}.{CARD[12:]} ok", True),
        (CARD[:12], True),
        (CARD[4:], True),
        (f"{CARD[:6]}******{CARD[-4:]}", False),
        ("<CARD>", False),
        (CARD[::-1], False),
    ],
)
def test_twelve_digits_in_a_row_give_a_card_away(text: str, *, shown: bool) -> None:
    assert canary.shows(text, CARD) is shown


@pytest.mark.parametrize(
    "name", ["note", "traceId", "order_id", "commit", "podName", "uuid", "card", "phone", "iban", "sku"]
)
@pytest.mark.parametrize(
    "action", [Action.DETECT, Action.REDACT, Action.LENGTH, Action.COUNT_ONLY, Action.TRUNCATE, Action.PARTIAL]
)
def test_no_rule_that_looks_or_hides_lets_it_out(name: str, action: Action) -> None:
    argument = {Action.TRUNCATE: "64", Action.PARTIAL: "12,4"}.get(action, "")
    rules = (FieldRule(name, action, "platform:test", argument=argument),)
    planted = plant(batch(**{name: pa.string()}), rules, CARD, 1)
    assert planted is not None
    assert planted.columns.column(name).to_pylist() == [CARD]
    assert escaped(mask(planted, rules), CARD) == ()


def test_a_column_that_policy_shows_as_it_is_holds_none() -> None:
    rules = (FieldRule("currency", Action.ALLOW, "acme:exception"), FieldRule("units", Action.DETECT, "platform:x"))
    assert plant(batch(currency=pa.string(), units=pa.int64()), rules, CARD, 1) is None


def test_rules_that_let_it_out_are_found_out() -> None:
    planted = plant(batch(a=pa.string(), b=pa.string()), (), CARD, 1)
    assert planted is not None
    assert escaped(MaskedBatch(planted.columns, ()), CARD) == ("a", "b")


def test_every_kind_of_column_may_stand_beside_it() -> None:
    kinds = {
        "s": pa.string(),
        "n": pa.int8(),
        "f": pa.float64(),
        "yes": pa.bool_(),
        "o": pa.struct([("a", pa.string())]),
        "l": pa.list_(pa.int32()),
    }
    rules = tuple(FieldRule(name, Action.DETECT, "platform:x") for name in kinds)
    planted = plant(batch(**kinds), rules, CARD, 7)
    assert planted is not None
    masked = mask(planted, rules)
    assert masked.columns.num_rows == 1
    assert escaped(masked, CARD) == ()
