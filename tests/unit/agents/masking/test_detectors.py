"""Detectors find what an entity is, wherever it stands, and leave what only looks like one."""

import time

import pytest

from agents.masking.detectors import find
from agents.masking.entities import shown_of
from agents.masking.normalising import normalise


def shown(text, cut=False):
    return shown_of(text, cut)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail bob@example.com now", "mail <EMAIL> now"),
        ("a.b+c@sub.example.co.uk,", "<EMAIL>,"),
        ("user=bob%40example.com&x=1", "user=<EMAIL>&x=1"),
        ("<mailto:bob@example.com>", "<mailto:<EMAIL>>"),
        ('"john doe"@example.com', "<EMAIL>"),
        ("бобик@пример.рф", "<EMAIL>"),
        ("root@[192.168.0.1]", "<EMAIL>"),
        ("bob@example.com_1", "<EMAIL>_1"),
        ("4111111111111111", "<CARD>"),
        ("card 4111 1111 1111 1111!", "card <CARD>!"),
        ("12 4111-1111-1111-1111 7", "12 <CARD> 7"),
        ("amex 3782 822463 10005", "amex <CARD>"),
        ("pan:6011000990139424;", "pan:<CARD>;"),
        ("card4111111111111111", "card<CARD>"),
        ("GB82 WEST 1234 5698 7654 32 please", "<IBAN> please"),
        ("to DE89370400440532013000.", "to <IBAN>."),
        ("call +49 30 901820 ok", "call <PHONE> ok"),
        ("0049 30 901820", "<PHONE>"),
        ("(212) 664-7665", "<PHONE>"),
        ("phone: 030 901820", "phone: <PHONE>"),
    ],
)
def test_an_entity_is_replaced_and_the_rest_stays(text, expected):
    assert shown(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "USD",
        "git@host",
        "pkg@1.2.3",
        "4111111111111112",  # fails Luhn
        "1234567890123456",
        "0.4111111111111111",
        "deadbeef4111111111111111cafe",
        "550e8400-e29b-41d4-a716-446655440000",
        "2026-11-24T15:06:32.123456789Z",
        "1700000000000000000",
        "part 50010 4 38865049064139660",
        "DE00370400440532013000",  # wrong check digits
        "order 1234567",
        "081109 203615 148 INFO dfs.DataNode",
        "555-0100",
        "checkout-7d9f8b6c5-x2x4z",
    ],
)
def test_what_only_looks_like_an_entity_survives(text):
    assert shown(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "４１１１１１１１１１１１１１１１",  # full width
        "٤١١١١١١١١١١١١١١١",  # Arabic-Indic
        "4111\u200b1111\u200b1111\u200b1111",
        "4111\u00a01111\u00a01111\u00a01111",
        "4111\u20111111\u20131111\u20141111",  # hyphens and dashes
        "4111\u00ad111111111111",
        "4111\x001111\x001111\x001111",
        "bob\u200b@exam\u200bple.com",
        "bob＠example．com",
    ],
)
def test_no_spelling_in_unicode_hides_an_entity(text):
    assert shown(f"ä {text} ö") in {"ä <CARD> ö", "ä <EMAIL> ö"}


def test_offsets_lead_back_to_the_original():
    normalised = normalise("ﬁ \u200b４x")
    assert normalised.text == "fi 4x"
    assert normalised.original(3, 4) == (3, 4)


def test_bytes_in_hex_are_hidden_when_they_are_text_with_an_entity():
    assert shown(b"mail bob@example.com".hex()) == "<EMAIL>"
    assert shown("d41d8cd98f00b204e9800998ecf8427e") == "d41d8cd98f00b204e9800998ecf8427e"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("pay 4111 1111 11", "pay <CUT>"),
        ("mail bob@exa", "mail <CUT>"),
        ("mail bob.sm", "mail <CUT>"),
        ("DE89 3704 0044", "<CUT>"),
        ("call +49 30 90", "call <CUT>"),
        ("all words end here ", "all words end here "),
        (b"mail bob@exa".hex(), b"mail ".hex() + "<CUT>"),
    ],
)
def test_the_tail_of_a_cut_value_is_hidden(text, kept):
    assert shown(text, cut=True) == kept


@pytest.mark.parametrize(
    "entity", ["4111 1111 1111 1111", "bob.smith@example.com", "DE89 3704 0044 0532 0130 00", "+49 30 901820"]
)
def test_no_entity_shows_when_it_is_cut_at_any_place(entity):
    for end in range(1, len(entity)):
        assert not any(
            piece in shown(f"for {entity[:end]}", cut=True) for piece in (entity[:4], entity[:end][-4:]) if end >= 4
        )


HOSTILE = [
    "a" * 4096,
    "a." * 2048,
    "@" * 4096,
    "a@" * 2048,
    "a@b." * 1024,
    "1" * 4096,
    "1 " * 2048,
    "41 11-" * 700,
    "4111-" * 800,
    "DE89" * 1024,
    "DE89 " * 800,
    "+1(" * 1300,
    "phone " * 600,
    "phone 1" * 500,
    "00" * 2048,
    "\u200b" * 4096,
    '"' * 4096,
    "%40" * 1300,
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:8])
def test_no_text_makes_a_detector_slow(text):
    start = time.process_time()
    find(normalise(text).text)
    shown(text, cut=True)
    assert time.process_time() - start < 1.0  # the slowest takes some 50 ms; a quadratic one takes seconds
